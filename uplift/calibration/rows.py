"""What calibration accepts: predictions, effect scores, clusters and weights of the same rows."""

from typing import NamedTuple

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = ["Rows", "checked_rows"]


class Rows(NamedTuple):
    """Rows that count: predictions, effect scores, clusters and weights above 0."""

    uplift: FloatArray
    effect: FloatArray
    cluster: IntArray
    weight: FloatArray


def checked_rows(
    uplift: FloatArray, effect: FloatArray, cluster: IntArray, weight: FloatArray | None
) -> Rows:
    """Return the rows of weight above 0, or raise InputError for what cannot be used."""
    uplift, effect = (np.asarray(v, dtype=np.float64) for v in (uplift, effect))
    if uplift.shape != effect.shape or cluster.shape != uplift.shape[:1]:
        raise InputError(
            f"shapes differ: uplift {uplift.shape}, effect {effect.shape}, cluster "
            f"{cluster.shape}; expected one row of each for every decision point."
        )
    if len(uplift) == 0:
        raise InputError("there are no rows to calibrate with; use a larger log.")
    for name, values in (("uplift", uplift), ("effect", effect)):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise InputError(f"{name} holds {bad} values that are not finite; expected numbers.")
    cluster = np.unique(cluster, return_inverse=True)[1]
    if weight is None:
        return Rows(uplift, effect, cluster, np.ones(len(uplift)))
    if weight.shape != cluster.shape:
        raise InputError(f"weight has shape {weight.shape}; expected {cluster.shape}.")
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise InputError("weights must be finite, at least 0, and not all 0.")
    kept = weight > 0
    return Rows(uplift[kept], effect[kept], cluster[kept], weight[kept])
