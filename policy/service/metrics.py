"""What the service counts, for Prometheus."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from policy.decision_log.writer import DecisionLog

__all__ = ["Metrics"]

_SECONDS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 0.02, 0.1, 1.0)


class Metrics:
    """Counters of one service; children are looked up once."""

    def __init__(self) -> None:
        to = self._registry = CollectorRegistry()
        labels = ["path", "status"]
        self._answers = Counter("uplift_answers", "Answers", labels, registry=to)
        self._decisions = Counter("uplift_decisions", "Decisions", ["reason"], registry=to)
        self.seconds = Histogram(
            "uplift_decide_seconds", "Seconds of a decision", buckets=_SECONDS, registry=to
        )
        self._lost = Gauge("uplift_log_lost", "Decisions that were not logged", registry=to)
        self._backlog = Gauge("uplift_log_backlog", "Decisions still to be logged", registry=to)
        self.shadow_differs = Counter(
            "uplift_shadow_differs", "Decisions that the shadow took otherwise", registry=to
        )
        self._by_answer: dict[tuple[str, int], Counter] = {}
        self._by_reason: dict[str, Counter] = {}

    def answered(self, path: str, status: int) -> None:
        """Count an answer."""
        child = self._by_answer.get((path, status))
        if child is None:
            child = self._by_answer[path, status] = self._answers.labels(path, str(status))
        child.inc()

    def decided(self, reason: str) -> None:
        """Count a decision."""
        child = self._by_reason.get(reason)
        if child is None:
            child = self._by_reason[reason] = self._decisions.labels(reason)
        child.inc()

    def exposition(self, log: "DecisionLog | None") -> bytes:
        """Return all of it as Prometheus reads it."""
        if log is not None:
            self._lost.set(log.lost)
            self._backlog.set(log.backlog)
        return generate_latest(self._registry)
