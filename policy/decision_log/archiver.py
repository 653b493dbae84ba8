"""Archiver: sealed segments become Parquet beside the service that logs, never within it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["Archiver"]


class Archiver:
    """Archive segments one after the other, each in a process of its own, at low priority.

    Columns made of records hold Python's lock for seconds and many times the segment's memory: a
    decision in the same process would wait. Call it with a sealed segment: it returns at once. What
    cannot be archived stays as it is, is read as it is, and is tried again by the next service.

    Attributes
    ----------
    archived, failures : segments so far
    last_error : what the last failure was; None where there was none
    """

    def __init__(self) -> None:
        self.archived, self.failures = 0, 0
        self.last_error: str | None = None
        self._worker = ThreadPoolExecutor(1, "archiver")

    def __call__(self, segment: Path) -> None:
        """Archive a segment, soon."""
        self._worker.submit(self._archive, segment)

    def close(self) -> None:
        """Finish the segment at hand; the others wait for the next service."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _archive(self, segment: Path) -> None:
        command = [sys.executable, "-P", "-m", "policy.decision_log.archive", str(segment)]
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            subprocess.run(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=True,
                env=os.environ | {"PYTHONPATH": paths},
                start_new_session=True,  # what stops the service does not stop it half-way
            )
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().splitlines() or [str(error)]
            self._failed(segment, said[-1])
        except OSError as error:
            self._failed(segment, str(error))
        else:
            self.archived += 1

    def _failed(self, segment: Path, why: str) -> None:
        self.failures += 1
        self.last_error = f"{segment.name}: {why}"
