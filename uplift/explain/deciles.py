"""Uplift by decile: what was predicted, and what came."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.bins import bin_estimates, bin_means, quantile_bins
from uplift.clusters import Estimate
from uplift.explain.subject import check_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UpliftByDecile", "uplift_by_decile"]


@dataclass(frozen=True)
class UpliftByDecile:
    """Held-out decision points in groups of equal number, the greatest predicted uplift first.

    Attributes
    ----------
    points : (B,) decision points
    predicted : (B,) mean predicted uplift
    effect : B means of the effect scores: what the randomised log says of these points
    truth : (B,) mean true uplift, where the log is simulated
    """

    points: IntArray
    predicted: FloatArray
    effect: tuple[Estimate, ...]
    truth: FloatArray | None = None

    def to_dict(self) -> list[dict[str, Any]]:
        """Return a row a decile, the best first."""
        truth = [] if self.truth is None else [{"truth": float(t)} for t in self.truth]
        return [
            {
                "decile": place + 1,
                "points": int(self.points[place]),
                "predicted": float(self.predicted[place]),
                "effect": effect.to_dict(),
                **(truth[place] if truth else {}),
            }
            for place, effect in enumerate(self.effect)
        ]

    def to_frame(self) -> "pd.DataFrame":
        """Return a row a decile, the best first."""
        import pandas as pd

        rows = self.to_dict()
        for row in rows:
            estimate = row.pop("effect")
            row |= {"effect": estimate["value"], **{k: estimate[k] for k in ("lower", "upper")}}
        return pd.DataFrame(rows)


def uplift_by_decile(
    uplift: FloatArray,
    effect: FloatArray,
    cluster: IntArray,
    *,
    truth: FloatArray | None = None,
    n_bins: int = 10,
) -> UpliftByDecile:
    """Compare predicted with measured uplift among points ranked by their predicted uplift.

    ``predicted_b = mean over b of tau(x_i)``, ``effect_b = mean over b of effect_i``

    - Ties: points of equal prediction share a decile, so a coarse prediction makes fewer deciles,
      of unequal size; a constant one makes one.
    - Intervals: by cluster, of the mean effect among the points of a decile; the deciles' limits
      are taken as given. They are for each decile alone, not for all ten at once.

    Parameters
    ----------
    uplift : (n,) predicted uplift of an arm
    effect : (n,) effect scores of that arm, not used to fit the prediction
    cluster : (n,) cluster codes
    truth : (n,) true uplift
    n_bins : deciles, or as many other groups

    Raises
    ------
    InputError
        Shapes differ, a number is not finite, or there are no rows.
    """
    known = {} if truth is None else {"truth": truth}
    check_rows(len(uplift), cluster, uplift=uplift, effect=effect, **known)
    bins = quantile_bins(-uplift, n_bins)
    return UpliftByDecile(
        np.bincount(bins),
        bin_means(uplift, bins),
        bin_estimates(effect, bins, cluster),
        None if truth is None else bin_means(truth, bins),
    )
