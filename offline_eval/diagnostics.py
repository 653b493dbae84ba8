"""Can this log answer for that policy? Overlap judged, with a refusal where it cannot."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from offline_eval.estimators import Decisions
from uplift.clusters import Estimate, ratio_estimate

__all__ = ["Diagnostics", "diagnose"]

Verdict = Literal["sound", "doubtful", "refused"]

#: Fewer effective rows than this are no evidence: the answer is refused.
REFUSED_N_EFFECTIVE = 50.0
#: One row carrying more of the weight than this: refused.
REFUSED_LARGEST_SHARE = 0.2
#: Below this share of effective rows, or above this largest share, the answer is doubtful.
DOUBTFUL_EFFECTIVE_SHARE = 0.01
DOUBTFUL_LARGEST_SHARE = 0.02
#: Fewer non-zero outcomes among the rows that speak for the policy: refused, doubtful. An interval
#: from so few events is not to be believed, from none it has no width.
REFUSED_EVENTS = 5
DOUBTFUL_EVENTS = 20
#: The mean weight is 1 under right propensities and full overlap; away from 1 by this many half
#: widths of its interval it is doubtful, and refused when it is also off by this much.
DOUBTFUL_MEAN_HALF_WIDTHS = 2.0
REFUSED_MEAN_OFF = 0.25


@dataclass(frozen=True)
class Diagnostics:
    """How much of a log speaks about a policy.

    Attributes
    ----------
    n : logged decisions
    n_effective : Kish's effective sample size ``(sum w)^2 / sum w^2``
    largest_share : share of the largest weight in their sum
    n_events : rows of positive weight whose outcome is not zero
    mean_weight : ``mean(w)``, 1 where the log covers what the policy does
    verdict : ``sound``, ``doubtful`` (numbers with a warning) or ``refused`` (no number)
    reasons : one sentence for each thing found
    """

    n: int
    n_effective: float
    largest_share: float
    n_events: int
    mean_weight: Estimate
    verdict: Verdict
    reasons: tuple[str, ...]


def diagnose(decisions: Decisions) -> Diagnostics:
    """Judge the overlap of the log with a policy by its weights, and count what happened."""
    weight = decisions.weight
    total = float(weight.sum())
    if total == 0:
        reason = "The policy never does what the log did: there is no overlap at all."
        return Diagnostics(len(weight), 0.0, 1.0, 0, Estimate(0.0, 0.0, 0.0), "refused", (reason,))
    n_effective = total**2 / float(weight @ weight)
    largest = float(weight.max()) / total
    events = int(np.count_nonzero(decisions.reward[weight > 0]))
    mean = ratio_estimate(weight, np.ones_like(weight), decisions.cluster)
    refusals = _refusals(n_effective, largest, mean, len(weight))
    doubts = _doubts(n_effective, largest, mean, len(weight))
    few = f"Only {events} non-zero outcomes speak for the policy ({DOUBTFUL_EVENTS} are needed)."
    refusals += [few] if events < REFUSED_EVENTS else []
    doubts += [few] if events < DOUBTFUL_EVENTS else []
    verdict: Verdict = "refused" if refusals else "doubtful" if doubts else "sound"
    reasons = tuple(refusals or doubts)
    return Diagnostics(len(weight), n_effective, largest, events, mean, verdict, reasons)


def _refusals(n_effective: float, largest: float, mean: Estimate, n: int) -> list[str]:
    found = []
    if n_effective < REFUSED_N_EFFECTIVE:
        found.append(
            f"Lack of overlap: the effective sample size is {n_effective:.1f} of {n:,} rows "
            f"(at least {REFUSED_N_EFFECTIVE:.0f} are needed)."
        )
    if largest > REFUSED_LARGEST_SHARE:
        found.append(f"Lack of overlap: one row carries {largest:.0%} of the weight.")
    if _half_widths(mean) > DOUBTFUL_MEAN_HALF_WIDTHS and abs(mean.value - 1) > REFUSED_MEAN_OFF:
        found.append(
            f"The mean weight is {mean.value:.2f} and not 1: the policy acts where the log never "
            "did, or the propensities are wrong."
        )
    return found


def _doubts(n_effective: float, largest: float, mean: Estimate, n: int) -> list[str]:
    found = []
    if n_effective < DOUBTFUL_EFFECTIVE_SHARE * n:
        found.append(f"Thin overlap: the effective sample size is {n_effective:.0f} of {n:,} rows.")
    if largest > DOUBTFUL_LARGEST_SHARE:
        found.append(f"Thin overlap: one row carries {largest:.1%} of the weight.")
    if _half_widths(mean) > DOUBTFUL_MEAN_HALF_WIDTHS:
        found.append(f"The mean weight is {mean.value:.3f}; 1 was expected.")
    return found


def _half_widths(mean: Estimate) -> float:
    """Distance of the mean weight from 1, in half widths of its interval."""
    half = max(mean.upper - mean.value, 1e-12)
    return abs(mean.value - 1) / half if np.isfinite(half) else 0.0
