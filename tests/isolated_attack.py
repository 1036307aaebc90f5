"""An attack outside of the package, for tests of its process."""

from pathlib import Path

ATTACKS = '''
import gc, os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
import torch
from privbench.runtime.hashing import derive_seed
from privbench.threat import Access

CALLS = []  # state of the module: of its own process


@dataclass(frozen=True)
class Mine:
    """What an attack must not do, by name."""

    way: str = ""

    @property
    def access(self):
        return Access.EDGE_QUERIES | Access.AUX_IMAGES

    @property
    def calls(self):
        return CALLS

    def fit(self, view):
        if self.way == "missing":
            return {}["nowhere"]
        view.query(view.images[:3])
        if self.way == "refused query":
            view.query(view.images[:3, :, :5])
        view.logger.note(pid=os.getpid(), argv=sys.argv[1:], odd=object, share=torch.tensor(0.5), nan=float("nan"))
        def reconstruct(v):
            images = (len(v), *view.image_shape)
            if self.way == "sleeps":
                Path(os.environ["PRIVBENCH_TEST_NOTE"]).write_text(str(os.getpid()))
                time.sleep(300)
            if self.way == "killed" and not self.calls:
                self.calls.append(1)
                return ["no", "image"]
            if self.way == "killed":
                note = Path(os.environ["PRIVBENCH_TEST_NOTE"])
                note.write_text("holds the pipe")
                if os.fork() == 0:  # a process of its own
                    for _ in range(300):
                        time.sleep(0.1)
                        if not note.exists():
                            os._exit(0)
                    note.write_text("over")
                    os._exit(0)
                os.kill(os.getpid(), signal.SIGKILL)
            if self.way == "random" and len(v) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            if self.way == "random":
                return torch.rand(images)
            if self.way == "looks":
                held = [x for x in gc.get_objects() if type(x) is torch.Tensor and x.shape == images]
                # other tests of this process may have left images of the same shape
                errors = [float((view.query(x.clone()) - v[:, 0]).square().mean()) for x in held]
                if held:
                    return held[errors.index(min(errors))].clone()
            return torch.full(images, 0.5)
        return reconstruct
'''


def write_attack(folder: Path) -> None:
    """Write the module of the attack and its yaml into a folder."""
    (folder / "their_attack.py").write_text(ATTACKS)
    (folder / "conf" / "attack").mkdir(parents=True)
    yaml = "# Theirs.\n_target_: their_attack.Mine\nway: ''\n"
    (folder / "conf" / "attack" / "mine.yaml").write_text(yaml)
