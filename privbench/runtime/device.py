"""The device of a job, its threads, and the form of its progress."""

import sys
from dataclasses import dataclass

import torch

from privbench.runtime import bf16, checks, cores, countdown

ACCELERATORS = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class DeviceConfig:
    """Settings of the computation.

    Attributes:
        accelerator: ``auto`` takes a GPU if there is one.
        threads: CPU threads of a job; null for every core that other processes leave free.
        progress: Progress bars, rather than lines; null for bars on a terminal.
    """

    accelerator: str = "auto"
    threads: int | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        """Refuse values that are out of range; only ``configure`` looks for a device."""
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
    def show_progress(self) -> bool:
        """True where progress bars are shown."""
        return sys.stderr.isatty() if self.progress is None else self.progress

    def configure(self) -> int:
        """Set threads, progress and numerical modes of this process.

        Returns:
            The number of CPU threads.

        Raises:
            ValueError: where the device is absent.
        """
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise ValueError("device=gpu: no CUDA device is available: choose from auto, cpu")
        torch.set_num_threads(self.threads or cores.default_threads())
        countdown.show_bars(self.show_progress)
        # TF32 would round features to ten bits and end a 100 dB attack at 60
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        return torch.get_num_threads()

    def precision(self, requested: str) -> str:
        """Choose Lightning's precision: ``bf16-mixed`` only where requested and faster."""
        if requested == "bf16-mixed" and not self._bf16_is_faster():
            return "32-true"
        return requested

    def _bf16_is_faster(self) -> bool:
        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return bf16.is_faster()
