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
    `tie_share`: points of equal gain share what the budget leaves for them. A gain of 0 is never
    worth a request.

    Attributes
    ----------
    name : of the policy
    gain : maps a log to the (n, A) gain of each arm over none
    price : (W,) price of a request in each window of the day
    window_seconds : length of a window
    limits : what a session allows; the rule's own requests count
    reserve : worth of keeping the request for later
    tie_share : (W,) probability of a request where gain and price are equal; none when absent
    """

    name: str
    gain: Callable[[RequestLog], FloatArray]
    price: FloatArray
    window_seconds: float
    limits: Limits
    reserve: float = 0.0
    tie_share: FloatArray | None = None

    @property
    def has_memory(self) -> bool:
        """Whether a limit makes earlier requests matter."""
        return self.limits != Limits()

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return each arm's gain net of its price, 0 at ties, and the tie's share, (n, A + 1)."""
        window = log.windows(self.window_seconds).index
        net = net_gain(self.gain(log), self.price[window], np.asarray(log.schema.arm_cost[1:]))
        ties = np.zeros(len(net)) if self.tie_share is None else self.tie_share[window]
        return np.column_stack([net, ties])

    def probabilities(self, prepared: FloatArray, moment: Moment) -> FloatArray:
        """Return certainty for the best arm where it beats the reserve and limits allow it."""
        net, ties = prepared[:, :-1], prepared[:, -1]
        best = net.argmax(axis=1)
        rows = np.arange(len(net))
        worth = net[rows, best] - self.reserve
        share = np.where(worth > 0, 1.0, np.where(worth == 0, ties, 0.0))
        share *= self._allowed(moment)
        result = np.zeros((len(net), net.shape[1] + 1))
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
    """Return ``gain - price cost``, (n, A), exactly 0 at ties, below 0 where nothing is gained.

    price (n,), cost (A,)
    """
    paid = price[:, None] * cost
    net: FloatArray = gain - paid
    net[np.abs(net) <= TIE_TOLERANCE * np.abs(paid)] = 0.0
    net[(gain == 0) & (net == 0)] = -1.0  # a request for nothing, at a price of 0
    return net
