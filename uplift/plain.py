"""Results as plain values that JSON can hold."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

__all__ = ["to_plain"]


def to_plain(value: Any) -> Any:
    """Turn dataclasses, arrays and numbers into dicts, lists and Python numbers.

    Numbers that are not finite become None, and what is None in a dataclass is left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {k: to_plain(v) for k, v in pairs if v is not None and not k.startswith("_")}
    if isinstance(value, dict):
        return {str(key): to_plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
