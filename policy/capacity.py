"""Capacity: what may be spent, and what must be, in each window, by each service, altogether."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["ROUND_OFF", "Capacity", "Service"]

T = TypeVar("T")

ROUND_OFF = 1e-9
"""Relative excess of a row that is rounding of sums of floats, not spending."""


@dataclass(frozen=True)
class Service:
    """What a server that only some arms call can bear.

    ``sum over its arms of cost[i, a] x[i, a] <= window[w]`` in each window, and ``<= total``

    Parameters
    ----------
    arms : tuple of int
        The arms that call it, from 1; one arm makes it the capacity of that arm.
    window : (W,) float64, optional
        Requests that it can serve in each window; None is no limit, and so is infinity.
    total : float, optional
        Requests over all windows; None (or infinity) is no limit.
    name : str
        What messages call it.
    """

    arms: tuple[int, ...]
    window: FloatArray | None = None
    total: float | None = None
    name: str = "service"

    def __post_init__(self) -> None:
        arms = tuple(int(a) for a in self.arms)
        if not arms or min(arms) < 1 or len(set(arms)) < len(arms):
            raise InputError(
                f"{self.name!r} serves the arms {list(arms)}, expected different numbers from 1; "
                "arm 0 makes no request."
            )
        object.__setattr__(self, "arms", arms)
        if self.window is not None:
            object.__setattr__(self, "window", _windows(self.window, f"capacity of {self.name!r}"))
        object.__setattr__(self, "total", _total(self.total, f"total of {self.name!r}"))


@dataclass(frozen=True)
class Capacity:
    """Requests that may be spent: in each window, altogether, by each service; and the least.

    Parameters
    ----------
    window : (W,) float64
        Requests a window can serve; infinity is no limit, 0 closes the window.
    total : float, optional
        Requests over all windows; None (or infinity) is no limit.
    least : (W,) float64, optional
        Requests a window must get, even where they gain less than elsewhere: a window that is a
        group of users at a time of day is then never starved. None is 0 everywhere.
    services : tuple of Service
        Capacities of servers that some arms call.

    Raises
    ------
    InputError
        Numbers below 0 or missing, nothing that may be spent, or a least above a capacity.
    """

    window: FloatArray
    total: float | None = None
    least: FloatArray | None = None
    services: tuple[Service, ...] = ()

    def __post_init__(self) -> None:
        window = _windows(self.window, "capacity")
        if not window.any():
            raise InputError(
                "Every capacity is 0, expected at least one window that can serve a request; "
                "raise the budget."
            )
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "total", _total(self.total, "total budget"))
        object.__setattr__(self, "services", tuple(self.services))
        for service in self.services:
            if service.window is not None and service.window.shape != window.shape:
                raise InputError(
                    f"{service.name!r} has capacities for {service.window.size} windows and the "
                    f"budget has {window.size}, expected the same."
                )
        if self.least is not None:
            self._take_least()

    def _take_least(self) -> None:
        least = _windows(self.least, "least")
        if least.shape != self.window.shape or not np.isfinite(least).all():
            raise InputError(
                f"least has shape {least.shape}, expected one finite number for each of the "
                f"{self.window.size} windows; use 0 where nothing must be spent."
            )
        above = np.flatnonzero(least > self.window)
        if above.size:
            raise InputError(
                f"Windows {above[:10].tolist()} must get {least[above[:10]].tolist()} requests but "
                f"can serve {self.window[above[:10]].tolist()}; lower least or raise the capacity."
            )
        if self.total is not None and least.sum() > self.total:
            raise InputError(
                f"The windows together must get {least.sum():g} requests but the total budget is "
                f"{self.total:g}; lower least or raise the total."
            )
        object.__setattr__(self, "least", least if least.any() else None)

    @property
    def is_laminar(self) -> bool:
        """Whether there are windows and a total alone: rows that lie one inside the other."""
        return not self.services and self.least is None

    def with_total(self, total: float | None) -> "Capacity":
        """Return the same capacities with another total."""
        return Capacity(self.window, total, self.least, self.services)

    def scaled(self, factor: float) -> "Capacity":
        """Return so many times of everything: windows, total, least and services."""
        services = tuple(
            replace(s, window=_times(s.window, factor), total=_times(s.total, factor))
            for s in self.services
        )
        return Capacity(
            factor * self.window, _times(self.total, factor), _times(self.least, factor), services
        )

    def check_match(self, n_windows: int, n_arms: int) -> None:
        """Refuse a budget for other windows or arms than a demand's."""
        if self.window.size != n_windows:
            raise InputError(
                f"The budget has {self.window.size} windows and the demand has {n_windows}, "
                "expected the same; give one capacity for each window."
            )
        for service in self.services:
            if max(service.arms) > n_arms:
                raise InputError(
                    f"{service.name!r} serves arm {max(service.arms)} and the demand has "
                    f"{n_arms} arms; name arms that it has."
                )


def _times(amount: T, factor: float) -> T:
    """Multiply what is given; what is not stays so."""
    return amount if amount is None else factor * amount  # type: ignore[operator,return-value]


def _windows(values: ArrayLike | None, what: str) -> FloatArray:
    window = np.ascontiguousarray(values, dtype=np.float64)
    if window.ndim != 1 or window.size == 0:
        raise InputError(
            f"{what} has shape {window.shape}, expected one number for each window; "
            "pass a one-dimensional array."
        )
    bad = np.flatnonzero(~(window >= 0))
    if bad.size:
        raise InputError(
            f"The {what} of window {bad[0]} is {window[bad[0]]}, expected 0 or more; "
            "use infinity where there is no limit."
        )
    return window


def _total(total: float | None, what: str) -> float | None:
    if total is None or total == np.inf:
        return None
    if not total > 0:
        raise InputError(
            f"The {what} is {total}, expected more than 0 requests; "
            "raise it, or leave it out for no total."
        )
    return float(total)
