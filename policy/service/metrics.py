"""What the service counts: plain numbers on the way, Prometheus' families when they are read."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
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
    from policy.decision_log.archiver import Archiver
    from policy.decision_log.writer import DecisionLog
    from policy.quota import SharedQuota
    from policy.shared_pacing import SharedPacer

__all__ = ["Metrics"]

_SECONDS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 0.02, 0.1, 1.0)
_OF_A_LOG = {
    "lost": "Records that were not logged",
    "backlog": "Records still to be logged",
    "written": "Records that were logged",
    "damaged": "Damaged records met when the log was opened",
}


class Metrics(Collector):
    """Counts of one service, which runs in one thread.

    Attributes
    ----------
    answers : by path and status
    decisions : by reason
    shadow_differs, shadow_failures : decisions that the shadow bundle took otherwise, or could not
        take
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[bytes, int]] = Counter()
        self.decisions: Counter[str] = Counter()
        self.shadow_differs = self.shadow_failures = 0
        self._buckets, self._seconds = [0] * (len(_SECONDS) + 1), 0.0
        self._logs: Mapping[str, DecisionLog] = {}
        self._archiver: Archiver | None = None
        self._quota: SharedQuota | None = None
        self._pacer: SharedPacer | None = None
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
            answers.add_metric([path.decode(), str(status)], count)
        decisions = CounterMetricFamily("uplift_decisions", "Decisions", labels=["reason"])
        for reason, count in self.decisions.items():
            decisions.add_metric([reason], count)
        seconds = HistogramMetricFamily("uplift_decide_seconds", "Seconds of a decision")
        seconds.add_metric([], list(self._cumulative()), self._seconds)
        differs = CounterMetricFamily(
            "uplift_shadow_differs", "Decisions that the shadow took otherwise"
        )
        differs.add_metric([], self.shadow_differs)
        told = "Decisions that the shadow could not take"
        failures = CounterMetricFamily("uplift_shadow_failures", told, self.shadow_failures)
        yield from (answers, decisions, seconds, differs, failures)
        yield from self._logged()
        if self._quota is not None:
            yield from _shared(self._quota)
        if self._pacer is not None:
            yield from _paced(self._pacer)

    def exposition(
        self,
        logs: Mapping[str, "DecisionLog"],
        archiver: "Archiver | None",
        quota: "SharedQuota | None",
        pacer: "SharedPacer | None" = None,
    ) -> bytes:
        """Return all of it as Prometheus reads it."""
        self._logs, self._archiver = logs, archiver
        self._quota, self._pacer = quota, pacer
        return generate_latest(self._registry)

    def _logged(self) -> Iterator[Metric]:
        if self._logs:
            for name, told in _OF_A_LOG.items():
                family = GaugeMetricFamily(f"uplift_log_{name}", told, labels=["log"])
                for log, held in self._logs.items():
                    family.add_metric([log], getattr(held, name))
                yield family
        if self._archiver is not None:
            told = "Segments of the logs that became Parquet"
            yield CounterMetricFamily("uplift_log_archived", told, self._archiver.archived)
            told = "Segments that could not become Parquet, and stay as they are"
            yield CounterMetricFamily("uplift_log_archive_failures", told, self._archiver.failures)

    def _cumulative(self) -> Iterator[tuple[str, float]]:
        below = 0
        for bound, count in zip((*_SECONDS, float("inf")), self._buckets, strict=True):
            below += count
            yield ("+Inf" if bound == float("inf") else repr(bound)), below


def _shared(quota: "SharedQuota") -> Iterator[Metric]:
    yield GaugeMetricFamily("uplift_quota_rate", "Requests per second that are shared", quota.rate)
    told = "Whether Redis is gone and this instance goes on with its share"
    yield GaugeMetricFamily("uplift_quota_alone", told, quota.is_alone)
    yield CounterMetricFamily("uplift_quota_leases", "Leases that Redis granted", quota.leases)
    failures = CounterMetricFamily("uplift_quota_failures", "Leases that failed", labels=["reason"])
    for reason, count in quota.failures.copy().items():
        failures.add_metric([reason], count)
    yield failures


def _paced(pacer: "SharedPacer") -> Iterator[Metric]:
    told = "Gain per unit of cost that a request must exceed now"
    yield GaugeMetricFamily("uplift_pace_price", told, pacer.present)
    told = "Seconds since the last report of the fleet came"
    yield GaugeMetricFamily("uplift_pace_report_age_seconds", told, pacer.age)
    yield CounterMetricFamily("uplift_pace_reports", "Steps of the fleet learned", pacer.reports)
    told = "Exchanges of steps that failed, and steps that were of no use"
    failures = CounterMetricFamily("uplift_pace_failures", told, labels=["reason"])
    for reason, count in pacer.failures.copy().items():
        failures.add_metric([reason], count)
    yield failures
