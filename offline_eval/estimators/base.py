"""The contract of every estimator: what a row adds above and below the line."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np

from offline_eval.estimators.decisions import Decisions
from offline_eval.estimators.weighting import Plain, Weighting
from offline_eval.intervals.ratios import Ratio, RatioSums
from uplift.arrays import FloatArray
from uplift.clusters import Estimate

__all__ = ["Estimator", "Weighted"]


class Estimator(ABC):
    """``V = sum_k (sum_i n_ik) / (sum_i d_ik)``; called, it gives the value with its interval."""

    @abstractmethod
    def ratios(self, decisions: Decisions) -> tuple[Ratio, ...]:
        """Return what each row adds to the ratios that the estimate is the sum of."""

    def fixed(self, decisions: Decisions) -> "Estimator":
        """Return the estimator with nothing left to choose, so that states of shards agree."""
        return self

    def value(self, decisions: Decisions) -> float:
        """Return the estimate alone, without summing by cluster."""
        return sum(map(_value, self.ratios(decisions)))

    def sums(self, decisions: Decisions) -> RatioSums:
        """Return the state that intervals, draws, shards and differences are made from."""
        return RatioSums.of(self.ratios(decisions), decisions.cluster)

    def __call__(self, decisions: Decisions) -> Estimate:
        """Return the value with its clustered interval."""
        return self.sums(decisions).estimate()


@dataclass(frozen=True)
class Weighted(Estimator):
    """An estimator that weighs rows.

    Parameters
    ----------
    weighting : what becomes of ``w = pi / propensity``: kept, clipped, switched off, shrunk
    """

    weighting: Weighting = Plain()  # noqa: RUF009  (frozen)

    def weigh(self, decisions: Decisions) -> FloatArray:
        """(n,) the weights as this estimator takes them."""
        return self.weighting(decisions.weight)

    def residual(self, decisions: Decisions) -> FloatArray:
        """(n,) what the weights multiply."""
        return decisions.reward

    def using(self, weighting: Weighting) -> Self:
        """Return the same estimator with another weighting."""
        return type(self)(weighting)


def _value(ratio: Ratio) -> float:
    if ratio.denominator is None:
        return float(ratio.numerator.mean())
    below = float(ratio.denominator.sum())
    return float(ratio.numerator.sum()) / below if below else np.nan
