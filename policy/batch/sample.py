"""As many users of a log as fit into memory, all rows of each."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from policy.batch.buckets import scratch_folder
from policy.batch.memory import LEAST, row_bytes, rows_at_once
from policy.batch.overlap import overlapped
from policy.batch.parts import Parts
from uplift.log import RequestLog
from uplift.parquet import batch_frame
from uplift.schema import LogSchema

__all__ = ["read_users"]

_SEED = 0x5A3B1E
"""Of the hash that picks users; not one that they are split by."""


def read_users(
    parts: Parts,
    schema: LogSchema,
    memory: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[RequestLog, float]:
    """Read a log, or as large a share of its users as may be worked on as a whole.

    A user is picked by a hash of its name: the same users from every day of a log, whatever the
    order of rows. Returns the rows, and the share of the users that was asked for.

    Parameters
    ----------
    parts, schema : the log
    memory : bytes that the work may take
    progress : called with (rows read, rows in all)
    """
    room = (memory - LEAST // 2) / row_bytes(len(parts.schema))
    share = min(1.0, room / max(parts.rows, 1))
    if share == 1.0:
        return RequestLog.read(parts.folder, schema, progress), share
    names = [c for c in (schema.cluster, "session_id") if c in parts.schema.names]
    names = names or parts.schema.names[:1]  # rows on their own: as many of each batch
    done = 0

    def picked(batch: pa.RecordBatch) -> pa.RecordBatch:
        log = RequestLog.unchecked(batch_frame(batch.select(names)), schema)
        return batch.filter(pa.array(log.part((share,), _SEED) == 0))

    with scratch_folder() as folder:
        with pq.ParquetWriter(folder / "users.parquet", parts.schema) as writer:

            def put(rows: pa.RecordBatch) -> None:
                nonlocal done
                writer.write_batch(rows)
                done += at_once
                if progress is not None:
                    progress(min(done, parts.rows), parts.rows)

            at_once = rows_at_once(memory, len(parts.schema))
            batches = (b for part in parts.parts for b in part.batches(at_once, parts.schema.names))
            overlapped(batches, picked, put)
        return RequestLog.read(folder / "users.parquet", schema), share
