"""Arrow tables and pandas frames of the same content, to the bit."""

import pandas as pd
import pyarrow as pa

from policy.samples.join import sample_order
from policy.samples.rules import SampleRules
from uplift.schema import LogSchema

__all__ = ["frame_of", "sample_columns", "table_of"]

_WHOLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return a table as a frame; whole numbers stay whole where some are missing."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_WHOLE.get, split_blocks=True)
    return frame


def table_of(samples: pd.DataFrame, columns: pa.Schema) -> pa.Table:
    """Return samples as a table of the given columns."""
    table = pa.Table.from_pandas(samples, schema=columns, preserve_index=False)
    return table.replace_schema_metadata(None)


def sample_columns(
    decisions: pa.Schema, snapshots: pa.Schema | None, schema: LogSchema, rules: SampleRules
) -> pa.Schema:
    """Return the columns of samples: the same on every day, whatever is missing on some."""
    kinds = {field.name: field.type for field in decisions}
    kinds |= dict.fromkeys(schema.outcomes, pa.float64())
    for field in snapshots or ():
        if field.name not in ("timestamp", rules.key, rules.ingested_at):
            text = pa.types.is_string(field.type)
            kinds[field.name] = pa.string() if text else pa.float64()
    return pa.schema([(name, kinds[name]) for name in sample_order(kinds, schema)])
