"""What a curve needs to know of a log, in a size that does not grow with it; states add."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.arrays import BoolArray, FloatArray
from uplift.curves.half_samples import WORD, cluster_keys, half_sample_totals
from uplift.curves.ranking import sorted_cuts
from uplift.errors import InputError

__all__ = ["CurveState", "check_rows"]

_SLOTS_LOG2 = 12


@dataclass(frozen=True, eq=False)
class CurveState:
    """Mass, effect and cost by cell of a ranking, for a log and for its half samples.

    ``state_a + state_b`` is the state of both shards' rows together (up to rounding), also where a
    cluster has rows in both: draws keep clusters by a hash of their identifier. Needs the same
    cuts, draws and seed; for shards, clusters must be identifiers, not codes by shard.

    Attributes
    ----------
    cuts : (C - 1,) scores between the cells of the ranking, descending
    totals : (2 or 3, C, 1 + draws) mass, mass x effect, and mass x cost where there is a cost; of
        the log, then of each draw. 6 MB at 1,000 cells and 256 draws
    seen : (4096,) which slots of a hash table the clusters fall into
    seed : of the draws
    """

    cuts: FloatArray
    totals: FloatArray
    seen: BoolArray
    seed: int

    @classmethod
    def of(
        cls,
        score: FloatArray,
        effect: FloatArray,
        cluster: NDArray[Any],
        *,
        cost: FloatArray | None = None,
        weight: FloatArray | None = None,
        cuts: FloatArray | None = None,
        draws: int = 200,
        seed: int = 0,
    ) -> "CurveState":
        """Sum a log, or one shard of it.

        Parameters
        ----------
        score : (n,) what the points are ranked by; higher comes first
        effect : (n,) effect scores (`uplift.effects`), not used to fit the score
        cluster : (n,) whom each row belongs to: integers or strings
        cost : (n,) cost of giving the arm: known, or effect scores of a cost outcome
        weight : (n,) sample weights, 0 or more; 1 by default
        cuts : scores between the cells, the same for all shards; by default
            `ranking_cuts(score)`. Between cuts the points are taken in equal parts
        draws : half samples, rounded up to a multiple of 64 as one hash decides 64 draws; with 0
            of them all intervals are infinite
        seed : of the draws

        Raises
        ------
        InputError
            Shapes differ, there are no rows, a number is not finite, weights are negative or all
            0, cuts do not descend, or draws are negative.
        """
        score, cluster = np.asarray(score), np.asarray(cluster)
        mass = np.ones(score.shape) if weight is None else np.asarray(weight)
        parts = [np.asarray(part) for part in (effect, cost) if part is not None]
        check_rows([score, *parts], mass, cluster)
        values = np.column_stack([mass, *(mass * part for part in parts)])
        return cls.of_steps(score, values, cluster, cuts, draws, seed)

    @classmethod
    def of_steps(
        cls,
        score: FloatArray,
        values: FloatArray,
        cluster: NDArray[Any],
        cuts: FloatArray | None,
        draws: int,
        seed: int,
    ) -> "CurveState":
        """Sum columns (n, 2 or 3) of mass, effect and cost that are already weighted."""
        if draws < 0:
            raise InputError(f"the number of draws must be 0 or more, got {draws}.")
        negative = -np.asarray(score, dtype=np.float64)
        order = np.argsort(negative)
        negative = negative[order]
        cuts = sorted_cuts(negative) if cuts is None else _checked_cuts(cuts)
        start = np.r_[0, np.searchsorted(negative, -cuts, side="right"), len(score)]
        key = cluster_keys(cluster, seed)
        seen = np.zeros(1 << _SLOTS_LOG2, dtype=bool)
        slot = (key >> np.uint64(53 - _SLOTS_LOG2)).astype(np.int64)
        seen[slot[values[:, 0] > 0]] = True
        totals = half_sample_totals(start, order, key, values, -(-draws // WORD))
        return cls(cuts, totals, seen, seed)

    def __add__(self, other: "CurveState") -> "CurveState":
        if not isinstance(other, CurveState):
            return NotImplemented
        if not np.array_equal(self.cuts, other.cuts):
            raise InputError(
                "the states have different cells; cut the ranking once, with "
                "ranking_cuts(a sample of scores), and pass these cuts for every shard."
            )
        if self.totals.shape != other.totals.shape or self.seed != other.seed:
            raise InputError(
                f"the states have shapes {self.totals.shape} and {other.totals.shape}, seeds "
                f"{self.seed} and {other.seed}; use the same columns, draws and seed throughout."
            )
        return CurveState(self.cuts, self.totals + other.totals, self.seen | other.seen, self.seed)

    @property
    def clusters(self) -> float:
        """Number of clusters, from the filled slots (linear counting); inf when all are filled.

        Intervals use it for Student's t only, where it is exact enough: to about 1 % at 2,000.
        """
        slots = len(self.seen)
        free = slots - int(self.seen.sum())
        return slots * float(np.log(slots / free)) if free else np.inf

    @property
    def mass(self) -> FloatArray:
        """(1 + draws,) total weight of the log and of each draw that holds any."""
        mass: FloatArray = self.totals[0].sum(axis=0)
        return mass[mass > 0]

    def priced_corners(self) -> FloatArray:
        """Return `corners` of a state that was made with a cost.

        Raises
        ------
        InputError
            There is no cost.
        """
        if len(self.totals) < 3:
            raise InputError("the state holds no cost; give `cost` when it is made.")
        return self.corners

    @cached_property
    def corners(self) -> FloatArray:
        """(2 or 3, C + 1, 1 + draws) share of the points, effect and cost up to each cell's end.

        Per unit of mass; draws that hold no cluster are left out.
        """
        held = self.totals[0].sum(axis=0) > 0
        along = np.cumsum(self.totals[:, :, held], axis=1) / self.mass
        return np.concatenate([np.zeros_like(along[:, :1]), along], axis=1)


def check_rows(columns: list[FloatArray], mass: FloatArray, cluster: NDArray[Any]) -> None:
    """Refuse rows that cannot be summed."""
    shapes = [c.shape for c in (*columns, mass, cluster)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        raise InputError(f"shapes differ or are not (n,): {', '.join(map(str, shapes))}.")
    if shapes[0] == (0,):
        raise InputError("there are no rows to rank; use a larger log.")
    if not all(np.isfinite(column).all() for column in (*columns, mass)):
        raise InputError("scores, effects, costs and weights must be finite.")
    if mass.min() < 0 or not mass.any():
        raise InputError(f"weights must be 0 or more, and not all 0; the least is {mass.min():g}.")


def _checked_cuts(cuts: FloatArray) -> FloatArray:
    cuts = np.asarray(cuts, dtype=np.float64)
    if cuts.ndim != 1 or not np.isfinite(cuts).all() or (np.diff(cuts) >= 0).any():
        raise InputError("cuts must be finite scores in descending order, as ranking_cuts gives.")
    return cuts
