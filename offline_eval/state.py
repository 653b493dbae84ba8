"""Evaluation of a log in shards: states that add, and say what `evaluate` says of the whole."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from offline_eval.costs import fieller
from offline_eval.diagnostics.support import SupportCounts
from offline_eval.diagnostics.weights import WeightState
from offline_eval.estimators import ESTIMATORS
from offline_eval.evaluation import Evaluation, decisions_of, gain_rows, gain_sides, judged
from offline_eval.intervals.moments import RatioMoments
from offline_eval.intervals.ratios import Ratio, RatioSums
from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.log import RequestLog

__all__ = ["SHARD_ESTIMATORS", "EvaluationState"]

#: Estimators with nothing to choose by the data, so that shards agree.
SHARD_ESTIMATORS = ("dr", "snips", "ips", "dm", "sndr")


@dataclass(frozen=True, eq=False)
class EvaluationState:
    """What is known of one policy from a shard; shards that share no user add.

    Attributes
    ----------
    policy, arms : names of the policy and of the arms
    estimates : moments of each estimator
    gained, requests, per_request : moments of the gain over never, of the requests, and of the
        first over the second
    advantage : moments of the gain over this policy of the one that is judged; absent for that one
    weights, support, sides : what the diagnostics need
    """

    policy: str
    arms: tuple[str, ...]
    estimates: dict[str, RatioMoments]
    gained: RatioMoments
    requests: RatioMoments
    per_request: RatioMoments
    advantage: RatioMoments | None
    weights: WeightState
    support: SupportCounts
    sides: FloatArray

    @classmethod
    def of(
        cls,
        log: RequestLog,
        policy: str,
        pi: FloatArray,
        outcome: FloatArray,
        *,
        estimators: Iterable[str] = ("dr", "snips", "ips"),
        judged_gain: FloatArray | None = None,
    ) -> "EvaluationState":
        """Take the state of a shard of whole users.

        Parameters
        ----------
        log : the shard
        policy, pi : name and probabilities (n, A + 1) of the policy
        outcome : (n, A + 1) modelled outcome under each arm
        estimators : names out of `SHARD_ESTIMATORS`
        judged_gain : (n,) `gain_rows` of the policy that is held against this one

        Raises
        ------
        InputError
            An estimator chooses by the data, or a shape does not fit.
        """
        chosen = tuple(estimators)
        if other := [name for name in chosen if name not in SHARD_ESTIMATORS]:
            raise InputError(
                f"estimator {other[0]!r} cannot be added up over shards; choose among "
                f"{list(SHARD_ESTIMATORS)}."
            )
        decisions, cluster = decisions_of(log, pi, outcome), log.cluster
        gained, spent = gain_rows(log, pi, outcome), pi @ np.asarray(log.schema.arm_cost)

        def moments(*ratios: Ratio) -> RatioMoments:
            return RatioMoments.of(RatioSums.of(ratios, cluster))

        return cls(
            policy,
            log.schema.arms,
            {name: moments(*ESTIMATORS[name].ratios(decisions)) for name in chosen},
            moments(Ratio(gained)),
            moments(Ratio(spent)),
            moments(Ratio(gained, spent)),
            None if judged_gain is None else moments(Ratio(judged_gain - gained)),
            WeightState.of(decisions),
            SupportCounts.of(log, pi),
            gain_sides(log, pi),
        )

    def __add__(self, other: "EvaluationState") -> "EvaluationState":
        """Join two shards of one policy."""
        if (self.policy, self.arms) != (other.policy, other.arms):
            raise InputError(f"states of {self.policy!r} and {other.policy!r} do not add.")
        both = self.advantage is not None and other.advantage is not None
        return EvaluationState(
            self.policy,
            self.arms,
            {name: state + other.estimates[name] for name, state in self.estimates.items()},
            self.gained + other.gained,
            self.requests + other.requests,
            self.per_request + other.per_request,
            self.advantage + other.advantage if both else None,  # type: ignore[operator]
            self.weights + other.weights,
            self.support + other.support,
            self.sides + other.sides,
        )

    def evaluation(self) -> Evaluation:
        """Return what the shards together say of the policy."""
        diagnostics = self.weights.diagnostics().joined(self.support.check(self.arms))
        return judged(
            self.policy,
            lambda name: self.estimates[name].estimate(),
            tuple(self.estimates),
            gain=lambda: self.gained.estimate(),
            requests=self.requests.estimate(),
            per_request=lambda: fieller(self.per_request),
            diagnostics=diagnostics,
            sides=self.sides,
        )

    def judged_advantage(self) -> Estimate | None:
        """Return the gain over this policy of the one that is judged."""
        return None if self.advantage is None else self.advantage.estimate()
