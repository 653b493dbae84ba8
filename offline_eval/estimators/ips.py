"""Inverse propensity scoring, plain and self-normalised."""

from dataclasses import dataclass

from offline_eval.estimators.base import Weighted
from offline_eval.estimators.decisions import Decisions
from offline_eval.intervals.ratios import Ratio

__all__ = ["IPS", "SNIPS", "ips", "snips"]


@dataclass(frozen=True)
class IPS(Weighted):
    """Inverse propensity scoring: ``1/n sum w_i r_i``; unbiased, noisy.

    Source: Horvitz & Thompson 1952.
    """

    def ratios(self, decisions: Decisions) -> tuple[Ratio, ...]:
        """Return ``w r`` over 1."""
        return (Ratio(self.weigh(decisions) * decisions.reward),)


@dataclass(frozen=True)
class SNIPS(Weighted):
    """Self-normalised IPS: ``sum w_i r_i / sum w_i``.

    Slightly biased, far less noisy; its interval is the ratio's, so a constant reward has none.
    Source: Swaminathan & Joachims 2015.
    """

    def ratios(self, decisions: Decisions) -> tuple[Ratio, ...]:
        """Return ``w r`` over ``w``."""
        weight = self.weigh(decisions)
        return (Ratio(weight * decisions.reward, weight),)


ips = IPS()
snips = SNIPS()
