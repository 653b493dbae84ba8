"""Changes from one log to the next: features, arms, propensities and effects, one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from offline_eval.diagnostics.profile import ColumnProfile, LogProfile, profile_rows
from offline_eval.rates import effects
from uplift.clusters import LEVEL, Estimate
from uplift.log import RequestLog
from uplift.randomisation import Check

__all__ = ["Change", "changes", "check_changes"]

#: A change is told when it has a probability below this without one, shared among all bins.
_TOLD = 0.001
#: And, of a column, when at least this share of the rows would have to move.
_LEAST_DISTANCE = 0.02
#: From here on what was decided and what came of it are of two different worlds.
_OTHER_WORLD = 0.25


@dataclass(frozen=True)
class Change:
    """One thing, in an earlier log and in this one.

    Attributes
    ----------
    name : a column, or an outcome whose mean effect it is
    kind : ``feature``, ``propensity``, ``outcome`` or ``effect``
    verdict : ``moved`` where noise does not explain it, ``steady`` otherwise; ``gone`` where this
        log lacks it
    before, after : mean of a column of numbers; mean effect
    distance : of a column, the share of the rows that would have to move to another bin
    largest : of a column, the bin whose share changed most, in standard errors
    share_before, share_after : its share of the rows
    """

    name: str
    kind: str
    verdict: Literal["moved", "steady", "gone"]
    before: float | Estimate | None = None
    after: float | Estimate | None = None
    distance: float | None = None
    largest: str | None = None
    share_before: float | None = None
    share_after: float | None = None


def changes(before: LogProfile, log: RequestLog) -> tuple[Change, ...]:
    """Hold a log against the profile of an earlier one.

    A column is binned as it was then. Its distance is ``sum_b |p_b - q_b| / 2``; it moved where
    that is at least 0.02 and one bin has ``|p_b - q_b|`` beyond what noise explains. An effect
    moved where the difference is. Errors are clustered by user, and both logs are taken to be
    independent: users in both make differences look less sure than they are. All tests together
    find a change where there is none with a probability of at most 0.001.

    Parameters
    ----------
    before : of the earlier log
    log : the later log
    """
    tests = sum(len(c.share) for c in before.columns.values()) + len(before.effect)
    reach = float(norm.isf(_TOLD / 2 / max(tests, 1)))
    some = profile_rows(log)
    found = [_column(name, part, some, reach) for name, part in before.columns.items()]
    return (*found, *_effects(before, log, reach))


def check_changes(found: Sequence[Change], primary: str) -> Check:
    """Judge whether a log may replace the earlier one: features may drift, its meaning may not.

    Doubtful where a quarter of the rows moved in the arms, the propensities or the primary outcome,
    or where its effect turned round, told from 0 both times. On its own such a log may be quite in
    order, and a plan made with it look well on it: only the earlier one shows that its outcomes, or
    its randomisation, are others.

    Parameters
    ----------
    found : changes since the earlier log
    primary : the outcome that is planned for
    """
    looked_at = [c for c in found if c.kind == "propensity" or c.name == primary]
    odd = [sentence for change in looked_at if (sentence := _odd(change))]
    if odd:
        return Check("changes", "doubtful", " ".join(odd))
    return Check("changes", "sound", "Arms, propensities and outcome are like those before.")


def _odd(change: Change) -> str | None:
    if change.verdict == "moved" and (change.distance or 0.0) >= _OTHER_WORLD:
        return (
            f"{change.name} is of another world than in the log before: {change.distance:.0%} of "
            "the rows moved."
        )
    sides = [_side(e) for e in (change.before, change.after) if isinstance(e, Estimate)]
    if len(sides) == 2 and sides[0] * sides[1] < 0:
        return f"The effect on {change.name} turned round: {change.before} before, {change.after}."
    return None


def _side(effect: Estimate) -> int:
    """Return the sign of an effect that is told from 0, else 0."""
    return int(effect.lower > 0) - int(effect.upper < 0)


def _column(name: str, before: ColumnProfile, log: RequestLog, reach: float) -> Change:
    if name not in log.frame:
        return Change(name, before.kind, "gone", before.mean)
    after = before.seen(log.frame[name], log.cluster)
    difference = after.share - before.share
    error = np.hypot(before.error, after.error)
    # A bin that one user fills, or none, has no error of its own: one row more or less is no news.
    told = np.abs(difference) / np.maximum(error, 1 / len(log))
    distance, k = float(np.abs(difference).sum() / 2), int(told.argmax())
    moved = distance >= _LEAST_DISTANCE and told[k] > reach
    shares = float(before.share[k]), float(after.share[k])
    return Change(
        name,
        before.kind,
        "moved" if moved else "steady",
        before.mean,
        after.mean,
        distance,
        before.labels[k],
        *shares,
    )


def _effects(before: LogProfile, log: RequestLog, reach: float) -> Iterator[Change]:
    now = effects(log)
    for name, then in before.effect.items():
        if name not in now:
            yield Change(name, "effect", "gone", then)
            continue
        error = float(np.hypot(_error(then), _error(now[name])))
        moved = abs(now[name].value - then.value) > reach * error
        yield Change(name, "effect", "moved" if moved else "steady", then, now[name])


def _error(estimate: Estimate) -> float:
    return (estimate.upper - estimate.lower) / 2 / float(norm.ppf((1 + LEVEL) / 2))
