"""Overlap of a log and a policy by the weights, with a refusal where there is too little."""

from dataclasses import dataclass, replace

import numpy as np

from offline_eval.estimators import Decisions
from offline_eval.intervals.moments import RatioMoments
from offline_eval.intervals.ratios import Ratio, RatioSums
from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.randomisation import Check, Verdict

__all__ = [
    "REFUSED_N_EFFECTIVE",
    "Diagnostics",
    "WeightBin",
    "WeightState",
    "diagnose",
    "tail_index",
]

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
_MOST_TAIL = 100_000
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


@dataclass(frozen=True, eq=False)
class WeightState:
    """What diagnostics need of the weights of a shard; shards that share no user add.

    Attributes
    ----------
    n, positive, events : rows; those of positive weight; those whose outcome is not zero besides
    squares, largest, largest_user : sum of squares, the largest weight, the most of one user
    mean : moments of the mean weight
    heaviest : the heaviest weights, falling
    octaves : (B, 3) power of two, rows and weight of each bin; `_NOTHING` is that of zeros
    """

    n: int
    positive: int
    events: int
    squares: float
    largest: float
    largest_user: float
    mean: RatioMoments
    heaviest: FloatArray
    octaves: FloatArray

    @classmethod
    def of(cls, decisions: Decisions) -> "WeightState":
        """Take the state of a shard's decisions."""
        weight = decisions.weight
        sums, above = RatioSums.of((Ratio(weight),), decisions.cluster), weight > 0
        return cls(
            len(weight),
            int(np.count_nonzero(above)),
            int(np.count_nonzero(decisions.reward[above])),
            float(weight @ weight),
            float(weight.max()),
            float(sums.sums[:, 0].max()),
            RatioMoments.of(sums),
            _heaviest(weight[above]),
            _octaves(weight),
        )

    def __add__(self, other: "WeightState") -> "WeightState":
        """Join two shards."""
        return WeightState(
            self.n + other.n,
            self.positive + other.positive,
            self.events + other.events,
            self.squares + other.squares,
            max(self.largest, other.largest),
            max(self.largest_user, other.largest_user),
            self.mean + other.mean,
            _heaviest(np.r_[self.heaviest, other.heaviest]),
            _summed(np.r_[self.octaves, other.octaves]),
        )

    def diagnostics(self) -> Diagnostics:
        """Judge the overlap by the weights, and count what happened."""
        total = float(self.mean.total[0])
        if total == 0:
            reason = "The policy never does what the log did: there is no overlap at all."
            mean = Estimate(0.0, 0.0, 0.0)
            empty = (WeightBin(0.0, 0.0, 1.0, 0.0),)
            return Diagnostics(self.n, 0.0, 1.0, 1.0, 0.0, 0, mean, empty, "refused", (reason,))
        n_effective, mean = total**2 / self.squares, self.mean.estimate()
        largest, user = self.largest / total, self.largest_user / total
        tail, events = _tail_index(self.heaviest, self.positive), self.events
        refusals = _refusals(n_effective, largest, mean, self.n)
        refusals += _user(user, REFUSED_USER_SHARE) + _tail(tail, REFUSED_TAIL)
        doubts = _doubts(n_effective, largest, mean, self.n)
        doubts += _user(user, DOUBTFUL_USER_SHARE) + _tail(tail, DOUBTFUL_TAIL)
        few = (
            f"Only {events} non-zero outcomes speak for the policy ({DOUBTFUL_EVENTS} are needed)."
        )
        refusals += [few] if events < REFUSED_EVENTS else []
        doubts += [few] if events < DOUBTFUL_EVENTS else []
        verdict: Verdict = "refused" if refusals else "doubtful" if doubts else "sound"
        about = (n_effective, largest, user, tail, events, mean, self._histogram(total))
        return Diagnostics(self.n, *about, verdict, tuple(refusals or doubts))

    def _histogram(self, total: float) -> tuple[WeightBin, ...]:
        """Return the bins that hold anything."""
        bins = []
        for power, rows, weight in self.octaves:
            upper = 0.0 if power == _NOTHING else 2.0**power
            lower = upper / 2 if upper > 1 else 0.0
            bins.append(WeightBin(lower, upper, float(rows) / self.n, float(weight) / total))
        return tuple(bins)


def diagnose(decisions: Decisions) -> Diagnostics:
    """Judge the overlap of the log with a policy by its weights, and count what happened."""
    return WeightState.of(decisions).diagnostics()


def _octaves(weight: FloatArray) -> FloatArray:
    """Return the bins of the histogram, (B, 3)."""
    power = np.full(len(weight), float(_NOTHING))
    positive = weight > 0
    power[positive] = np.maximum(np.ceil(np.log2(weight[positive])), 0)
    return _summed(np.column_stack([power, np.ones(len(weight)), weight]))


def _summed(bins: FloatArray) -> FloatArray:
    """Sum rows and weight of bins of the same power; powers rise."""
    power, code = np.unique(bins[:, 0], return_inverse=True)
    return np.column_stack([power, *(np.bincount(code, column) for column in bins[:, 1:].T)])


def _heaviest(weight: FloatArray) -> FloatArray:
    """Return the heaviest weights, falling: as many as a tail index may look at."""
    if len(weight) > _MOST_TAIL:
        weight = np.partition(weight, -_MOST_TAIL)[-_MOST_TAIL:]
    return np.sort(weight)[::-1]


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
    return _tail_index(_heaviest(positive), len(positive))


def _tail_index(heaviest: FloatArray, positive: int) -> float:
    """Return the index of so many positive weights, of which these are the heaviest."""
    count = min(int(min(0.2 * positive, 3 * np.sqrt(positive))), len(heaviest))
    if count < _FEW_TAIL:
        return 0.0
    logs = np.log(heaviest[:count])
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
