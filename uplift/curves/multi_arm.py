"""Several arms with costs: the gain that a budget buys when each point gets its best arm."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.curves.drawn import Drawn
from uplift.curves.hull import Steps, checked_arms
from uplift.curves.ranking import ranking_cuts
from uplift.curves.reading import on_grid
from uplift.curves.state import CurveState, check_rows
from uplift.errors import InputError

__all__ = [
    "MultiArmCurve",
    "budget_ratio",
    "multi_arm_curve",
    "multi_arm_cuts",
    "multi_arm_state",
]

_POINTS = 101


@dataclass(frozen=True)
class MultiArmCurve:
    """Gain at each budget when every point gets the arm that predictions say is best.

    ``curve_a - curve_b`` of two models on the same rows and budgets is their difference, with
    paired intervals.

    Attributes
    ----------
    budget : (B,) spend per decision point of all, ascending
    gain : (B,) outcome gained per decision point of all: ``Q(budget)``
    lower, upper : (B,) ends of the pointwise intervals
    mean_gain : ``integral of Q(b) db`` over the budgets, divided by their span
    """

    budget: FloatArray
    gain: FloatArray
    lower: FloatArray
    upper: FloatArray
    mean_gain: Estimate
    _drawn: Drawn = field(repr=False, compare=False)

    @classmethod
    def of(cls, state: CurveState, budgets: FloatArray | None = None) -> "MultiArmCurve":
        """Read the curve off a state of `multi_arm_state`; see `multi_arm_curve`."""
        _, gain, spend = state.priced_corners()
        grid = np.linspace(0, spend[-1, 0], _POINTS) if budgets is None else _checked(budgets)
        along = on_grid(spend, gain, grid)
        span = grid[-1] - grid[0]
        mean = np.trapezoid(along, grid, axis=0) / span if span > 0 else along[-1]
        return cls._from(Drawn(np.vstack([along, mean]), state.mass, state.clusters), grid)

    @classmethod
    def _from(cls, drawn: Drawn, budget: FloatArray) -> "MultiArmCurve":
        lower, upper = drawn.interval()
        gain, mean = drawn.values[:-1, 0], drawn.estimates()[-1]
        return cls(budget, gain, lower[:-1], upper[:-1], mean, drawn)

    def __sub__(self, other: "MultiArmCurve") -> "MultiArmCurve":
        _check_same_budgets(self, other)
        return self._from(self._drawn - other._drawn, self.budget)

    def gain_at(self, budget: float) -> Estimate:
        """Return the gain at a budget inside the curve's, straight between its points."""
        at = _at(self._drawn.values[:-1], self.budget, budget)
        return Drawn(at[None], self._drawn.mass, self._drawn.clusters).estimates()[0]


def multi_arm_curve(
    gain: FloatArray,
    cost: FloatArray,
    effect: FloatArray,
    cluster: NDArray[Any],
    *,
    weight: FloatArray | None = None,
    budgets: FloatArray | None = None,
    draws: int = 200,
    seed: int = 0,
) -> MultiArmCurve:
    """Measure what budgets buy: the multi-armed Qini of Sverdrup et al. (arXiv 2306.11979), maq.

    ``Q(B) = sum_i w_i <pi_B(i), effect_i> / sum_i w_i``, where pi_B maximises the predicted
    ``sum_i w_i <pi(i), gain_i>`` subject to ``sum_i w_i <pi(i), cost_i> <= B sum_i w_i``

    The policies of all budgets lie on one path: each point's arms are reduced to the upper hull of
    (cost, gain) from (0, 0) on, and its steps are taken in the order of gain per cost over all
    points (multiple-choice knapsack). Arms off the hull, and arms of no predicted gain, are never
    given. With one arm this is a Qini curve over spend that ends where no gain is predicted.

    - Normalisation: none; outcomes and costs per decision point of all.
    - Ties: steps of equal gain per cost are taken together, in equal parts (maq: in the order of
      the rows).
    - Beyond the end of the path, where more cannot be spent, the gain stays.
    - Resolution: beyond 1,000 different ratios, that of `ranking_cuts`.
    - Empty arms: cannot occur, every point carries an effect score of every arm.
    - Intervals: half-sample bootstrap of clusters; a draw's path is its own, so its budget is met.
    - Without targeting (maq's ``target.with.covariates=FALSE``): pass the mean of `gain` over the
      rows, repeated, as `gain`, and `cost` likewise.

    Parameters
    ----------
    gain : (n, A) predicted uplift of each arm over none
    cost : (n, A) or (A,) known cost of each arm, above 0
    effect : (n, A) effect scores (`uplift.effects.effect_scores`), not used for the predictions
    cluster, weight, draws, seed : as for `qini_curve`
    budgets : (B,) spends per decision point, ascending from 0 or more; by default 101 from 0 to the
        end of the path. Give the same to curves that are to be compared

    Raises
    ------
    InputError
        As `qini_curve` does; a cost is not above 0, or the budgets do not ascend.
    """
    state = multi_arm_state(gain, cost, effect, cluster, weight=weight, draws=draws, seed=seed)
    return MultiArmCurve.of(state, budgets)


