"""A stand-in for W&B's server, on loopback: enough of it for a run, a sync and a workspace."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0" * 40


class Server:
    """Serves until it is stopped; ``asked`` holds every GraphQL operation with its variables."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict]] = []
        self.streamed: list[dict] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words) -> None:
                """Quiet."""

            def _read(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def _answer(self, body: object, code: int = 200) -> None:
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                self._answer({})

            def do_PUT(self) -> None:
                self._read()
                self._answer({})

            def do_POST(self) -> None:
                data = self._read()
                if self.path.endswith("/graphql"):
                    self._answer({"data": outer._graphql(json.loads(data))})
                elif "/otel/" in self.path:  # its own telemetry
                    self._answer({})
                else:
                    outer.streamed.append(json.loads(data or b"{}"))
                    self._answer({"exitcode": None, "limits": {}})

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Go away: the port is closed."""
        self.http.shutdown()
        self.http.server_close()

    def _graphql(self, asked: dict) -> dict:
        text, variables = asked["query"], asked.get("variables") or {}
        for name in ("UpsertBucket", "Viewer", "RunResumeStatus", "ServerFeaturesQuery",
                     "CreateRunFiles", "UpsertView2"):  # fmt: skip
            if name in text:
                break
        else:
            name = text.split("(")[0].split()[-1]
        self.asked.append((name, variables))
        entity = {"name": "me", "id": "1"}
        bucket = {
            "id": "b", "name": variables.get("name") or "run", "displayName": "run",
            "description": "", "config": "{}", "sweepName": None, "historyLineCount": 0,
            "project": {"id": "p", "name": "privbench", "entity": entity},
        }  # fmt: skip
        return {
            "UpsertBucket": {"upsertBucket": {"bucket": bucket, "inserted": True}},
            "Viewer": {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}",
                                  "email": "", "admin": False,
                                  "teams": {"edges": [{"node": entity}]}}},
            "RunResumeStatus": {"model": {"id": "p", "name": "privbench", "entity": entity,
                                          "bucket": None}},
            "ServerFeaturesQuery": {"serverInfo": {"features": []}},
            "CreateRunFiles": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": [
                {"name": f, "uploadUrl": f"{self.url}/up/{f}"} for f in variables.get("files", [])
            ]}},
            "ArtifactType": {"project": None},
            "CreateArtifact": {"createArtifact": {"artifact": {
                "id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s",
                                                                      "latestArtifact": None}}}},
            "UpsertView2": {"upsertView": {"view": {"id": "dmlldw==", "name": "v",
                                                    "displayName": "v"}, "inserted": True}},
        }.get(name, {})  # fmt: skip
