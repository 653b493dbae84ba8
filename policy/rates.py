"""Rates: what a quota refills by, in each window of the day."""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from uplift.errors import InputError

__all__ = ["Rates"]

DAY_SECONDS = 86_400.0
MOST_WINDOWS = 1_440


@dataclass(frozen=True)
class Rates:
    """Requests per second, by windows that cut the UTC day into equal parts.

    ``rate(t) = by_window[floor((t mod 86400) / seconds)]``, ``seconds = 86400 / W``

    Parameters
    ----------
    by_window : (W,) requests per second, >= 0; one number is the rate at any time

    Raises
    ------
    InputError
        There is no rate, or more than one a minute, or one is negative or not finite.
    """

    by_window: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.by_window) <= MOST_WINDOWS:
            raise InputError(
                f"{len(self.by_window)} rates; expected requests per second, for 1 to "
                f"{MOST_WINDOWS:,} windows of the day."
            )
        for rate in self.by_window:
            if not 0 <= rate < float("inf"):
                raise InputError(
                    f"the rate is {rate} requests per second, expected a finite number, 0 or more; "
                    "give the capacity that the servers have for extra requests."
                )

    @classmethod
    def of(cls, rate: "float | Rates") -> "Rates":
        """Return a rate that is the same at any time as rates."""
        return rate if isinstance(rate, Rates) else cls((float(rate),))

    @classmethod
    def parse(cls, text: str) -> "Rates":
        """Read numbers separated by commas: one, or one for each window."""
        try:
            return cls(tuple(float(part) for part in text.split(",")))
        except InputError:
            raise
        except ValueError:
            raise InputError(
                f"{text!r} is no rate; expected requests per second: a number, several separated "
                "by commas for equal parts of the UTC day, or plan."
            ) from None

    @classmethod
    def of_plan(cls, path: str | Path) -> "Rates":
        """Read the rate that a plan keeps to: that of its budget, in each of its windows."""
        budget = json.loads(Path(path).read_text())["budget"]
        if budget["kind"] != "qps":
            raise InputError(
                f"the plan's budget is given in {budget['kind']!r}, not in requests per second; "
                "give the rate as a number."
            )
        return cls((float(budget["amount"]),))

    @property
    def seconds(self) -> float:
        """Length of a window."""
        return DAY_SECONDS / len(self.by_window)

    def at(self, now: float) -> float:
        """Return the rate at a moment, in seconds since 1970 UTC."""
        return self.by_window[self._window(now % DAY_SECONDS)]

    def between(self, start: float, end: float) -> float:
        """Return the requests that may be made from one moment to another: the rate's integral."""
        if len(self.by_window) == 1:
            return self.by_window[0] * (end - start)
        midnight = start - start % DAY_SECONDS
        return self._since(midnight, end) - self._since(midnight, start)

    @cached_property
    def _before(self) -> list[float]:
        """(W + 1,) requests of a day up to the start of each window, and of the whole day."""
        return [0.0, *accumulate(rate * self.seconds for rate in self.by_window)]

    def _since(self, midnight: float, now: float) -> float:
        days, within = divmod(now - midnight, DAY_SECONDS)
        window = self._window(within)
        more = self.by_window[window] * (within - window * self.seconds)
        return days * self._before[-1] + self._before[window] + more

    def _window(self, within: float) -> int:
        return min(int(within / self.seconds), len(self.by_window) - 1)
