"""The policy that a plan must beat: one of the baselines, or the plan of a bundle in service."""

import numpy as np

from offline_eval.assessment import baselines
from offline_eval.policies import Policy
from policy.bundle import Bundle
from policy.gate import INCUMBENT, GateRules
from uplift.errors import InputError
from uplift.log import RequestLog

__all__ = ["find_incumbent"]


def find_incumbent(rules: GateRules, log: RequestLog) -> Policy | None:
    """Return the policy of the incumbent's bundle; none where it is assessed in any case.

    Called before anything is fitted, so that a wrong name is told at once.

    Parameters
    ----------
    rules : which name it
    log : the log that plans are judged on

    Raises
    ------
    InputError
        The name is of no policy that a plan is assessed beside; or the bundle cannot be read, holds
        no plan, decides about other arms, or needs columns that the log lacks.
    """
    if rules.bundle is not None:
        return _of_bundle(rules, log)
    position = 0 if np.ptp(log.slot) > 0 else None
    known = [p.name for p in baselines(log.schema, 1.0, position)] + ["purchase_probability"]
    if rules.incumbent not in known:
        raise InputError(
            f"gate: incumbent {rules.incumbent!r} is unknown for this log; choose among {known}."
        )
    return None


def _of_bundle(rules: GateRules, log: RequestLog) -> Policy:
    bundle = Bundle.load(str(rules.bundle))
    if bundle.plan is None:
        raise InputError(f"gate: bundle '{rules.bundle}' holds no plan; name one that does.")
    for key in ("arms", "arm_cost"):
        asked, known = getattr(log.schema, key), getattr(bundle.model.schema, key)
        if asked != known:
            raise InputError(
                f"gate: bundle '{rules.bundle}' has {key} {known!r}, the log {asked!r}; a plan can "
                "only replace one that decides about the same."
            )
    policy = bundle.plan.policy(bundle.model, INCUMBENT)
    policy.prepare(log.take(np.arange(1)))  # told now if a feature is missing, not after the fit
    return policy
