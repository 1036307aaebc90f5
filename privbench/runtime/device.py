"""The device a job computes on, and how it shows its progress."""

import sys
from dataclasses import dataclass

import torch

from privbench.runtime import bf16, checks, cores, countdown

ACCELERATORS = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class DeviceConfig:
    """Where a job computes.

    Attributes:
        accelerator: ``auto`` takes a GPU where there is one.
        threads: Threads of a job on the CPU; null for every core that other processes leave free.
        progress: Progress bars, rather than lines; null for bars on a terminal.
    """

    accelerator: str = "auto"
    threads: int | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what is out of range; only ``apply`` looks for a device."""
        checks.choice("device.accelerator", self.accelerator, ACCELERATORS)
        checks.whole_or_null("device.threads", self.threads, 1)
        if self.progress is not None:
            checks.flag("device.progress", self.progress)

    @property
    def device(self) -> torch.device:
        """The device of a job."""
        cuda = self.accelerator != "cpu" and torch.cuda.is_available()
        return torch.device("cuda" if cuda else "cpu")

    @property
    def watched(self) -> bool:
        """Whether progress bars are shown."""
        return sys.stderr.isatty() if self.progress is None else self.progress

    def apply(self) -> int:
        """Set how this process computes and shows its progress, and return its threads.

        Raises:
            ValueError: where the device is not there.
        """
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise ValueError("device=gpu: no CUDA device is there: choose from auto, cpu")
        torch.set_num_threads(self.threads or cores.threads())
        countdown.watch(self.watched)
        # TF32 would round features to ten bits and end a 100 dB attack at 60
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        return torch.get_num_threads()

    def precision(self, wanted: str) -> str:
        """Lightning's precision: ``bf16-mixed`` only where it is wanted and faster."""
        if wanted == "bf16-mixed" and not self._gains_by_bf16():
            return "32-true"
        return wanted

    def _gains_by_bf16(self) -> bool:
        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return bf16.faster()
