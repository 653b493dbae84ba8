"""RequestPlan: prices per window of the day, with the certificate of the plan they came from."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.budget import Budget
from policy.capacity import Capacity
from policy.places import Places
from policy.planner.result import Prices
from policy.planner.sensitivity import Sensitivity, sensitivity
from policy.problem import Demand, Limits, assignment_in_input_order
from policy.reserve import ReserveTable
from policy.rule import PriceRule
from policy.served import Served
from policy.shrinkage import Shrinkage, Shrunk
from uplift.arrays import FloatArray, IntArray
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.files import atomic_file
from uplift.log import RequestLog, Windows
from uplift.model import UpliftModel
from uplift.plain import to_plain
from uplift.scores import Scores

__all__ = ["RequestPlan", "demand_of", "plan_requests"]


@dataclass(frozen=True)
class RequestPlan:
    """Prices and reserves that make a rule spend the budget where it gains most.

    The hindsight plan knows how every session of the planned log goes on; no rule does. It
    certifies what could be gained, and the rule is held against it.

    Attributes
    ----------
    budget, limits : what was asked
    window_start : (W,) seconds after midnight UTC
    window_seconds : length of a window; infinite for the one window of a log without time
    price : (W,) gain that a request must exceed, per unit of cost, so that the rule spends the
        capacity; the dearest of the others where the planned log has no decision point
    capacity : (W,) requests that the planned log's windows may spend; infinite where unlimited
    spend : (W,) requests that the hindsight plan spends
    gain : outcome that the hindsight plan promises on the planned log
    upper_bound : no assignment within the budget promises more
    gap : ``(upper_bound - gain) / upper_bound``
    decision_points : of the planned log
    iterations, reason : how the solver went and why it stopped
    rule_spend : (W,) requests that the rule spends, led through the planned log's sessions
    rule_gain : outcome that the rule promises there
    as_logged : the same at prices at which it spends the capacity there, to be held against `gain`
    feedback : what the rule spends in service over `rule_spend`, because its requests change what
        it meets next; absent where the planned log does not tell what it did
    tie_share : (W,) share that the rule takes of the points whose gain equals the price
    reserve : worth of keeping a request for later in the session; absent, nothing is kept
    sensitivity : what more and what less of the budget is worth, in hindsight
    served : whom and where the rule's requests reach, along the planned log's sessions
    shrinkage : what was done to the gains before planning, and is done by the rule; absent, nothing
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
    rule_spend: FloatArray
    rule_gain: float
    as_logged: float
    feedback: Estimate | None = None
    tie_share: FloatArray | None = None
    reserve: ReserveTable | None = None
    sensitivity: Sensitivity | None = None
    served: Served | None = None
    shrinkage: Shrinkage | None = None
    arm: IntArray | None = None

    def policy(self, model: UpliftModel, name: str = "plan") -> PriceRule:
        """Return the rule that requests where the model's uplift exceeds price and reserve."""
        return self.rule(model.uplift, name)

    def rule(self, gain: Callable[[RequestLog], FloatArray], name: str) -> PriceRule:
        """Return the plan's rule for another source of gains, which are shrunk as the plan's."""
        return PriceRule(
            name,
            gain if self.shrinkage is None else Shrunk(gain, self.shrinkage),
            self.price,
            self.window_seconds,
            self.limits,
            self.reserve,
            self.tie_share,
        )

    def at_price(self, price: float) -> "RequestPlan":
        """Return the plan with one price in all windows, and the reserve of that price."""
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
            for key in ("window_start", "price", "capacity", "spend", "rule_spend", "tie_share")
            if key in table
        }
        parts: dict[str, Callable[[dict[str, Any]], Any]] = {
            "reserve": ReserveTable.from_dict,
            "sensitivity": Sensitivity.from_dict,
            "served": Served.from_dict,
            "shrinkage": Shrinkage.from_dict,
            "feedback": lambda estimate: Estimate(**estimate),
        }
        built = {key: build(table[key]) for key, build in parts.items() if key in table}
        seconds = np.inf if table["window_seconds"] is None else table["window_seconds"]
        return cls(
            **table
            | arrays
            | built
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
    shrink: float = 0.0,
    reserve: bool = True,
    gap: float = 1e-4,
    exact: bool = False,
    start: Prices | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> RequestPlan:
    """Plan the extra requests of a scored log within a budget.

    Solves the problem of `policy.problem` in hindsight, which certifies what can be gained; finds
    by backward induction what a request is worth later in a session; and tunes the prices until
    the rule, which does not know how a session goes on, spends the budget on the planned log.

    Parameters
    ----------
    scores : scores of users that the model was not fitted on; scores of its own are too spread
    budget, limits : what may be spent, and what a session allows
    window_seconds : length of the windows that the day is cut into
    gain : (n, A) gains to plan for in place of the scores' uplift, such as lower ends of
        intervals; a rule for them needs the same of the points that it decides at
    shrink : share in [0, 1) of their distance to each arm's mean that gains are moved, for gains
        too spread; ``1 - slope`` of the report's calibration is what the held-out users say
    reserve : whether requests are kept back for later in the session; if not, the rule is a
        threshold on the price. The reserve counts gains as the model does, one decision at a time
        along logged sessions; that is where it gains more than the threshold. Rolled out on the
        simulated feed whole sessions bought about 1 % less at equal spend than by the threshold
        (`benchmarks/reserve.py`)
    gap : relative gap to certify
    exact : solve by branch and bound (small logs) instead of decomposition
    start : prices of an earlier plan for the same windows, to begin with; any lead to a plan of the
        same certified gap
    progress : called with iteration, upper and lower bound

    Raises
    ------
    InputError
        The budget does not fit the log, gains are not finite, or `shrink` is not in [0, 1).
    """
    from policy.planner.exact import solve_exact
    from policy.planner.solve import solve

    log, windows = scores.log, scores.log.windows(window_seconds)
    _check_limits(limits, log)
    capacity = budget.capacity(log, windows)
    gains, cost = scores.uplift if gain is None else gain, np.asarray(log.schema.arm_cost[1:])
    shrinkage = Shrinkage.of(gains, shrink) if shrink else None
    demand, order = demand_of(log, windows, gains if shrinkage is None else shrinkage(gains), cost)
    solution = (
        solve_exact(demand, capacity, limits)
        if exact
        else solve(demand, capacity, limits, gap=gap, start=start, progress=progress)
    )
    rule = _tuned(demand, order, log, capacity, limits, reserve)
    return RequestPlan(
        budget,
        limits,
        windows.start,
        windows.seconds,
        capacity=capacity.window,
        spend=solution.spend,
        gain=solution.gain,
        upper_bound=solution.upper_bound,
        gap=solution.gap,
        decision_points=len(log),
        iterations=solution.iterations,
        reason=solution.reason,
        sensitivity=sensitivity(demand, capacity, limits, solution, gap=gap),
        shrinkage=shrinkage,
        arm=assignment_in_input_order(solution.arm, order),
        **rule,
    )


def _tuned(
    demand: Demand,
    order: IntArray,
    log: RequestLog,
    capacity: Capacity,
    limits: Limits,
    keeps: bool,
) -> dict[str, Any]:
    """Return prices, shares of ties and reserve of the rule, and what it spends and gains."""
    from policy.feedback import Logged
    from policy.induction import induce
    from policy.tuning import RuleWalk, tune, tune_in_service

    position = log.slot - log.page * log.schema.page_length
    places = Places.of(log.page, position)
    place = places.index(log.page, position)[order]
    reserve = induce(demand, place, places, limits if keeps else Limits())
    walk = RuleWalk(demand, place, reserve, limits)
    price, tie_share = tuned = tune(walk, capacity)
    as_logged, feedback = walk.spending(price, tie_share), None
    if logged := Logged.of(log, order, demand.session_start):
        price, tie_share, feedback = tune_in_service(walk, capacity, logged, demand.cost, tuned)
    spending = walk.spending(price, tie_share)
    return {
        "price": _price_unseen(price, demand.window),
        "tie_share": tie_share,
        "rule_spend": spending.spend,
        "rule_gain": spending.gain,
        "as_logged": as_logged.gain,
        "feedback": feedback,
        "reserve": reserve if reserve.value.any() else None,
        "served": Served.of(walk.choices(price, tie_share)[1], place, places, demand.session_start),
    }


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


def demand_of(
    log: RequestLog, windows: Windows, gain: FloatArray, cost: FloatArray
) -> tuple[Demand, NDArray[np.int64]]:
    """Lay out the decision points session by session; the order leads back to the log's rows."""
    before = log.session_order  # by time, where slots are equal
    demand, order = Demand.from_points(
        gain[before],
        cost,
        session=log.session[before],
        window=windows.index[before],
        n_windows=len(windows.start),
        page=log.page[before],
        slot=log.slot[before],
    )
    return demand, before.astype(np.int64)[order]
