"""The direct method: the outcome model alone."""

from dataclasses import dataclass

from offline_eval.estimators.base import Estimator
from offline_eval.estimators.decisions import Decisions
from offline_eval.intervals.ratios import Ratio

__all__ = ["DM", "dm"]


@dataclass(frozen=True)
class DM(Estimator):
    """Direct method: ``1/n sum m_i(pi)``.

    Hardly noisy, and as biased as the model is: its interval knows of the noise between users, not
    of the bias.
    """

    def ratios(self, decisions: Decisions) -> tuple[Ratio, ...]:
        """Return ``m(pi)`` over 1."""
        return (Ratio(decisions.modelled("dm")[1]),)


dm = DM()