def multi_arm_state(
    gain: FloatArray,
    cost: FloatArray,
    effect: FloatArray,
    cluster: NDArray[Any],
    *,
    weight: FloatArray | None = None,
    cuts: FloatArray | None = None,
    draws: int = 200,
    seed: int = 0,
) -> CurveState:
    """Sum a log, or one shard of it, along the path of `multi_arm_curve`.

    The rows of the state are steps, ranked by predicted gain per cost; every point's mass comes at
    the end. For shards pass the `cuts` of a sample from `multi_arm_cuts`.
    """
    gain, cost = checked_arms(gain, cost, effect)
    n = len(gain)
    mass, cluster = np.ones(n) if weight is None else np.asarray(weight), np.asarray(cluster)
    check_rows([gain[:, 0]], mass, cluster)
    steps = Steps.of(gain, cost)
    row, end = steps.row, len(steps.row)
    values = np.zeros((end + n, 3))
    values[:end, 1] = mass[row] * steps.change(effect)
    values[:end, 2] = mass[row] * steps.change(cost)
    values[end:, 0] = mass
    cuts = _cuts(steps) if cuts is None else cuts
    rank, whose = np.r_[steps.slope, np.zeros(n)], np.r_[cluster[row], cluster]
    return CurveState.of_steps(rank, values, whose, cuts, draws, seed)


def multi_arm_cuts(gain: FloatArray, cost: FloatArray) -> FloatArray:
    """Return `ranking_cuts` of the path's gains per cost, from a sample (n, A) of predictions."""
    return _cuts(Steps.of(*checked_arms(gain, cost, gain)))


def budget_ratio(ours: MultiArmCurve, theirs: MultiArmCurve, budget: float) -> Estimate:
    """Estimate the share of a budget that one model needs for what another gains with all of it.

    ``min {b : Q_ours(b) >= Q_theirs(budget)} / budget``; below 1 ours is cheaper

    Read off the curves' budgets, straight between them; inf where ours never gains as much. The
    interval holds the middle 95 % of the draws, as a draw may be infinite.

    Raises
    ------
    InputError
        The curves are of other rows, draws or budgets; the budget is not above 0 and on them.
    """
    _check_same_budgets(ours, theirs)
    paired = ours._drawn - theirs._drawn
    if budget <= 0:
        raise InputError(f"a share is of a budget above 0, got {budget:g}.")
    grid, gains = ours.budget, ours._drawn.values[:-1]
    wanted = _at(theirs._drawn.values[:-1], grid, budget)
    pairs = zip(gains.T, wanted, strict=True)
    share = np.array([[_first(grid, *pair) for pair in pairs]]) / budget
    lower, upper = Drawn(share, paired.mass, paired.clusters).quantiles()
    return Estimate(float(share[0, 0]), max(float(lower[0]), 0.0), float(upper[0]))


def _first(grid: FloatArray, gain: FloatArray, wanted: float) -> float:
    """Smallest budget whose gain is what is wanted, straight between the grid's."""
    reached = np.flatnonzero(gain >= wanted)
    if len(reached) == 0:
        return np.inf
    at = reached[0]
    if at == 0:
        return float(grid[0])
    return float(np.interp(wanted, gain[at - 1 : at + 1], grid[at - 1 : at + 1]))


def _at(values: FloatArray, grid: FloatArray, budget: float) -> FloatArray:
    if not grid[0] <= budget <= grid[-1]:
        raise InputError(
            f"the curve goes from budget {grid[0]:g} to {grid[-1]:g}, {budget:g} is outside; make "
            "it with `budgets` that hold it."
        )
    return np.array([np.interp(budget, grid, column) for column in values.T])


def _check_same_budgets(ours: MultiArmCurve, theirs: MultiArmCurve) -> None:
    if not np.array_equal(ours.budget, theirs.budget):
        raise InputError("the curves have different budgets; make both with the same `budgets`.")


def _checked(budgets: FloatArray) -> FloatArray:
    grid = np.array(budgets, dtype=np.float64)
    if grid.ndim != 1 or len(grid) == 0 or not np.isfinite(grid).all() or grid[0] < 0:
        raise InputError("budgets must be a list of finite numbers of 0 or more.")
    if (np.diff(grid) <= 0).any():
        raise InputError("budgets must ascend.")
    return grid


def _cuts(steps: Steps) -> FloatArray:
    return ranking_cuts(steps.slope) if len(steps.slope) else np.zeros(0)
