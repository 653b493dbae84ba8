"""RequestPlan: prices per window of the day, with the certificate of the plan they came from."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.budget import Budget
from policy.problem import Demand, Limits, assignment_in_input_order
from policy.rule import PriceRule, net_gain
from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError
from uplift.files import atomic_file
from uplift.log import RequestLog, Windows
from uplift.model import UpliftModel
from uplift.plain import to_plain
from uplift.scores import Scores

__all__ = ["RequestPlan", "plan_requests"]


@dataclass(frozen=True)
class RequestPlan:
    """Prices that make a rule spend the budget where it gains most.

    Attributes
    ----------
    budget, limits : what was asked
    window_start : (W,) seconds after midnight UTC
    window_seconds : length of a window; infinite for the one window of a log without time
    price : (W,) gain that a request must exceed, per unit of cost; the dearest of the others where
        the planned log has no decision point
    capacity : (W,) requests that the planned log's windows may spend; infinite where unlimited
    spend : (W,) requests that the hindsight plan spends
    gain : outcome that the hindsight plan promises on the planned log
    upper_bound : no assignment within the budget promises more
    gap : ``(upper_bound - gain) / upper_bound``
    decision_points : of the planned log
    iterations, reason : how the solver went and why it stopped
    tie_share : (W,) share that the hindsight plan takes of the points whose gain equals the price
    reserve : worth of keeping a request for later in the session
    arm : (n,) the hindsight plan itself, in the order of the scores; not saved
    """

    budget: Budget
    limits: Limits
    window_start: FloatArray
    window_seconds: float
    price: FloatArray
    capacity: FloatArray
    spend: FloatArray
    gain: float
    upper_bound: float
    gap: float
    decision_points: int
    iterations: int
    reason: str
    tie_share: FloatArray | None = None
    reserve: float = 0.0
    arm: IntArray | None = None

    def policy(self, model: UpliftModel, name: str = "plan") -> PriceRule:
        """Return the rule that requests where the model's uplift exceeds the price."""
        return self.rule(model.uplift, name)

    def rule(self, gain: Callable[[RequestLog], FloatArray], name: str) -> PriceRule:
        """Return the plan's rule for another source of gains."""
        return PriceRule(
            name,
            gain,
            self.price,
            self.window_seconds,
            self.limits,
            self.reserve,
            self.tie_share,
        )

    def at_price(self, price: float) -> "RequestPlan":
        """Return the plan with one price in all windows, which a gain must exceed."""
        return replace(self, price=np.full(len(self.price), price), tie_share=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain numbers, strings and lists; no limit is None."""
        table: dict[str, Any] = to_plain(replace(self, arm=None))
        return {"window_seconds": None} | table

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "RequestPlan":
        """Rebuild a plan from `to_dict`."""
        arrays = {
            key: np.array([np.inf if v is None else v for v in table[key]], dtype=np.float64)
            for key in ("window_start", "price", "capacity", "spend", "tie_share")
            if key in table
        }
        seconds = np.inf if table["window_seconds"] is None else table["window_seconds"]
        return cls(
            **table
            | arrays
            | {
                "budget": Budget(**table["budget"]),
                "limits": Limits(**table["limits"]),
                "window_seconds": seconds,
            }
        )

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON, whole or not at all."""
        with atomic_file(path) as scratch:
            scratch.write_text(json.dumps(self.to_dict(), indent=1))

    @classmethod
    def load(cls, path: str | Path) -> "RequestPlan":
        """Read a plan written by `save`."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{str(path)!r} is not a plan ({error}); plan anew.") from error


def plan_requests(
    scores: Scores,
    budget: Budget,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    *,
    window_seconds: float = 3600.0,
    gain: FloatArray | None = None,
    gap: float = 1e-4,
    exact: bool = False,
    progress: Callable[[int, float, float], None] | None = None,
) -> RequestPlan:
    """Plan the extra requests of a scored log within a budget.

    Solves the problem of `policy.problem` and keeps its prices: the duals of the windows.

    Parameters
    ----------
    scores : scores of users that the model was not fitted on; scores of its own are too spread
    budget, limits : what may be spent, and what a session allows
    window_seconds : length of the windows that the day is cut into
    gain : (n, A) gains to plan for in place of the scores' uplift
    gap : relative gap to certify
    exact : solve by branch and bound (small logs) instead of decomposition
    progress : called with iteration, upper and lower bound

    Raises
    ------
    InputError
        The budget does not fit the log, or gains are not finite.
    """
    from policy.planner.decomposition import solve_decomposition
    from policy.planner.exact import solve_exact

    log, windows = scores.log, scores.log.windows(window_seconds)
    _check_limits(limits, log)
    capacity = budget.capacity(log, windows)
    gains, cost = scores.uplift if gain is None else gain, np.asarray(log.schema.arm_cost[1:])
    demand, order = _demand(log, windows, gains, cost)
    solution = (
        solve_exact(demand, capacity, limits)
        if exact
        else solve_decomposition(demand, capacity, limits, gap=gap, progress=progress)
    )
    arm = assignment_in_input_order(solution.arm, order)
    price = _price_unseen(solution.window_price, windows.index)
    tie = net_gain(gains, price[windows.index], cost).max(axis=1) == 0
    ties, taken = (np.bincount(windows.index, m, len(price)) for m in (tie, tie & (arm > 0)))
    return RequestPlan(
        budget,
        limits,
        windows.start,
        windows.seconds,
        price,
        capacity.window,
        solution.spend,
        solution.gain,
        solution.upper_bound,
        solution.gap,
        len(log),
        solution.iterations,
        solution.reason,
        tie_share=taken / np.maximum(ties, 1),
        arm=arm,
    )


def _price_unseen(price: FloatArray, window: IntArray) -> FloatArray:
    """Return the prices, with the dearest in windows that nothing is known of."""
    return np.where(np.bincount(window, minlength=len(price)) > 0, price, price.max())


def _check_limits(limits: Limits, log: RequestLog) -> None:
    """Refuse limits on what the log does not tell."""
    needs = {
        "session_id": limits != Limits(),
        "page": limits.per_page is not None,
        "position": limits.min_gap > 0,
    }
    for column, needed in needs.items():
        if needed and column not in log.frame:
            raise InputError(
                f"the limits need the column {column!r}, which the log lacks; add it, or leave "
                "the limits out."
            )


def _demand(
    log: RequestLog, windows: Windows, gain: FloatArray, cost: FloatArray
) -> tuple[Demand, NDArray[np.int64]]:
    """Lay out the decision points session by session; the order leads back to the log's rows."""
    return Demand.from_points(
        gain,
        cost,
        session=log.session,
        window=windows.index,
        n_windows=len(windows.start),
        page=log.page,
        slot=log.slot,
    )
