"""Sealed segments become Parquet: one file a segment, whole or not at all, nothing twice."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy.decision_log.segment import read_segment, scan, segments

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["archive_segment", "log_parts", "read_decisions", "read_part"]

_NUMBERED = re.compile(r"\d{12}")


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
    import pandas as pd

    from uplift.errors import InputError

    frames = [frame for part in log_parts(folder) if len(frame := read_part(part))]
    if not frames:
        raise InputError(f"folder {str(folder)!r} holds no decisions; check the path.")
    return pd.concat(frames, ignore_index=True).drop_duplicates("decision_id")


def log_parts(folder: str | Path) -> list[Path]:
    """Return the files that hold the records of a log's folder, archived or not, each once."""
    archived = [path for path in Path(folder).glob("*.parquet") if _NUMBERED.fullmatch(path.stem)]
    done = {path.stem for path in archived}
    return sorted(archived) + [path for path in segments(Path(folder)) if path.stem not in done]


def read_part(path: Path) -> "pd.DataFrame":
    """Read the records of one of the `log_parts`."""
    if path.suffix != ".parquet":
        return _frame(read_segment(path))
    from uplift.parquet import read_frame

    frame = read_frame(path)
    if "timestamp" in frame:
        frame["timestamp"] = frame["timestamp"].dt.tz_localize("UTC")
    return frame


def _frame(records: Any) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame.from_records(list(records))
    if "timestamp" in frame:
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="us", utc=True)
    return frame
