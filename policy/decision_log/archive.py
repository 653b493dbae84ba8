"""Sealed segments become Parquet: one file a segment, whole or not at all, nothing twice."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy.decision_log.segment import read_segment, scan, segments

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["archive_segment", "read_decisions", "read_events"]


def archive_segment(path: Path) -> Path | None:
    """Write a sealed segment as Parquet beside it and remove it; None where it holds nothing.

    A crash in between leaves both: `read_decisions` then reads the Parquet file alone. A segment
    with damaged records is kept beside, as ``.damaged``.
    """
    from uplift.parquet import write_frame

    found = scan(path.read_bytes())
    frame, target = _frame(read_segment(path)), path.with_suffix(".parquet")
    if len(frame):
        write_frame(frame, target)
        for written in (target, target.parent):  # on the disk before the segment goes
            handle = os.open(written, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
    if found.damaged:
        path.rename(path.with_suffix(".damaged"))
    else:
        path.unlink()
    return target if len(frame) else None


def read_decisions(folder: str | Path) -> "pd.DataFrame":
    """Read all decisions of a folder, from Parquet and from segments; one row a decision."""
    return _read(Path(folder), "decisions").drop_duplicates("decision_id")


def read_events(folder: str | Path) -> "pd.DataFrame":
    """Read all outcome events that a service has logged."""
    return _read(Path(folder), "events")


def _read(folder: Path, what: str) -> "pd.DataFrame":
    import pandas as pd

    from uplift.errors import InputError
    from uplift.parquet import read_frame

    archived = sorted(folder.glob("*.parquet"))
    done = {path.stem for path in archived}
    frames = [read_frame(path) for path in archived]
    frames += [_frame(read_segment(path)) for path in segments(folder) if path.stem not in done]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        raise InputError(f"folder {str(folder)!r} holds no {what}; check the path.")
    return pd.concat(frames, ignore_index=True)


def _frame(records: Any) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame.from_records(list(records))
    if "timestamp" in frame:
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="us", utc=True)
    return frame
