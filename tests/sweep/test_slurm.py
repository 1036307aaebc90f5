"""A sweep on a real SLURM: one node, this one. CI installs it; elsewhere the reason is shown."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from privbench.store.sweep_log import SweepLog

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        not shutil.which("slurmctld") or os.geteuid() != 0,
        reason="wants root and slurm-wlm: apt-get install --no-install-recommends slurm-wlm",
    ),
]

CONF = """
ClusterName=privbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
SlurmdUser=root
ReturnToService=2
MpiDefault=none
StateSaveLocation={at}/state
SlurmdSpoolDir={at}/spool
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdLogFile={at}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000
PartitionName=main Nodes={host} Default=YES State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A cluster of this machine, for these tests."""
    at = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (at / name).mkdir()
    host, cores = socket.gethostname(), os.cpu_count()
    (at / "slurm.conf").write_text(CONF.format(host=host, at=at, cores=cores))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(at / "slurm.conf")
    servers = [
        subprocess.Popen(
            ["slurmctld", "-D", "-c", "-f", at / "slurm.conf"], stderr=subprocess.DEVNULL
        ),
        subprocess.Popen(
            ["slurmd", "-D", "-c", "-f", at / "slurm.conf", "-N", host], stderr=subprocess.DEVNULL
        ),
    ]
    for _ in range(60):
        nodes = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False
        )
        if "idle" in nodes.stdout:
            break
        time.sleep(0.5)
    else:
        pytest.fail(f"SLURM does not start: {(at / 'slurmctld.log').read_text()[-2000:]}")
    yield at
    subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
    for server in servers:
        server.terminate()
        server.wait(timeout=30)
    os.environ.pop("SLURM_CONF")
    if before is not None:
        os.environ["SLURM_CONF"] = before


def _sweep(*words: str, **settings) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "privbench", "-m", *words, "tracker=none", "targets=5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


SMALL = ["workers=slurm", "workers.cpus_per_job=1", "workers.timeout_min=10"]


def test_an_array_runs_with_one_cell_failing_and_one_killed(slurm, warm):
    """The failing one is named, the killed one is run again, the rest is recorded."""
    sweep = _sweep(
        "attack=rmle", "defense.rate=0.1,0.6,1.5", "attack.steps=2000", *SMALL, f"output_dir={warm}"
    )
    killed = False
    while sweep.poll() is None and not killed:
        time.sleep(0.3)
        for folder in (warm / "sweeps").glob("*"):
            for entry in SweepLog(folder).entries().values():
                if entry.state == "running" and not killed:
                    time.sleep(1)  # amid its work
                    os.kill(entry.metadata["pid"], signal.SIGKILL)
                    killed = True
    out, err = sweep.communicate(timeout=300)
    assert killed, err
    assert sweep.returncode == 1, err
    assert "a worker was killed in" in err
    assert "twice" not in err
    assert "defense.rate=1.5 is out of range" in err
    (folder,) = [path for path in (warm / "sweeps").iterdir() if path.is_dir()]
    states = {state: len(entries) for state, entries in SweepLog(folder).states().items()}
    assert states == {"done": 2, "running": 0, "failed": 1, "missing": 0}
    assert out.count("] done") == 2
    assert not list(warm.rglob("*.part"))


def test_a_partition_that_is_not_there_is_refused(slurm, privbench, tmp_path):
    """With those that are."""
    code, _, err = privbench(
        "-m", "attack=blind", *SMALL, "workers.partition=gpu", f"output_dir={tmp_path}"
    )
    assert code == 1
    assert err == "privbench: workers.partition=gpu is not known: choose from main\n"


def test_a_cluster_that_does_not_answer_is_refused(privbench, tmp_path, monkeypatch):
    """At once, not after a timeout of every command."""
    (tmp_path / "slurm.conf").write_text(
        CONF.format(host=socket.gethostname(), at=tmp_path, cores=1).replace("16817", "16999")
        + "MessageTimeout=2\nSlurmctldTimeout=2\n"
    )
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    code, _, err = privbench("-m", "attack=blind", *SMALL, f"output_dir={Path(tmp_path)}")
    assert code == 1
    assert err.startswith("privbench: workers=slurm: the cluster does not answer")
    assert len(err.splitlines()) == 1
