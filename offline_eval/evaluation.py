"""What a policy would have earned and spent on a randomised log."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from offline_eval.costs import gain_per_request
from offline_eval.diagnostics import REFUSED_N_EFFECTIVE, Diagnostics, check_support, diagnose
from offline_eval.estimators import ESTIMATORS, Decisions
from offline_eval.policies import Policy, walk
from uplift.arrays import FloatArray
from uplift.clusters import Estimate, ratio_estimate
from uplift.effects import arm_scores
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.randomisation import Check

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Value and requests of one policy, per decision point of the log.

    Attributes
    ----------
    policy : its name
    value : mean outcome by each estimator; empty when the answer is refused
    gain : outcome gained over never requesting, ``V(pi) - V(never)``; absent when refused, or
        when too few logged decisions tell what its requests, or their absence, bring
    requests : requests spent
    gain_per_request : ``gain / requests``, with Fieller's interval; absent when refused or nothing
        is spent
    diagnostics : overlap of log and policy, with the verdict
    """

    policy: str
    value: dict[str, Estimate]
    gain: Estimate | None
    requests: Estimate
    gain_per_request: Estimate | None
    diagnostics: Diagnostics


def evaluate(
    log: RequestLog,
    policy: Policy,
    *,
    outcome: FloatArray | None = None,
    estimators: Iterable[str] | None = None,
    probabilities: FloatArray | None = None,
) -> Evaluation:
    """Estimate what a policy would have earned, one decision at a time.

    The estimand is the mean primary outcome when the policy decides at a logged decision point
    and the logging policy goes on after it; limits count the policy's own earlier requests.

    Parameters
    ----------
    log : randomised log, not used to fit the policy or the outcome model
    policy : what is judged
    outcome : (n, A + 1) modelled outcome under each arm, for DR and a less noisy gain
    estimators : names out of `ESTIMATORS`; by default dr (where there is a model), snips and ips
    probabilities : (n, A + 1) the policy's, when they are known already

    Raises
    ------
    InputError
        An estimator is unknown, or lacks the outcome model that it needs.
    """
    chosen = list(estimators or (("dr",) if outcome is not None else ()) + ("snips", "ips"))
    unknown = [name for name in chosen if name not in ESTIMATORS]
    if unknown:
        raise InputError(f"estimator {unknown[0]!r} is unknown; choose among {list(ESTIMATORS)}.")
    pi = walk(policy, log) if probabilities is None else probabilities
    decisions, cluster, ones = decisions_of(log, pi, outcome), log.cluster, np.ones(len(log))
    spent = pi @ np.asarray(log.schema.arm_cost)
    return judged(
        policy.name,
        lambda name: ESTIMATORS[name](decisions),
        chosen,
        gain=lambda: ratio_estimate(gain_rows(log, pi, outcome), ones, cluster),
        requests=ratio_estimate(spent, ones, cluster),
        per_request=lambda: gain_per_request(gain_rows(log, pi, outcome), spent, cluster),
        diagnostics=diagnose(decisions).joined(check_support(log, pi)),
        sides=gain_sides(log, pi),
    )


def judged(
    policy: str,
    value: Callable[[str], Estimate],
    estimators: Iterable[str],
    *,
    gain: Callable[[], Estimate],
    requests: Estimate,
    per_request: Callable[[], Estimate],
    diagnostics: Diagnostics,
    sides: FloatArray,
) -> Evaluation:
    """Give the numbers that the diagnostics allow: none of value, none of gain, or all."""
    if diagnostics.verdict == "refused":
        return Evaluation(policy, {}, None, requests, None, diagnostics)
    thin = _thin_gain(sides)
    if thin:
        diagnostics = diagnostics.joined(Check("gain", "doubtful", " ".join(thin)))
    values = {name: value(name) for name in estimators}
    told = not thin and requests.value > 0
    return Evaluation(
        policy,
        values,
        None if thin else gain(),
        requests,
        per_request() if told else None,
        diagnostics,
    )


def gain_rows(log: RequestLog, pi: FloatArray, outcome: FloatArray | None) -> FloatArray:
    """Return rows whose mean is the policy's gain over never requesting, (n,).

    ``sum_a (pi_a - 1{a = 0}) score_a`` with the doubly robust scores of `uplift.effects`.
    """
    model = np.zeros_like(pi) if outcome is None else outcome
    _check_shape("outcome", model, log)
    scores = arm_scores(log.outcome(), log.arm, log.propensity, model)
    gained: FloatArray = np.einsum("na,na->n", pi, scores) - scores[:, 0]
    return gained


def gain_sides(log: RequestLog, pi: FloatArray) -> FloatArray:
    """Return what tells whether a gain can be told; shards add.

    Returns
    -------
    (3, 2)
        sums and sums of squares: of the weights at the points that the policy picks, over rows
        logged with a request and over rows logged without; and of what the policy asks for
    """
    asked, logged = 1 - pi[:, 0], pi[np.arange(len(log)), log.arm]
    sides = (np.where(log.arm > 0, logged, 0.0), np.where(log.arm == 0, asked, 0.0))
    columns = [*(side / log.propensity for side in sides), asked]
    return np.array([[column.sum(), column @ column] for column in columns])


def _thin_gain(sides: FloatArray) -> list[str]:
    """Say why a gain cannot be told: it rests only on rows where policy and never differ."""
    if not sides[2].any():  # nothing is gained, for certain
        return []
    sizes = sides[:2, 0] ** 2 / np.maximum(sides[:2, 1], 1e-300)
    return [
        f"No gain: at the points that the policy picks, {size:.0f} effective rows were logged "
        f"{side} (at least {REFUSED_N_EFFECTIVE:.0f} are needed)."
        for side, size in zip(("with a request", "without"), sizes, strict=True)
        if size < REFUSED_N_EFFECTIVE
    ]


def decisions_of(log: RequestLog, pi: FloatArray, outcome: FloatArray | None) -> Decisions:
    """Return a log beside what a policy would have done and a model expects, checked."""
    _check_shape("probabilities", pi, log)
    if outcome is not None:
        _check_shape("outcome", outcome, log)
    return Decisions.of(log.outcome(), log.propensity, log.arm, pi, log.cluster, outcome)


def _check_shape(name: str, values: FloatArray, log: RequestLog) -> None:
    expected = (len(log), log.schema.n_arms + 1)
    if values.shape != expected:
        raise InputError(
            f"{name} has shape {values.shape}; expected {expected}, rows of the log by arms."
        )
