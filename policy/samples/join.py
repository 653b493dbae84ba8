"""Decisions, events and snapshots become samples: rows of a request log.

Each sample depends on its own decision, on the events of its session and on the snapshots of its
user, and on nothing else: so the join may be cut by day, by session, by user.
"""

import warnings
from collections.abc import Iterable

import pandas as pd

from policy.samples.asof import with_features
from policy.samples.attribution import PLACE, attributed_outcomes
from policy.samples.columns import micros, need, told_first, total_order
from policy.samples.rules import SampleRules
from uplift.contract import check_rows
from uplift.errors import InputError
from uplift.schema import ROLE_COLUMNS, LogSchema

__all__ = ["join_samples", "sample_order"]


def join_samples(
    decisions: pd.DataFrame,
    events: pd.DataFrame,
    snapshots: pd.DataFrame | None,
    schema: LogSchema,
    rules: SampleRules,
) -> pd.DataFrame:
    """Give each decision its outcomes, and the features that were not logged with it.

    The order of rows has no say: not in what comes out, nor in its order, which is by moment and
    ``decision_id``. Columns stand in the order of the contract.

    Parameters
    ----------
    decisions : ``decision_id``, ``session_id``, ``page``, ``position``, ``timestamp``, ``arm``,
        ``propensity`` (unless the schema estimates it), features; a decision told twice counts once
    events : ``session_id``, ``page``, ``position``, ``timestamp``, a column of values for each kind
        of outcome, and perhaps ``event_id``
    snapshots : ``timestamp``, the key of the rules, features; or None
    schema : of the samples
    rules : what may be chosen

    Raises
    ------
    InputError
        A column is missing, of the wrong type, or holds what no request log can hold.

    Warns
    -----
    UserWarning
        Decisions have no session: what happened after them cannot be known, they are left out.
    """
    need(decisions, ("decision_id", *PLACE, "arm"), "decisions")
    time = micros(decisions, "timestamp", "decisions")
    if decisions["decision_id"].isna().any():
        raise InputError("some decisions have no decision_id; each needs one of its own.")
    order = total_order([time], decisions[["decision_id"]])
    order = order[told_first(decisions, "decision_id")[order]]
    samples = _of_sessions(decisions.take(order)).reset_index(drop=True)
    del decisions  # where the caller let go of them, they are held once
    outcomes = attributed_outcomes(samples, events, schema, rules.settle)
    if snapshots is not None:
        samples = with_features(samples, snapshots, schema, rules)
    samples = samples.assign(**outcomes)
    check_rows(samples, schema)
    return samples[sample_order(samples.columns, schema)]


def _of_sessions(decisions: pd.DataFrame) -> pd.DataFrame:
    known = decisions["session_id"].notna()
    if known.all():
        return decisions
    warnings.warn(
        f"{int((~known).sum()):,} of {len(known):,} decisions have no session_id and are left out; "
        "give one with each decision.",
        UserWarning,
        stacklevel=3,
    )
    return decisions[known]


def sample_order(columns: Iterable[str], schema: LogSchema) -> list[str]:
    """Sort names of columns: identifier, roles, outcomes, features, then all others."""
    names = set(columns)
    first = ["decision_id", *(c for c in ROLE_COLUMNS if c in names), *schema.outcomes]
    first += [c for c in schema.feature_columns(names) if c not in first]  # a place may be one
    return [*first, *sorted(names - set(first))]
