"""Sessions as runs of rows on flat arrays, and the contract of estimators along them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from offline_eval.intervals.ratios import Ratio, RatioSums
from uplift.arrays import FloatArray, IntArray
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.log import RequestLog

__all__ = ["SequentialEstimator", "Sessions"]


@dataclass(frozen=True, eq=False)
class Sessions:
    """Decisions of m sessions, one session after the other, each in the order of its time.

    Attributes
    ----------
    reward : (n,) what came between a decision and the next
    propensity : (n,) probability of the logged arm when it was logged
    target : (n,) probability of the logged arm under the policy, given the logged past
    start : (m,) row of each session's first decision, increasing from 0
    cluster : (m,) cluster (user) of each session
    value_logged : (n,) modelled reward from here to the session's end, had the logged arm been
        given here and the policy gone on; only the doubly robust forms need it
    value_policy : (n,) the same, had the policy decided here: ``sum_a pi(a) Q(a)``

    Raises
    ------
    InputError
        Shapes do not match, probabilities are none, or a number is not finite.
    """

    reward: FloatArray
    propensity: FloatArray
    target: FloatArray
    start: IntArray
    cluster: IntArray
    value_logged: FloatArray | None = None
    value_policy: FloatArray | None = None

    def __post_init__(self) -> None:
        n = self.reward.shape
        for name in ("propensity", "target", "value_logged", "value_policy"):
            values = getattr(self, name)
            if values is not None and values.shape != n:
                raise InputError(f"{name} has shape {values.shape}; expected {n}.")
            if values is not None and not np.isfinite(values).all():
                raise InputError(f"{name} must be finite everywhere.")
        self._check_runs()
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise InputError("propensity must lie in (0, 1] everywhere.")
        if not ((self.target >= 0) & (self.target <= 1 + 1e-9)).all():
            raise InputError("the policy's probabilities must lie in [0, 1].")
        if not np.isfinite(self.reward).all():
            raise InputError("reward must be finite everywhere; leave out or fill such rows.")

    @classmethod
    def of(
        cls,
        log: RequestLog,
        pi: FloatArray,
        reward: FloatArray,
        value: FloatArray | None = None,
        *,
        horizon: int | None = None,
    ) -> "Sessions":
        """Read a log's sessions.

        Weights multiply along a session: where a policy is far from the log, the few longest
        sessions carry most of the weight, and intervals are too narrow (see `n_effective`). Then
        ask for the reward of the first decisions, up to a `horizon` that the log can answer for.

        Parameters
        ----------
        log : randomised log
        pi : (n, A + 1) the policy's probabilities given the logged past
            (``walk(policy, log, logged_past=True)``)
        reward : (n,) such as `step_rewards`
        value : (n, A + 1) modelled rewards to the session's end under each arm (`fitted_values`)
        horizon : decisions of a session that count; all by default

        Raises
        ------
        InputError
            A table has another shape, or the horizon is below 1.
        """
        if horizon is not None and horizon < 1:
            raise InputError(f"horizon is {horizon}; expected at least one decision.")
        expected = (len(log), log.schema.n_arms + 1)
        for name, table in (("pi", pi), ("value", value)):
            if table is not None and table.shape != expected:
                raise InputError(f"{name} has shape {table.shape}; expected {expected}.")
        order = _first_rows(log, horizon)
        session, arm = log.session[order], log.arm[order]
        start = np.flatnonzero(np.r_[True, session[1:] != session[:-1]])
        return cls(
            reward[order],
            log.propensity[order],
            pi[order, arm],
            start,
            log.cluster[order][start],
            None if value is None else value[order, arm],
            None if value is None else np.einsum("na,na->n", pi[order], value[order]),
        )

    def with_values(self, logged: FloatArray, policy: FloatArray) -> "Sessions":
        """Return the sessions with modelled values, both (n,) in the sessions' own order."""
        return replace(self, value_logged=logged, value_policy=policy)

    @property
    def weight(self) -> FloatArray:
        """(n,) ``w_(0:t) = prod_(s <= t) pi_s / propensity_s`` along each session."""
        ratio = self.target / self.propensity
        length = self.length
        weight = np.empty_like(ratio)
        running = np.ones(len(length))
        for step in range(int(length.max())):  # all first decisions, all second ones, ..
            going = np.flatnonzero(length > step) if step else np.arange(len(length))
            rows = self.start[going] + step
            running[going] *= ratio[rows]
            weight[rows] = running[going]
        return weight

    @property
    def n_effective(self) -> float:
        """Kish's effective number of sessions, by their weights at the end."""
        last = self.weight[np.r_[self.start[1:], len(self.reward)] - 1]
        return float(last.sum() ** 2 / max(last @ last, 1e-300))

    @property
    def length(self) -> IntArray:
        """(m,) decisions of each session."""
        length: IntArray = np.diff(np.r_[self.start, len(self.reward)])
        return length

    @property
    def step(self) -> IntArray:
        """(n,) place of each decision in its session, from 0."""
        return np.arange(len(self.reward)) - np.repeat(self.start, self.length)

    def before(self, weight: FloatArray) -> FloatArray:
        """Return ``w_(0:t-1)`` of weights ``w_(0:t)``, 1 at each first decision."""
        earlier: FloatArray = np.r_[1.0, weight[:-1]]
        earlier[self.start] = 1.0
        return earlier

    def total(self, rows: FloatArray) -> FloatArray:
        """Sum rows (n,) by session, (m,)."""
        total: FloatArray = np.add.reduceat(rows, self.start)
        return total

    def values(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Return the modelled values under the logged arm and under the policy.

        Raises
        ------
        InputError
            They are not there; `name` is the estimator that needs them.
        """
        if self.value_logged is None or self.value_policy is None:
            raise InputError(f"{name} needs modelled values; fit some, or use snpdis.")
        return self.value_logged, self.value_policy

    def _check_runs(self) -> None:
        n, start = len(self.reward), self.start
        if self.reward.ndim != 1 or not n:
            raise InputError(f"reward has shape {self.reward.shape}; expected (n,) with n > 0.")
        if not len(start) or start[0] or (np.diff(start) <= 0).any() or start[-1] >= n:
            raise InputError("start must number the first rows of the sessions, 0 first, upwards.")
        if self.cluster.shape != start.shape:
            raise InputError(f"cluster has shape {self.cluster.shape}; expected {start.shape}.")


class SequentialEstimator(ABC):
    """Mean of a score by session; called, it gives the value per session with its interval."""

    @abstractmethod
    def scores(self, sessions: Sessions) -> FloatArray:
        """Return each session's score, (m,), whose mean is the estimate."""

    def sums(self, sessions: Sessions) -> RatioSums:
        """Return the state that intervals, draws and differences are made from.

        States of shards add exactly for TIS, PDIS and DR. The self-normalised forms normalise
        within what they see, so theirs should see the whole log.
        """
        return RatioSums.of((Ratio(self.scores(sessions)),), sessions.cluster)

    def __call__(self, sessions: Sessions) -> Estimate:
        """Return the value with its clustered interval."""
        return self.sums(sessions).estimate()


def _first_rows(log: RequestLog, horizon: int | None) -> IntArray:
    """Rows session by session, in the order of their time, up to a number of each."""
    order = log.session_order
    if horizon is None:
        return order
    session = log.session[order]
    start = np.flatnonzero(np.r_[True, session[1:] != session[:-1]])
    step = np.arange(len(order)) - np.repeat(start, np.diff(np.r_[start, len(order)]))
    kept: IntArray = order[step < horizon]
    return kept
