"""Support gaps: mass that a policy puts where the log has none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uplift.arrays import FloatArray
from uplift.log import RequestLog
from uplift.randomisation import Check

__all__ = ["SupportCounts", "check_support"]

#: Share of the policy's decisions in cells of page and arm that the log never drew.
DOUBTFUL_GAP = 1e-3
REFUSED_GAP = 0.05
#: A cell with fewer rows than this says nothing about what the log would have drawn there.
_FEW_ROWS = 50


@dataclass(frozen=True, eq=False)
class SupportCounts:
    """What a log drew and a policy would do, page by page; shards add.

    Attributes
    ----------
    logged : (P, A + 1) rows of each page by their logged arm
    mass : (P, A + 1) sums of the policy's probabilities there
    """

    logged: FloatArray
    mass: FloatArray

    @classmethod
    def of(cls, log: RequestLog, pi: FloatArray) -> "SupportCounts":
        """Count a log, and the probabilities (n, A + 1) of a policy."""
        page, arms = log.page, range(pi.shape[1])
        size = int(page.max()) + 1
        logged = [np.bincount(page, log.arm == arm, size) for arm in arms]
        mass = [np.bincount(page, pi[:, arm], size) for arm in arms]
        return cls(np.column_stack(logged), np.column_stack(mass))

    def __add__(self, other: "SupportCounts") -> "SupportCounts":
        """Join two shards."""
        pages = max(len(self.logged), len(other.logged))
        return SupportCounts(
            _padded(self.logged, pages) + _padded(other.logged, pages),
            _padded(self.mass, pages) + _padded(other.mass, pages),
        )

    def check(self, arms: Sequence[str]) -> Check:
        """Judge the mass that the policy gives to arms that the log never drew on a page.

        ``gap = sum over cells (page, arm) without a logged row of pi / n``, over pages with at
        least 50 rows. Importance weights cannot see it: there are no rows to weigh, the estimate
        just misses what the policy does there.
        """
        size = self.logged.sum(axis=1)
        bare = (self.logged == 0) & (size >= _FEW_ROWS)[:, None]
        gaps = self.mass / size.sum() * bare
        gap = float(gaps.sum())
        if gap <= DOUBTFUL_GAP:
            told = f"{gap:.1%} of the policy is where the log has no rows."
            return Check("support", "sound", told)
        page, arm = divmod(int(gaps.argmax()), gaps.shape[1])
        return Check(
            "support",
            "refused" if gap > REFUSED_GAP else "doubtful",
            f"Support gap: {gap:.1%} of the policy's decisions are arms that the log never drew "
            f"there, most of them arm {arms[arm]!r} on page {page}.",
        )


def check_support(log: RequestLog, pi: FloatArray) -> Check:
    """Judge a policy's probabilities (n, A + 1) on a log: see `SupportCounts.check`."""
    return SupportCounts.of(log, pi).check(log.schema.arms)


def _padded(table: FloatArray, rows: int) -> FloatArray:
    return np.pad(table, ((0, rows - len(table)), (0, 0)))
