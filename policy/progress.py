"""Stages of a long job: timed, and told to whoever listens."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Stages"]


class Stages:
    """Times the stages of a job; the command line's subclass draws a bar for each."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Run a stage; the yielded function takes (done, total)."""
        start = time.perf_counter()
        self.begin(name)
        try:
            yield lambda done, total: self.update(name, done, total)
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 3)
            self.end(name)

    def begin(self, name: str) -> None:
        """Note that a stage begins."""

    def update(self, name: str, done: int, total: int) -> None:
        """Note how far a stage is."""

    def end(self, name: str) -> None:
        """Note that a stage ended."""
