"""Reading, working and writing at the same time, one thread each, in order."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["overlapped"]

T = TypeVar("T")
U = TypeVar("U")


def overlapped(items: Iterable[T], work: Callable[[T], U], write: Callable[[U], None]) -> None:
    """Work on each item and write what comes of it, in the order of the items.

    While one is worked on, the next is read and the one before is written: three are in memory.
    """
    source, written = iter(items), list[Future[None]]()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        for item in _ahead(reader, source):
            done = work(item)
            for earlier in written:
                earlier.result()
            written = [writer.submit(write, done)]
        for last in written:
            last.result()


def _ahead(reader: ThreadPoolExecutor, source: Iterator[T]) -> Iterator[T]:
    """Yield items while the next one is read."""
    coming = reader.submit(lambda: list(_first(source)))
    while item := coming.result():
        coming = reader.submit(lambda: list(_first(source)))
        yield item[0]


def _first(source: Iterator[T]) -> Iterator[T]:
    """Yield the next item, if there is one."""
    for item in source:
        yield item
        return
