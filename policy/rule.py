"""PriceRule: request iff the gain exceeds price and reserve, within the session's limits."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from offline_eval.policies import Moment
from policy.problem import Limits
from policy.reserve import TIE_TOLERANCE, ReserveTable, left
from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.log import RequestLog

__all__ = ["PriceRule"]


@dataclass(frozen=True)
class PriceRule:
    """The plan as a policy for sessions that nobody knows yet.

    ``request arm a* = argmax_a gain[a] - price[w] cost[a]
    iff that is > reserve[price[w], place, requests left in the session, on the page]``

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
    reserve : worth of keeping the request for later; absent, nothing is kept
    tie_share : (W,) probability of a request where gain and price are equal; none when absent
    """

    name: str
    gain: Callable[[RequestLog], FloatArray]
    price: FloatArray
    window_seconds: float
    limits: Limits
    reserve: ReserveTable | None = None
    tie_share: FloatArray | None = None

    @property
    def has_memory(self) -> bool:
        """Whether a limit makes earlier requests matter."""
        return self.limits != Limits()

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return each arm's gain net of its price, the tie, and the reserve in every state.

        Returns
        -------
        (n, A + 2 + K Q)
            ``gain - price cost`` of each arm, below all others where nothing is gained; how much
            of it counts as equal; the share of ties; the reserve with 1 .. K requests left in the
            session and 1 .. Q on the page
        """
        window, gain = log.windows(self.window_seconds).index, self.gain(log)
        paid = self.price[window, None] * np.asarray(log.schema.arm_cost[1:])
        net = np.where(gain > 0, gain - paid, -np.inf)
        best = net.argmax(axis=1)[:, None]
        equal = TIE_TOLERANCE * np.take_along_axis(paid, best, axis=1)
        ties = np.zeros(len(log)) if self.tie_share is None else self.tie_share[window]
        return np.column_stack([net, equal, ties, self._reserves(log, window)])

    def probabilities(self, prepared: FloatArray, moment: Moment) -> FloatArray:
        """Return certainty for the best arm where it beats the reserve and limits allow it."""
        n_arms, rows = prepared.shape[1] - 2 - self._n_states, np.arange(len(prepared))
        net, equal, ties = prepared[:, :n_arms], prepared[:, n_arms], prepared[:, n_arms + 1]
        best = net.argmax(axis=1)
        worth = net[rows, best] - prepared[rows, n_arms + 2 + self._state(moment)]
        share = np.where(np.abs(worth) <= equal, ties, worth > 0)
        share = np.where(self._allowed(moment), share, 0.0)
        result = np.zeros((len(net), n_arms + 1))
        result[:, 0] = 1 - share
        result[rows, best + 1] = share
        return result

    @property
    def _n_states(self) -> int:
        return 1 if self.reserve is None else int(np.prod(self.reserve.value.shape[2:]))

    def _reserves(self, log: RequestLog, window: IntArray) -> FloatArray:
        """(n, K Q) reserve in every state of the counters."""
        if self.reserve is None:
            return np.zeros((len(log), 1))
        place = self.reserve.places.index(log.page, log.slot - log.page * log.schema.page_length)
        reserve = self.reserve.at_price(self.price)[window, place]
        return reserve.reshape(len(log), -1)

    def _state(self, moment: Moment) -> IntArray:
        """(m,) column of `_reserves` that the counters stand at."""
        if self.reserve is None:
            return np.zeros_like(moment.requests)
        in_session, on_page = self.reserve.value.shape[2:]
        k = left(self.limits.per_session, moment.requests, in_session)
        q = left(self.limits.per_page, moment.requests_on_page, on_page)
        state: IntArray = k * on_page + q
        return state

    def _allowed(self, moment: Moment) -> BoolArray:
        limits = self.limits
        allowed: BoolArray = moment.slots_since >= limits.min_gap
        if limits.per_session is not None:
            allowed &= moment.requests < limits.per_session
        if limits.per_page is not None:
            allowed &= moment.requests_on_page < limits.per_page
        return allowed
