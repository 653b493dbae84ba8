"""PriceRule: request iff the gain exceeds the price of the moment, within the session's limits."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from offline_eval.policies import Moment
from policy.problem import Limits
from uplift.arrays import FloatArray
from uplift.log import RequestLog

__all__ = ["PriceRule"]


@dataclass(frozen=True)
class PriceRule:
    """The plan as a policy for sessions that nobody knows yet.

    ``request arm a* = argmax_a gain[a] - price[w] cost[a]  iff that is > reserve``

    Attributes
    ----------
    name : of the policy
    gain : maps a log to the (n, A) gain of each arm over none
    price : (W,) price of a request in each window of the day
    window_seconds : length of a window
    limits : what a session allows; the rule's own requests count
    reserve : worth of keeping the request for later
    """

    name: str
    gain: Callable[[RequestLog], FloatArray]
    price: FloatArray
    window_seconds: float
    limits: Limits
    reserve: float = 0.0

    @property
    def has_memory(self) -> bool:
        """Whether a limit makes earlier requests matter."""
        return self.limits != Limits()

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return each arm's gain net of its price, (n, A)."""
        price = self.price[log.windows(self.window_seconds).index]
        cost = np.asarray(log.schema.arm_cost[1:])
        net: FloatArray = self.gain(log) - price[:, None] * cost
        return net

    def probabilities(self, prepared: FloatArray, moment: Moment) -> FloatArray:
        """Return certainty for the best arm where it beats the reserve and limits allow it."""
        best = prepared.argmax(axis=1)
        rows = np.arange(len(prepared))
        wanted = (prepared[rows, best] > self.reserve) & self._allowed(moment)
        result = np.zeros((len(prepared), prepared.shape[1] + 1))
        result[rows, np.where(wanted, best + 1, 0)] = 1.0
        return result

    def _allowed(self, moment: Moment) -> np.ndarray:
        limits = self.limits
        allowed = moment.slots_since >= limits.min_gap
        if limits.per_session is not None:
            allowed &= moment.requests < limits.per_session
        if limits.per_page is not None:
            allowed &= moment.requests_on_page < limits.per_page
        return allowed
