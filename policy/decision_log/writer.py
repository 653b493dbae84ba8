"""DecisionLog: appended to by a service, written in the background, there after a crash."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from policy.decision_log.segment import encoded, scan, segment_name, segments
from policy.names import Fsync
from uplift.errors import InputError
from uplift.files import check_writable, lock_folder

__all__ = ["DecisionLog"]

_IDLE_SECONDS = 0.05
_LINGER_SECONDS = 0.005
"""What comes meanwhile is written at once: waking a thread costs more than a record does."""

_SYNC_SECONDS = 1.0
_GONE = 10_000


class DecisionLog:
    """Append records without waiting; a thread writes them to segments.

    A record is *acknowledged* once `wait` returns true for its ticket: it is then in the file, and
    with ``always`` on the disk. When the process dies, acknowledged records are there, once each;
    when the machine does, those that were synced. Where the disk is full or too slow, decisions go
    on: what finds no room in the queue, or cannot be written, is counted in `lost`.

    Parameters
    ----------
    folder : of the segments, made if need be; the tail that a crash tore is cut off. One log at a
        time writes to a folder
    fsync : ``always`` after each batch, ``interval`` once a second, ``off`` as the system likes
    queue : most records that wait to be written
    segment_bytes : a segment is sealed beyond it
    sealed : called with each sealed segment, in the writing thread; with those that an earlier
        process left, first

    Raises
    ------
    InputError
        The folder cannot be written to, or an option is out of range.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        fsync: Fsync = "interval",
        queue: int = 100_000,
        segment_bytes: int = 1 << 26,
        sealed: Callable[[Path], None] | None = None,
    ) -> None:
        if fsync not in get_args(Fsync) or queue < 1 or segment_bytes < 1:
            raise InputError(
                f"fsync {fsync!r}, a queue of {queue}, segments of {segment_bytes} bytes; expected "
                f"one of {list(get_args(Fsync))} and sizes above 0."
            )
        self._folder, self._fsync, self._size = Path(folder), fsync, segment_bytes
        check_writable(self._folder / "segment")
        self._lock = lock_folder(self._folder, "logs decisions to")
        self._most, self._sealed = queue, sealed
        self._waiting: deque[bytes] = deque()
        self._ticket, self._done, self.lost, self.written = 0, 0, 0, 0
        self._awaited = 0  # how many wait for a record to be acknowledged
        self._gone: deque[range] = deque(maxlen=_GONE)  # tickets of what could not be written
        self._last_error: str | None = None
        self._dirty, self.damaged = False, 0
        self._changed = threading.Condition()
        self._open = True
        self._synced = time.monotonic()
        *self._left, last = segments(self._folder) or [self._first()]
        self._file, self._length = self._recovered(last)
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def append(self, record: dict[str, Any]) -> int:
        """Put a record into the queue; return its ticket, or 0 where it is lost.

        It is lost where there is no room, or where no log can hold it.
        """
        try:
            data = encoded(record)
        except InputError as error:
            with self._changed:
                self.lost += 1
                self._last_error = str(error)
            return 0
        with self._changed:
            if not self._open or len(self._waiting) >= self._most:
                self.lost += 1
                return 0
            self._ticket += 1
            self._waiting.append(data)
            if len(self._waiting) == 1:
                self._changed.notify_all()
            return self._ticket

    def wait(self, ticket: int, timeout: float | None = None) -> bool:
        """Wait until a record is acknowledged; false where it is lost or time is up."""
        if ticket == 0:
            return False
        with self._changed:
            self._awaited += 1
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._done >= ticket, timeout)
            self._awaited -= 1
            return done and not any(ticket in gone for gone in self._gone)

    @property
    def backlog(self) -> int:
        """Number of records that wait to be written."""
        return len(self._waiting)

    @property
    def last_error(self) -> str | None:
        """What the last writing failed of; None after one that went well."""
        return self._last_error

    def close(self) -> None:
        """Write what waits, sync, and stop."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _first(self) -> Path:
        """Return the first segment of a folder without any, behind what is archived."""
        return self._folder / segment_name(1 + self._latest())

    def _latest(self) -> int:
        numbers = (int(p.name.split(".")[0]) for p in self._folder.glob("[0-9]*.*"))
        return max(numbers, default=0)

    def _recovered(self, path: Path) -> tuple[int, int]:
        """Open the last segment and cut its torn tail."""
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        found = scan(path.read_bytes())
        length, self.damaged = found.end, found.damaged
        os.ftruncate(file, length)
        os.lseek(file, length, os.SEEK_SET)
        return file, length

    def _run(self) -> None:
        for path in self._left:
            self._hand_over(path)
        while self._step():
            pass
        if self._fsync != "off":
            self._synchronise()
        os.close(self._file)
        os.close(self._lock)

    def _step(self) -> bool:
        """Write what waits; tell whether there will be more."""
        with self._changed:
            if self._changed.wait_for(lambda: self._waiting or not self._open, _IDLE_SECONDS):
                self._changed.wait_for(lambda: self._awaited or not self._open, _LINGER_SECONDS)
            batch = list(self._waiting)
            going = self._open or bool(batch)
        if batch:
            self._write(batch)
            with self._changed:
                for _ in batch:
                    self._waiting.popleft()
                self._done += len(batch)
                self._changed.notify_all()
        self._sync()
        return going

    def _write(self, batch: list[bytes]) -> None:
        """Append a batch whole, or cut what was written of it and count it as lost."""
        data = b"".join(batch)
        try:
            self._put(data)
            if self._fsync == "always":
                os.fsync(self._file)
        except OSError as error:
            self._failed(error, len(batch))
            return
        self._length, self._dirty = self._length + len(data), True
        self.written += len(batch)
        if self._length >= self._size:
            self._seal()

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._last_error = None

    def _failed(self, error: OSError, count: int) -> None:
        """Cut back to the last whole record; what was to follow is lost."""
        with self._changed:
            self.lost += count
            self._last_error = error.strerror or str(error)
            self._gone.append(range(self._done + 1, self._done + count + 1))
        with suppress(OSError):  # what cannot be cut is written over, or cut when it is next opened
            os.ftruncate(self._file, self._length)
        os.lseek(self._file, self._length, os.SEEK_SET)
        time.sleep(_IDLE_SECONDS)

    def _sync(self) -> None:
        now = time.monotonic()
        due = self._fsync == "interval" and now - self._synced >= _SYNC_SECONDS
        if not (self._dirty and due):
            return
        self._synced, self._dirty = now, False
        self._synchronise()

    def _synchronise(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            self._last_error = error.strerror or str(error)

    def _seal(self) -> None:
        """Begin a new segment and hand the full one over; go on with the old where that fails."""
        full, number = segments(self._folder)[-1], 1 + self._latest()
        try:
            os.fsync(self._file)
            file = os.open(self._folder / segment_name(number), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            self._last_error = error.strerror or str(error)
            return
        os.close(self._file)
        self._file, self._length = file, 0
        self._hand_over(full)

    def _hand_over(self, full: Path) -> None:
        if self._sealed is not None:
            try:
                self._sealed(full)
            except Exception as error:  # the segment stays, and is read as it is
                self._last_error = f"{full.name}: {error}"
