"""The threshold that a shrinking estimator works at, chosen by the log."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from offline_eval.estimators.base import Estimator, Weighted
from offline_eval.estimators.decisions import Decisions
from offline_eval.estimators.weighting import Weighting
from offline_eval.intervals.ratios import Ratio, RatioSums
from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.errors import InputError

__all__ = ["Tuned"]

_SLOPE = np.sqrt(6) - 1


@dataclass(frozen=True)
class Tuned(Estimator):
    """Another estimator at the candidate weighting that is best by a rule.

    - ``mse``: least ``se^2 + bound^2``, with the clustered standard error and the bound on the
      bias ``|mean((w - w') (r - m))| + sqrt(2 mean(w^2) log(2/delta) / n)
      + 2 max(w) log(2/delta) / (3 n)``. Source: Su et al. 2020; Open Bandit Pipeline.
    - ``slope``: from the widest interval to the narrowest, the last candidate whose estimate
      agrees with all before it, ``|v_i - v_j| <= c_i + (sqrt(6) - 1) c_j`` with half widths c.
      Source: Su et al. 2020; Tucker & Lee 2021.

    Called, it widens the chosen candidate's interval by the bias that the rows show,
    ``|mean((w - w') (r - m))|``: without it the interval is around the wrong place. For shards,
    `fixed` chooses once; then their states add, which know of the noise alone.

    Parameters
    ----------
    base : IPS or DR
    candidates : weightings to choose from
    rule, delta : how to choose; 1 - confidence of the bound

    Raises
    ------
    InputError
        There is no candidate, or the rule is unknown.
    """

    base: Weighted
    candidates: tuple[Weighting, ...]
    rule: Literal["mse", "slope"] = "mse"
    delta: float = 0.05

    def __post_init__(self) -> None:
        if not self.candidates:
            raise InputError("a tuned estimator needs at least one weighting to choose from.")
        if self.rule not in ("mse", "slope"):
            raise InputError(f"rule {self.rule!r} is unknown; choose 'mse' or 'slope'.")

    def __call__(self, decisions: Decisions) -> Estimate:
        """Return the value with the clustered interval, widened by the bias shown."""
        chosen = self.fixed(decisions)
        found, bias = chosen(decisions), self._shown_bias(chosen, decisions)
        return Estimate(found.value, found.lower - bias, found.upper + bias)

    def ratios(self, decisions: Decisions) -> tuple[Ratio, ...]:
        """Return the chosen candidate's."""
        return self.fixed(decisions).ratios(decisions)

    def fixed(self, decisions: Decisions) -> Weighted:
        """Return the base estimator with the chosen weighting."""
        options = [self.base.using(weighting) for weighting in self.candidates]
        sums = [option.sums(decisions) for option in options]
        chosen = self._by_mse(options, sums, decisions) if self.rule == "mse" else _by_slope(sums)
        return options[chosen]

    def _by_mse(self, options: list[Weighted], sums: list[RatioSums], decisions: Decisions) -> int:
        slack = _slack(decisions.weight, self.delta)
        bias = [self._shown_bias(option, decisions) for option in options]
        scores = [s.error**2 + (b + slack) ** 2 for s, b in zip(sums, bias, strict=True)]
        return int(np.argmin(scores))

    def _shown_bias(self, option: Weighted, decisions: Decisions) -> float:
        """Return how far the changed weights move the estimate on these rows."""
        taken = decisions.weight - option.weigh(decisions)
        return abs(float(taken @ self.base.residual(decisions))) / len(taken)


def _slack(weight: FloatArray, delta: float) -> float:
    """Bernstein's allowance for the estimated bias."""
    n, log = len(weight), np.log(2 / delta)
    return float(np.sqrt(2 * (weight @ weight) / n * log / n) + 2 * weight.max() * log / (3 * n))


def _by_slope(sums: list[RatioSums]) -> int:
    estimates = [s.estimate() for s in sums]
    value = np.array([e.value for e in estimates])
    half = np.array([e.upper - e.value for e in estimates])
    order = np.argsort(-half, kind="stable")
    for place, i in enumerate(order):
        before = order[:place]
        if (np.abs(value[before] - value[i]) > half[i] + _SLOPE * half[before]).any():
            return int(order[place - 1])
    return int(order[-1])
