"""A rate that wanders and at times jumps, followed through counts whose noise is learned too."""

from dataclasses import dataclass
from math import exp, isnan, log, nan, sqrt

__all__ = ["JUMP", "OUTLIER", "Noise", "RandomWalk", "surprise_of"]

#: Standard errors beyond which a count is a jump, to be followed at once.
JUMP = 4.0
#: A square beyond so many variances counts as so many.
OUTLIER = 9.0
#: Steps from which the noise of counts is learned.
NOISE_MEMORY = 100.0


@dataclass(slots=True)
class Noise:
    """Variance of counts over their mean, 1 if Poisson, from the surprises of successive counts.

    ``value = mean of (z_t - z_{t-1})^2 / 2``, at least 1: what wanders slowly drops out.
    """

    value: float = 1.0
    last: float = nan

    def learn(self, surprise: float) -> None:
        """Learn from the surprise of the next count."""
        if not isnan(self.last):
            square = min((surprise - self.last) ** 2 / 2, OUTLIER * self.value)
            self.value = max(1.0, self.value + (square - self.value) / NOISE_MEMORY)
        self.last = surprise


@dataclass(slots=True)
class RandomWalk:
    """Logarithm of a rate that wanders, corrected by counts (a Kalman filter).

    ``E[observed] = exp(log) * exposure``, ``Var[observed] = noise * E[observed]``; with e the
    expected count and v the variance of the logarithm,

        log += K (observed - e) / e,   K = v e / (v e + noise)

    A count beyond four standard errors is a jump and is followed outright.

    Attributes
    ----------
    wander : variance that a step adds
    log : NaN before the first count
    variance : of `log`
    trend : of `log`, per step
    move : by which the last count corrected `log`; 0 where it jumped, as that is no trend
    surprise : of the last count, in standard errors of a Poisson one
    """

    wander: float
    log: float = nan
    variance: float = 0.0
    trend: float = 0.0
    move: float = 0.0
    surprise: float = 0.0

    def go(self, steps: int = 1) -> None:
        """Go on by steps in which nothing is counted."""
        self.log += self.trend * steps
        self.variance += self.wander * steps

    def correct(
        self, observed: float, exposure: float, noise: float = 1.0, most: float = 1.0
    ) -> None:
        """Correct by a count, by no more than `most` of what it says."""
        self.move = self.surprise = 0.0
        if isnan(self.log):
            self.start(observed, exposure)
            return
        expected = exp(self.log) * exposure
        if expected <= 0:
            return
        doubt = self.variance * expected
        self.surprise = surprise_of(observed, expected)
        if abs(self.surprise) > JUMP * sqrt(noise + doubt):
            self.log += most * log((observed + 0.5) / (expected + 0.5))
            self.variance = noise / (observed + 0.5)
        else:
            weight = min(most, doubt / (doubt + noise))
            self.move = weight * (observed / expected - 1)
            self.log += self.move
            self.variance *= 1 - weight

    def start(self, observed: float, exposure: float) -> None:
        """Know only this count."""
        if observed > 0 and exposure > 0:
            self.log, self.variance = log(observed / exposure), 1 / observed


def surprise_of(observed: float, expected: float) -> float:
    """Return Anscombe's nearly standard normal transform of a Poisson count."""
    return 2 * (sqrt(observed + 0.375) - sqrt(expected + 0.375))
