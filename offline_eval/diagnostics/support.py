"""Support gaps: mass that a policy puts where the log has none."""

import numpy as np

from uplift.arrays import FloatArray
from uplift.log import RequestLog
from uplift.randomisation import Check, Verdict

__all__ = ["check_support"]

#: Share of the policy's decisions in cells of page and arm that the log never drew.
DOUBTFUL_GAP = 1e-3
REFUSED_GAP = 0.05
#: A cell with fewer rows than this says nothing about what the log would have drawn there.
_FEW_ROWS = 50


def check_support(log: RequestLog, pi: FloatArray) -> Check:
    """Judge the mass that a policy gives to arms that the log never drew on a page.

    ``gap = sum over cells (page, arm) without a logged row of pi / n``, over pages with at least 50
    rows. Importance weights cannot see it: there are no rows to weigh, the estimate just misses
    what the policy does there.

    Parameters
    ----------
    log : randomised log
    pi : (n, A + 1) the policy's probabilities
    """
    page, arms = log.page, range(pi.shape[1])
    size = np.bincount(page)
    gap, worst = 0.0, (0.0, 0, 0)
    for arm in arms:
        mass = np.bincount(page, pi[:, arm]) / len(log)
        bare = (np.bincount(page, log.arm == arm) == 0) & (size >= _FEW_ROWS)
        gap += float(mass[bare].sum())
        where = int(np.argmax(mass * bare))
        worst = max(worst, (float((mass * bare)[where]), where, arm))
    verdict: Verdict = "refused" if gap > REFUSED_GAP else "doubtful"
    if gap <= DOUBTFUL_GAP:
        return Check("support", "sound", f"{gap:.1%} of the policy is where the log has no rows.")
    return Check(
        "support",
        verdict,
        f"Support gap: {gap:.1%} of the policy's decisions are arms that the log never drew there, "
        f"most of them arm {log.schema.arms[worst[2]]!r} on page {worst[1]}.",
    )
