"""The contract of workers."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from privbench.testing.contract import Contract


class WorkersContract(Contract):
    """Contract of workers that can run on this machine.

    Attributes:
        subject: The workers.
    """

    def test_they_run_every_job_once(self, subject_under_test: Any, tmp_path: Path) -> None:
        """``launch`` returns when every job has run to its end."""
        subject_under_test.check()
        folders = [tmp_path / str(number) for number in range(3)]
        for folder in folders:
            folder.mkdir()
        # a new folder at every call; its module is imported in no time in a new process
        jobs: list[Any] = [partial(tempfile.mkdtemp, dir=folder) for folder in folders]
        subject_under_test.launch(jobs)
        assert [len(list(folder.iterdir())) for folder in folders] == [1] * 3
