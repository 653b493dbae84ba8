"""What the service counts: plain numbers on the way, Prometheus' families when they are read."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from policy.decision_log.writer import DecisionLog

__all__ = ["Metrics"]

_SECONDS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 0.02, 0.1, 1.0)


class Metrics(Collector):
    """Counts of one service, which runs in one thread.

    Attributes
    ----------
    answers : by path and status
    decisions : by reason
    shadow_differs : decisions that the shadow bundle took otherwise
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.decisions: Counter[str] = Counter()
        self.shadow_differs = 0
        self._buckets, self._seconds = [0] * (len(_SECONDS) + 1), 0.0
        self._log: DecisionLog | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def decided(self, reason: str, seconds: float) -> None:
        """Count a decision and the time that it took."""
        self.decisions[reason] += 1
        self._buckets[bisect_left(_SECONDS, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the families; the protocol of prometheus_client."""
        answers = CounterMetricFamily("uplift_answers", "Answers", labels=["path", "status"])
        for (path, status), count in self.answers.items():
            answers.add_metric([path, str(status)], count)
        decisions = CounterMetricFamily("uplift_decisions", "Decisions", labels=["reason"])
        for reason, count in self.decisions.items():
            decisions.add_metric([reason], count)
        seconds = HistogramMetricFamily("uplift_decide_seconds", "Seconds of a decision")
        seconds.add_metric([], list(self._cumulative()), self._seconds)
        differs = CounterMetricFamily(
            "uplift_shadow_differs", "Decisions that the shadow took otherwise"
        )
        differs.add_metric([], self.shadow_differs)
        yield from (answers, decisions, seconds, differs)
        if self._log is not None:
            told = "Decisions that were not logged"
            yield GaugeMetricFamily("uplift_log_lost", told, self._log.lost)
            told = "Decisions still to be logged"
            yield GaugeMetricFamily("uplift_log_backlog", told, self._log.backlog)

    def exposition(self, log: "DecisionLog | None") -> bytes:
        """Return all of it as Prometheus reads it."""
        self._log = log
        return generate_latest(self._registry)

    def _cumulative(self) -> Iterator[tuple[str, float]]:
        below = 0
        for bound, count in zip((*_SECONDS, float("inf")), self._buckets, strict=True):
            below += count
            yield ("+Inf" if bound == float("inf") else repr(bound)), below
