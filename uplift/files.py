"""Writing that leaves either the whole file or nothing."""

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from uplift.errors import InputError

__all__ = ["atomic_file", "atomic_folder", "check_writable", "existing_file", "lock_folder"]


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    A block that removes what it wrote leaves `path` as it is.
    """
    target = Path(path)
    folder = check_writable(target)
    if target.is_dir():
        raise InputError(f"cannot write {str(target)!r}: a folder of that name is there.")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=folder)
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        if scratch.exists():
            scratch.chmod(0o644)
            scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place when the block ends well.

    An older folder at `path` changes places with it in one step where the system can; elsewhere it
    is moved aside first. So a reader sees the old one or the new, and who is killed leaves either.
    """
    target = Path(path)
    if target.is_file():
        raise InputError(f"cannot write {str(target)!r}: a file of that name is there.")
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=check_writable(target)))
    scratch.chmod(0o755)
    old = scratch.with_name(scratch.name + ".old")
    try:
        yield scratch
        if not (target.exists() and _exchange(scratch, target)):
            if target.exists():
                target.rename(old)
            scratch.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def existing_file(path: str | Path, what: str) -> Path:
    """Return `path`, or say in one sentence that `what` is not there."""
    target = Path(path)
    try:
        found = target.exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise InputError(
            f"{what} {str(target)!r:.200} cannot be looked at ({error.strerror}); check the path."
        ) from error
    if not found:
        raise InputError(f"{what} {str(target)!r} does not exist; check the path.")
    return target


def check_writable(path: str | Path) -> Path:
    """Return the folder that `path` will be written in, made if need be and proved writable."""
    target = Path(path)
    folder = target.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"cannot write {str(target)!r}: {str(folder)!r} is not a folder and cannot be "
            "made one; choose another path."
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot write {str(target)!r} ({error.strerror or error}); "
            "choose a folder that you may write to."
        ) from error


def lock_folder(folder: Path, others: str) -> int:
    """Hold a folder for one process; the system lets go of it with the process.

    Parameters
    ----------
    folder : which is there
    others : what another process does with it, for the error

    Raises
    ------
    InputError
        Another process holds it.
    """
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise InputError(
            f"another process {others} {str(folder)!r}; give each its own folder."
        ) from None
    return lock


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step, where the system can: Linux, glibc 2.28."""
    at_here, exchange = -100, 2
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    return bool(rename(at_here, os.fsencode(first), at_here, os.fsencode(second), exchange) == 0)
