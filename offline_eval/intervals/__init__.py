"""Intervals: clustered, ratio-correct, of high confidence, and for a log that still grows."""

from offline_eval.intervals.betting import betting_lower_bound
from offline_eval.intervals.bounded import bernstein_lower_bound, lower_bound
from offline_eval.intervals.ratios import Ratio, RatioSums
from offline_eval.intervals.sequence import ConfidenceSequence

__all__ = [
    "ConfidenceSequence",
    "Ratio",
    "RatioSums",
    "bernstein_lower_bound",
    "betting_lower_bound",
    "lower_bound",
]
