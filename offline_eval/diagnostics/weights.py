"""Overlap of a log and a policy by the weights, with a refusal where there is too little."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from offline_eval.estimators import Decisions
from offline_eval.intervals.ratios import Ratio, RatioSums
from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.randomisation import Check, Verdict

__all__ = ["REFUSED_N_EFFECTIVE", "Diagnostics", "WeightBin", "diagnose", "tail_index"]

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
#: One user carrying more of the weight than this: users are what intervals rest on.
DOUBTFUL_USER_SHARE = 0.1
REFUSED_USER_SHARE = 0.5
#: Hill's index of the heaviest weights beyond which the answer is doubtful, refused.
DOUBTFUL_TAIL = 0.5
REFUSED_TAIL = 1.0
#: The mean weight is 1 under right propensities and full overlap; away from 1 by this many half
#: widths of its interval it is doubtful, and refused when it is also off by this much.
DOUBTFUL_MEAN_HALF_WIDTHS = 2.0
REFUSED_MEAN_OFF = 0.25
_FEW_TAIL = 20
_NOTHING = -(1 << 20)
_SEVERITY: tuple[Verdict, ...] = ("sound", "doubtful", "refused")


@dataclass(frozen=True)
class WeightBin:
    """Weights in (lower, upper], or all that are 0: their share of the rows and of the weight."""

    lower: float
    upper: float
    rows: float
    weight: float


@dataclass(frozen=True)
class Diagnostics:
    """How much of a log speaks about a policy.

    Attributes
    ----------
    n : logged decisions
    n_effective : Kish's effective sample size ``(sum w)^2 / sum w^2``
    largest_share : share of the largest weight in their sum
    largest_user_share : share of the weight that one user carries
    tail_index : Hill's index of the heaviest weights: from 1/2 on their variance is infinite, from
        1 on their mean
    n_events : rows of positive weight whose outcome is not zero
    mean_weight : ``mean(w)``, 1 where the log covers what the policy does
    histogram : weights of 0, those up to 1, then octave by octave
    verdict : ``sound``, ``doubtful`` (numbers with a warning) or ``refused`` (no number)
    reasons : one sentence for each thing found
    """

    n: int
    n_effective: float
    largest_share: float
    largest_user_share: float
    tail_index: float
    n_events: int
    mean_weight: Estimate
    histogram: tuple[WeightBin, ...]
    verdict: Verdict
    reasons: tuple[str, ...]

    def joined(self, check: Check) -> "Diagnostics":
        """Return the diagnostics with one more finding: the worse verdict, and its reason."""
        if check.verdict == "sound":
            return self
        verdict = max(self.verdict, check.verdict, key=_SEVERITY.index)
        # A refusal's reasons are those that refuse, not the doubts beside them.
        kept = self.reasons if verdict != "refused" or self.verdict == verdict else ()
        added = (check.sentence,) if verdict != "refused" or check.verdict == verdict else ()
        return replace(self, verdict=verdict, reasons=(*kept, *added))


def diagnose(decisions: Decisions) -> Diagnostics:
    """Judge the overlap of the log with a policy by its weights, and count what happened."""
    weight = decisions.weight
    total = float(weight.sum())
    if total == 0:
        reason = "The policy never does what the log did: there is no overlap at all."
        mean = Estimate(0.0, 0.0, 0.0)
        empty = (WeightBin(0.0, 0.0, 1.0, 0.0),)
        return Diagnostics(len(weight), 0.0, 1.0, 1.0, 0.0, 0, mean, empty, "refused", (reason,))
    n_effective = total**2 / float(weight @ weight)
    largest = float(weight.max()) / total
    events = int(np.count_nonzero(decisions.reward[weight > 0]))
    sums = RatioSums.of((Ratio(weight),), decisions.cluster)
    mean, tail, user = sums.estimate(), tail_index(weight), float(sums.sums[:, 0].max()) / total
    refusals = _refusals(n_effective, largest, mean, len(weight))
    refusals += _user(user, REFUSED_USER_SHARE) + _tail(tail, REFUSED_TAIL)
    doubts = _doubts(n_effective, largest, mean, len(weight))
    doubts += _user(user, DOUBTFUL_USER_SHARE) + _tail(tail, DOUBTFUL_TAIL)
    few = f"Only {events} non-zero outcomes speak for the policy ({DOUBTFUL_EVENTS} are needed)."
    refusals += [few] if events < REFUSED_EVENTS else []
    doubts += [few] if events < DOUBTFUL_EVENTS else []
    verdict: Verdict = "refused" if refusals else "doubtful" if doubts else "sound"
    reasons = tuple(refusals or doubts)
    about = (n_effective, largest, user, tail, events, mean, tuple(_histogram(weight)))
    return Diagnostics(len(weight), *about, verdict, reasons)


def _histogram(weight: FloatArray) -> Iterator[WeightBin]:
    """Yield the bins that hold anything."""
    octave = np.full(len(weight), _NOTHING)
    positive = weight > 0
    octave[positive] = np.maximum(np.ceil(np.log2(weight[positive])), 0).astype(np.int64)
    total = float(weight.sum())
    for power in np.unique(octave):
        inside = octave == power
        upper = 0.0 if power == _NOTHING else 2.0**power
        yield WeightBin(
            upper / 2 if upper > 1 else 0.0,
            upper,
            float(inside.mean()),
            float(weight[inside].sum()) / total,
        )


def tail_index(weight: FloatArray) -> float:
    """Return Hill's index of the heaviest weights, ``min over M of mean(log(w_i / w_M))``.

    M starts at the lesser of a fifth of the positive weights and three times the root of their
    number, as Pareto-smoothed importance sampling takes it, and is halved down to 20: a tail that
    follows a power law has one index at every depth, whereas weights that jump from 1 to a bound of
    10 look heavy only where the jump is. The minimum errs to the low side, by about a quarter. 0
    where there are too few weights. Source: Hill 1975; Vehtari et al. 2024.

    Parameters
    ----------
    weight : (n,) weights of 0 or more
    """
    positive = weight[weight > 0]
    count = int(min(0.2 * len(positive), 3 * np.sqrt(len(positive))))
    if count < _FEW_TAIL:
        return 0.0
    logs = np.log(np.sort(np.partition(positive, -count)[-count:])[::-1])
    depths = count // 2 ** np.arange(int(np.log2(count / _FEW_TAIL)) + 1)
    return float(min(logs[:depth].mean() - logs[depth - 1] for depth in depths))


def _user(share: float, limit: float) -> list[str]:
    if share <= limit:
        return []
    return [
        f"One user carries {share:.0%} of the weight (at most {limit:.0%} is fine): users are the "
        "independent units that an interval rests on."
    ]


def _tail(tail: float, limit: float) -> list[str]:
    if tail <= limit:
        return []
    return [
        f"The weights' tail index is {tail:.2f} (at most {limit:g} is fine): a few rows that "
        "the log hardly ever draws may still overturn the answer."
    ]


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
