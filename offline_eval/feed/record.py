"""A randomised request log of the simulated feed, with its truth."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pandas as pd

from offline_eval.feed.params import FEED_SCHEMA, HORIZONS, STEP, FeedParams
from offline_eval.feed.play import Chunk, Decision, Feed, LoggingPolicy, labelled
from offline_eval.feed.truth import true_purchases
from offline_eval.policies import Policy
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.parquet import Progress

__all__ = ["simulate"]

Columns = dict[str, np.ndarray]
_THREADS = 2


def simulate(
    n_sessions: int,
    *,
    seed: int = 0,
    rate: float = 1.0,
    days: int = 1,
    params: FeedParams | None = None,
    progress: Progress | None = None,
) -> RequestLog:
    """Simulate a randomised request log whose uplift is known.

    ``true_purchase_n_a = P(purchase within the next n slots | latent state, arm a now, later
    decisions by the logging policy)``: see `truth.true_purchases`. ``purchase_n`` is a draw of
    it for the logged arm; ``gmv_10`` is the money of the purchases in the next 10 slots.

    Parameters
    ----------
    n_sessions : number of sessions; each gives about 12 rows
    seed : the same seed gives the same log
    rate : factor of all purchase rates; 10 gives about 1 % ``purchase_10``
    days : days that the sessions spread over
    params : what the feed is like
    progress : called with (sessions done, sessions in all)

    Returns
    -------
    RequestLog
        In the roles of `FEED_SCHEMA`, with the truth in columns ``true_*``.

    Raises
    ------
    InputError
        See `Feed`; or so few sessions that no log comes out.
    """
    feed = Feed(n_sessions, seed, rate, days, params or FeedParams())
    policy = LoggingPolicy(feed.params.request_share)
    parts: list[Columns] = []
    done = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for size, part in _in_order(pool, feed, policy):
            parts.append(part)
            done += size
            if progress:
                progress(done, n_sessions)
    columns = _joined(parts)
    if not columns:
        raise InputError(
            f"feed: all of {n_sessions} sessions left before their first decision; simulate more."
        )
    return RequestLog(pd.DataFrame(labelled(columns), copy=False), FEED_SCHEMA)


def _in_order(
    pool: ThreadPoolExecutor, feed: Feed, policy: Policy
) -> Iterator[tuple[int, Columns]]:
    """Yield the size and the rows of every chunk, as many at a time as there are threads."""
    chunks = feed.chunks()
    while batch := list(islice(chunks, _THREADS)):
        parts = pool.map(lambda chunk: _record(chunk, policy), batch)
        yield from zip((len(chunk.requests) for chunk in batch), parts, strict=True)


def _record(chunk: Chunk, policy: Policy) -> Columns:
    """Lead a chunk through by the logging policy, and keep its rows."""
    known = [(decision, _known(chunk, decision)) for decision in chunk.decisions(policy)]
    return _joined([columns | _outcomes(chunk, decision) for decision, columns in known])


def _known(chunk: Chunk, decision: Decision) -> Columns:
    truth = true_purchases(
        decision.rows, decision.slot, decision.latent, chunk.sessions, chunk.rates
    )
    columns = decision.columns | {"arm": decision.arm, "propensity": decision.propensity}
    for h, n in enumerate(HORIZONS):
        columns |= {f"true_purchase_{n}_{arm}": truth[arm, h] for arm in range(2)}
    return columns


def _outcomes(chunk: Chunk, decision: Decision) -> Columns:
    rows, step = decision.rows, decision.step
    columns = {
        f"purchase_{n}": chunk.bought_within(step, n // STEP)[rows].astype(np.int8)
        for n in HORIZONS
    }
    return columns | {"gmv_10": chunk.spent_within(step, 10 // STEP)[rows]}


def _joined(parts: list[Columns]) -> Columns:
    """Join column by column, giving each one's parts back before the next is joined."""
    filled = [part for part in parts if part]
    names = list(filled[0]) if filled else []
    return {name: np.concatenate([part.pop(name) for part in filled]) for name in names}
