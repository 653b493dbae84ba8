"""Policies rolled out on fresh sessions of the simulated feed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from offline_eval.feed.params import PAGE_LENGTH, FeedParams
from offline_eval.feed.play import Chunk, Feed, LoggingPolicy
from offline_eval.policies import Policy
from uplift.arrays import FloatArray, IntArray

__all__ = ["RollOut", "click_curve", "roll_out"]


@dataclass(frozen=True)
class RollOut:
    """What a policy earned and spent.

    Attributes
    ----------
    n_sessions, n_users : who came
    n_pages : page requests, which are made under any policy
    decision_points : decisions that the policy took
    purchase_10 : share of the decisions with a purchase within the next 10 slots
    expected_purchase_10 : the same, expected given the latent path; far less noisy
    purchases : (n_sessions,) expected purchases of each session, given its latent path
    requests : (n_sessions,) extra requests of each session
    user_id : (n_sessions,) the cluster of each session
    """

    n_sessions: int
    n_users: int
    n_pages: int
    decision_points: int
    purchase_10: float
    expected_purchase_10: float
    purchases: FloatArray
    requests: IntArray
    user_id: IntArray

    @property
    def n_requests(self) -> int:
        """Extra requests in all."""
        return int(self.requests.sum())

    def to_frame(self) -> pd.DataFrame:
        """Return one row a session: user_id, purchases, requests."""
        return pd.DataFrame(
            {"user_id": self.user_id, "purchases": self.purchases, "requests": self.requests}
        )


def roll_out(
    policy: Policy,
    n_sessions: int,
    *,
    seed: int = 0,
    rate: float = 1.0,
    days: int = 1,
    params: FeedParams | None = None,
) -> RollOut:
    """Let a policy decide at every decision point of fresh sessions.

    ``purchases = sum over the slots seen of h(latent state)``. The same seed brings the same
    users at the same moments with the same luck, so two policies can be compared session by
    session.

    Parameters
    ----------
    policy : asked at each decision with the columns that a log would have before the decision
    n_sessions, seed, rate, days, params : as in `simulate`

    Raises
    ------
    InputError
        See `Feed`.
    """
    feed = Feed(n_sessions, seed, rate, days, params or FeedParams())
    parts = [_lead(chunk, policy) for chunk in feed.chunks()]
    points = sum(part.decision_points for part in parts)
    user_id = np.concatenate([part.user_id for part in parts])
    return RollOut(
        n_sessions=n_sessions,
        n_users=len(np.unique(user_id)),
        n_pages=sum(part.n_pages for part in parts),
        decision_points=points,
        purchase_10=float(sum(part.purchase_10 for part in parts) / max(points, 1)),
        expected_purchase_10=float(
            sum(part.expected_purchase_10 for part in parts) / max(points, 1)
        ),
        purchases=np.concatenate([part.purchases for part in parts]),
        requests=np.concatenate([part.requests for part in parts]),
        user_id=user_id,
    )


def click_curve(
    n_sessions: int,
    *,
    seed: int = 0,
    policy: Policy | None = None,
    params: FeedParams | None = None,
) -> pd.DataFrame:
    """Clicks by place: ``click_rate = clicks / views``, one row a (page, position).

    No extra requests by default. The columns are page, position, views, clicks, click_rate.
    """
    feed = Feed(n_sessions, seed, params=params or FeedParams())
    views: IntArray = np.zeros(0, np.int64)
    clicks: IntArray = np.zeros(0, np.int64)
    for chunk in feed.chunks():
        for _ in chunk.decisions(policy or LoggingPolicy((0.0,))):
            pass
        views = _added(views, np.concatenate([block.seen for block in chunk.blocks]))
        clicks = _added(clicks, np.concatenate([block.clicked for block in chunk.blocks]))
    seen = np.flatnonzero(views)
    place = {"page": seen // PAGE_LENGTH, "position": seen % PAGE_LENGTH}
    counts = {"views": views[seen], "clicks": clicks[seen]}
    return pd.DataFrame(place | counts | {"click_rate": clicks[seen] / views[seen]})


def _lead(chunk: Chunk, policy: Policy) -> RollOut:
    """Roll a policy out on one chunk; its two purchase_10 are sums, not means."""
    decided = [(d.step, d.rows) for d in chunk.decisions(policy)]
    return RollOut(
        n_sessions=len(chunk.requests),
        n_users=0,
        n_pages=int(chunk.state.pages.sum()),
        decision_points=sum(len(rows) for _, rows in decided),
        purchase_10=sum(chunk.bought_within(s, 2)[r].sum() for s, r in decided),
        expected_purchase_10=sum(chunk.chance_within(s, 2)[r].sum() for s, r in decided),
        purchases=chunk.state.purchases,
        requests=chunk.requests,
        user_id=chunk.sessions.user_id,
    )


def _added(total: IntArray, part: IntArray) -> IntArray:
    """Add two counts by slot, one of which may reach further."""
    result = np.zeros(max(len(total), len(part)), np.int64)
    result[: len(total)] += total
    result[: len(part)] += part
    return result
