"""PriceRule: request iff the gain exceeds the price of the moment, within the session's limits."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from offline_eval.policies import Moment
from policy.problem import Limits
from uplift.arrays import FloatArray
from uplift.log import RequestLog

__all__ = ["PriceRule", "net_gain"]

#: Gains this near to the price, relative to it, are ties: solvers know prices no better.
TIE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PriceRule:
    """The plan as a policy for sessions that nobody knows yet.

    ``request arm a* = argmax_a gain[a] - price[w] cost[a]  iff that is > reserve``

    Where the two are equal, to a thousandth of the price, the rule requests with probability
    `tie_share`: points of equal gain share what the budget leaves for them.

    Attributes
    ----------
    name : of the policy
    gain : maps a log to the (n, A) gain of each arm over none
    price : (W,) price of a request in each window of the day
    window_seconds : length of a window
    limits : what a session allows; the rule's own requests count
    reserve : worth of keeping the request for later
    tie_share : probability of a request where gain and price are equal
    """

    name: str
    gain: Callable[[RequestLog], FloatArray]
    price: FloatArray
    window_seconds: float
    limits: Limits
    reserve: float = 0.0
    tie_share: float = 0.0

    @property
    def has_memory(self) -> bool:
        """Whether a limit makes earlier requests matter."""
        return self.limits != Limits()

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return each arm's gain net of its price, (n, A); 0 where they are equal."""
        price = self.price[log.windows(self.window_seconds).index]
        return net_gain(self.gain(log), price, np.asarray(log.schema.arm_cost[1:]))

    def probabilities(self, prepared: FloatArray, moment: Moment) -> FloatArray:
        """Return certainty for the best arm where it beats the reserve and limits allow it."""
        best = prepared.argmax(axis=1)
        rows = np.arange(len(prepared))
        net = prepared[rows, best] - self.reserve
        share = np.where(net > 0, 1.0, np.where(net == 0, self.tie_share, 0.0))
        share *= self._allowed(moment)
        result = np.zeros((len(prepared), prepared.shape[1] + 1))
        result[:, 0] = 1 - share
        result[rows, best + 1] = share
        return result

    def _allowed(self, moment: Moment) -> np.ndarray:
        limits = self.limits
        allowed = moment.slots_since >= limits.min_gap
        if limits.per_session is not None:
            allowed &= moment.requests < limits.per_session
        if limits.per_page is not None:
            allowed &= moment.requests_on_page < limits.per_page
        return allowed


def net_gain(gain: FloatArray, price: FloatArray, cost: FloatArray) -> FloatArray:
    """Return ``gain - price cost``, (n, A), and exactly 0 at ties; price (n,), cost (A,)."""
    paid = price[:, None] * cost
    net: FloatArray = gain - paid
    net[np.abs(net) <= TIE_TOLERANCE * np.abs(paid)] = 0.0
    return net
