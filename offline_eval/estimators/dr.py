"""Doubly robust estimators: the model, corrected where the log can correct it."""

from dataclasses import dataclass

from offline_eval.estimators.base import Weighted
from offline_eval.estimators.decisions import Decisions
from offline_eval.intervals.ratios import Ratio
from uplift.arrays import FloatArray

__all__ = ["DR", "SNDR", "dr", "sndr"]


@dataclass(frozen=True)
class DR(Weighted):
    """Doubly robust: ``1/n sum m_i(pi) + w_i (r_i - m_i(a_i))``.

    Unbiased with known propensities when the outcome model was fitted on other users, and the
    less noisy the better that model. With the weighting `Switch` it is Switch-DR, with `Shrink`
    DRos, with `SubGaussian` sub-Gaussian DR; on an outcome model fitted by
    `offline_eval.outcomes.mrdr_weights` it is MRDR. Source: Dudik et al. 2014.
    """

    def ratios(self, decisions: Decisions) -> tuple[Ratio, ...]:
        """Return ``m(pi) + w (r - m(a))`` over 1."""
        score = self.residual(decisions)
        score *= self.weigh(decisions)
        score += decisions.modelled("dr")[1]
        return (Ratio(score),)

    def residual(self, decisions: Decisions) -> FloatArray:
        """(n,) ``r - m(a)``."""
        return decisions.reward - decisions.modelled("dr")[0]


@dataclass(frozen=True)
class SNDR(Weighted):
    """Self-normalised DR: ``1/n sum m_i(pi) + sum w_i (r_i - m_i(a_i)) / sum w_i``.

    Less noisy than DR where weights are heavy. A reward that equals the model has no correction,
    and a constant reward under a constant model no interval. Source: Thomas & Brunskill 2016.
    """

    def ratios(self, decisions: Decisions) -> tuple[Ratio, ...]:
        """Return ``m(pi)`` over 1 and ``w (r - m(a))`` over ``w``."""
        weight, (_, policy) = self.weigh(decisions), decisions.modelled("sndr")
        return Ratio(policy), Ratio(weight * self.residual(decisions), weight)

    def residual(self, decisions: Decisions) -> FloatArray:
        """(n,) ``r - m(a)``."""
        return decisions.reward - decisions.modelled("sndr")[0]


dr = DR()
sndr = SNDR()
