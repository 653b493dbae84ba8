"""One decision in C: a row, its margins, uplift, and what the plan says of it.

Each part is the twin of a function on arrays, the same to the bit.
"""

from policy.kernel._kernel import (
    Calibration,
    Forest,
    Rule,
    encode,
    encode_values,
    expit,
    log_odds,
    on,
)

__all__ = [
    "Calibration",
    "Forest",
    "Rule",
    "encode",
    "encode_values",
    "expit",
    "log_odds",
    "on",
]
