"""FeedParams: what the simulated feed is like, and the tables that its kernels read."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.schema import LogSchema

__all__ = ["FEED_SCHEMA", "HORIZONS", "PAGE_LENGTH", "STEP", "FeedParams", "Rates"]

#: Slots of a page, and slots from one decision point to the next.
PAGE_LENGTH = 50
STEP = 5
#: Outcomes are purchases within so many slots after the decision.
HORIZONS = (5, 10, 15, 20)

FEED_SCHEMA = LogSchema(
    arms=("none", "request"),
    arm_cost=(0.0, 1.0),
    outcomes=(*(f"purchase_{n}" for n in HORIZONS), "gmv_10"),
    primary="purchase_10",
    features=("f_*", "c_*", "page", "position"),
    categorical=("c_*",),
    cluster="user_id",
    page_length=PAGE_LENGTH,
)


class Rates(NamedTuple):
    """What the kernels read. A latent state is ``heat + 2 match + 4 annoyed``, 0 to 7.

    Attributes
    ----------
    appetite, impatience : (8,) factors of the purchase and of the leave rate in each state
    attraction : (8,) click probability at the top of the first page in each state
    refresh, page_refresh : P(match) after an extra request, after a page's own request
    recover : P(annoyance ends) per slot
    match_start : P(match) as the session opens
    fatigue, depth : clicks lost per slot inside the page; kept from page to page
    leave_growth : leave rate added per page, relative
    price_spread : standard deviation of the log price
    request_share : P(request) of the logging policy on each page; the last holds from there on
    """

    appetite: FloatArray
    impatience: FloatArray
    attraction: FloatArray
    refresh: float
    page_refresh: float
    recover: float
    match_start: float
    fatigue: float
    depth: float
    leave_growth: float
    price_spread: float
    request_share: FloatArray


@dataclass(frozen=True)
class FeedParams:
    """What the feed and its users are like; the defaults land near the published figures.

    Probabilities are per slot where nothing else is said. ``*_spread`` is the standard deviation
    of a log-normal factor of mean 1 that differs from user to user.

    Parameters
    ----------
    request_share : P(extra request) in the log on page 0, 1, ...; the last holds from there on
    sessions_per_user : mean, of 1 + Poisson
    buy, buy_spread, buy_cap : purchase of a mean user who is cold and matched; cap of the factor
    hot_factor, mismatch_factor, annoyed_factor : of the purchase rate in such a state
    heat, heat_spread, cool : P(cold becomes hot), P(hot becomes cold)
    match_start, drift, drift_spread : P(match) at the start, P(what is served stops matching)
    refresh, page_refresh : P(match) after an extra request, after the page's own request
    disturbed_share, annoy, recover : share of users whom requests disturb; P(such a user is
        annoyed by an extra request); P(annoyance ends)
    leave, leave_spread, leave_growth : leave rate on page 0; growth per page, relative
    leave_mismatch, leave_annoyed : factors of the leave rate in such a state
    click, click_mismatch : click at the top of page 0 when matched; factor when not
    fatigue, depth : clicks lost per slot inside the page (log); share kept from page to page
    peak_hour, peak_ratio, evening : busiest hour (UTC), its traffic over the quietest hour's;
        how much more is bought then than on average
    price, price_spread : median price; standard deviation of its logarithm

    Raises
    ------
    InputError
        A number outside its range, or a logging probability of 0 or 1.

    Notes
    -----
    Published figures: AdaRequest (KDD 2022, arXiv 2206.12296); see ``benchmarks/feed.py``.
    """

    request_share: tuple[float, ...] = (0.20, 0.15, 0.12, 0.10)
    sessions_per_user: float = 1.8
    buy: float = 5.9e-5
    buy_spread: float = 0.8
    buy_cap: float = 10.0
    hot_factor: float = 30.0
    mismatch_factor: float = 0.06
    annoyed_factor: float = 0.3
    heat: float = 0.003
    heat_spread: float = 0.5
    cool: float = 0.05
    match_start: float = 0.96
    drift: float = 0.045
    drift_spread: float = 0.3
    refresh: float = 0.95
    page_refresh: float = 0.92
    disturbed_share: float = 0.18
    annoy: float = 0.4
    recover: float = 0.15
    leave: float = 0.013
    leave_spread: float = 0.3
    leave_growth: float = 0.15
    leave_mismatch: float = 1.3
    leave_annoyed: float = 3.0
    click: float = 0.063
    click_mismatch: float = 0.47
    fatigue: float = 0.0055
    depth: float = 0.87
    peak_hour: float = 21.0
    peak_ratio: float = 4.0
    evening: float = 0.2
    price: float = 60.0
    price_spread: float = 0.7

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            _check_within(name, getattr(self, name), low, high)
        if not self.request_share or not all(0 < share < 1 for share in self.request_share):
            raise InputError(
                f"feed: request_share is {self.request_share}; expected at least one probability "
                "in (0, 1), for only a randomised log can be learned from."
            )

    @property
    def largest_rate(self) -> float:
        """Largest ``rate`` that keeps every purchase probability at most 1."""
        top = self.buy * self.appetite().max() * self.buy_cap * (1 + abs(self.evening))
        return float(1 / top) if top > 0 else np.inf

    def appetite(self) -> FloatArray:
        """(8,) factor of the purchase rate in each state."""
        return _by_state(self.hot_factor, self.mismatch_factor, self.annoyed_factor)

    def rates(self) -> Rates:
        """Return the tables of the kernels."""
        return Rates(
            appetite=self.appetite(),
            impatience=_by_state(1.0, self.leave_mismatch, self.leave_annoyed),
            attraction=self.click * _by_state(1.0, self.click_mismatch, 1.0),
            refresh=self.refresh,
            page_refresh=self.page_refresh,
            recover=self.recover,
            match_start=self.match_start,
            fatigue=self.fatigue,
            depth=self.depth,
            leave_growth=self.leave_growth,
            price_spread=self.price_spread,
            request_share=np.array(self.request_share),
        )


_PROBABILITIES = (
    *("buy", "heat", "cool", "match_start", "drift", "refresh", "page_refresh", "disturbed_share"),
    *("annoy", "recover", "click", "depth", "evening"),
)
_FACTORS = (
    *("buy_spread", "hot_factor", "mismatch_factor", "annoyed_factor", "heat_spread"),
    *("drift_spread", "leave_spread", "leave_growth", "leave_mismatch", "leave_annoyed"),
    *("click_mismatch", "fatigue", "peak_ratio", "price_spread"),
)
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_PROBABILITIES, (0.0, 1.0)),
    **dict.fromkeys(_FACTORS, (0.0, 1e6)),
    "sessions_per_user": (1.0, 1e6),
    "buy_cap": (1e-3, 1e6),
    "leave": (1e-3, 1.0),  # a session must end
    "peak_hour": (0.0, 24.0),
    "price": (1e-3, 1e6),
}


def _check_within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"feed: {name} is {value}; expected a number in [{low:g}, {high:g}].")


def _by_state(hot: float, unmatched: float, annoyed: float) -> FloatArray:
    """(8,) products of the factors that hold in each state."""
    heat, match, annoyance = np.arange(8) & 1, np.arange(8) >> 1 & 1, np.arange(8) >> 2
    product: FloatArray = hot**heat * unmatched ** (1 - match) * annoyed**annoyance
    return product
