"""Budget: how many extra requests there may be, as a person says it."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args

import numpy as np

from policy.capacity import Capacity
from uplift.errors import InputError
from uplift.log import Windows

__all__ = ["Budget", "Traffic"]

#: Kinds that speak of the whole traffic, not of the log.
_SCALED = ("qps", "requests")
Kind = Literal["qps", "qps_share", "requests", "share"]


class Traffic(Protocol):
    """As much of a log as a budget is of."""

    @property
    def n_pages(self) -> int:
        """Number of page requests."""

    def __len__(self) -> int:
        """Return the number of decision points."""


@dataclass(frozen=True)
class Budget:
    """A limit on extra requests, in one of the units that people use.

    Parameters
    ----------
    kind :
        ``qps``: extra requests per second, at any time of the day;
        ``qps_share``: the same, as a share of the log's mean page requests per second;
        ``requests``: extra requests altogether;
        ``share``: extra requests per decision point, at whatever time
    amount : the number, > 0
    traffic_share : share of the live traffic that the planned log represents, in (0, 1]; scales
        ``qps`` and ``requests``
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    kind: Kind
    amount: float
    traffic_share: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"budget in {self.kind!r}; expected one of {list(get_args(Kind))}.")
        if not 0 < self.amount < np.inf:
            raise InputError(
                f"the budget is {self.amount} ({self.kind}); expected more than 0 requests, "
                "raise it."
            )
        if not 0 < self.traffic_share <= 1:
            raise InputError(f"traffic_share is {self.traffic_share}; expected it in (0, 1].")
        if self.traffic_share != 1 and self.kind not in _SCALED:
            raise InputError(
                f"traffic_share is {self.traffic_share}, but a budget in {self.kind} is of the log "
                f"itself; leave it out, or give the budget as one of {list(_SCALED)}."
            )

    @classmethod
    def qps(cls, amount: float, traffic_share: float = 1.0) -> "Budget":
        """Extra requests per second."""
        return cls("qps", amount, traffic_share)

    @classmethod
    def qps_share(cls, amount: float) -> "Budget":
        """Extra requests per second, as a share of the mean page requests per second."""
        return cls("qps_share", amount)

    @classmethod
    def requests(cls, amount: float, traffic_share: float = 1.0) -> "Budget":
        """Extra requests altogether."""
        return cls("requests", amount, traffic_share)

    @classmethod
    def share(cls, amount: float) -> "Budget":
        """Extra requests per decision point."""
        return cls("share", amount)

    @property
    def step(self) -> float:
        """A round amount, a hundredth to a tenth of it; 1,000 QPS from 10,000 QPS on."""
        tenth = float(10.0 ** (np.floor(np.log10(self.amount)) - 1))
        return min(tenth, 1000.0) if self.kind == "qps" else tenth

    def of_part(self, share: float) -> "Budget":
        """Return the budget of a part of the log that holds this share of it."""
        if self.kind not in _SCALED:
            return self
        return Budget(self.kind, self.amount, self.traffic_share * share)

    def capacity(self, log: Traffic, windows: Windows) -> Capacity:
        """Return the requests that each window and the whole log may spend.

        Parameters
        ----------
        log : a `RequestLog`, or what is known of one
        windows : those of its day

        Raises
        ------
        InputError
            A rate (``qps``) is asked of a log without timestamps.
        """
        count = len(windows.start)
        if self.kind == "qps":
            if not np.isfinite(windows.seconds):
                raise InputError(
                    "a budget in qps needs timestamps, which the log lacks; give the budget as "
                    "requests, share or qps_share."
                )
            return Capacity(self.amount * windows.covered * self.traffic_share)
        if self.kind == "qps_share":
            pages = log.n_pages * windows.covered / windows.covered.sum()
            return Capacity(self.amount * pages)
        unit = self.traffic_share if self.kind == "requests" else len(log)
        return Capacity(np.full(count, np.inf), self.amount * unit)
