"""What report.json says of a log, of a model and of a plan, as plain values."""

from typing import Any

import numpy as np

from offline_eval.accuracy import purchase_auc
from offline_eval.rates import effects
from policy.plan import RequestPlan
from policy.progress import Stages
from uplift.arrays import FloatArray
from uplift.calibration import calibration_change
from uplift.curves import CurveState, QiniCurve, TocCurve, multi_arm_curve
from uplift.effects import effect_scores
from uplift.errors import InputError
from uplift.learners import UpliftLearner
from uplift.log import RequestLog
from uplift.model import UpliftModel
from uplift.plain import to_plain
from uplift.randomisation import check_randomisation

__all__ = ["held_out_curves", "judge_log", "plan_part"]


def judge_log(
    log: RequestLog, seed: int = 0, strict: bool = False, stages: Stages | None = None
) -> dict[str, Any]:
    """Describe a log and judge its randomisation, as report.json has it.

    Raises
    ------
    InputError
        A check is doubtful and `strict` is set.
    """
    with (stages or Stages()).stage("check"):
        checks = check_randomisation(log, seed)
    doubtful = [check for check in checks if check.verdict == "doubtful"]
    if strict and doubtful:
        raise InputError(f"strict: {doubtful[0].sentence}")
    arms = [
        {"name": name, "rows": int(count), "share": count / len(log)}
        for name, count in zip(log.schema.arms, np.bincount(log.arm), strict=True)
    ]
    pages = {"page_requests": log.n_pages} if "page" in log.frame else {}
    return {
        "rows": len(log),
        "users": int(log.cluster.max()) + 1,
        "sessions": int(log.session.max()) + 1,
        **pages,
        "primary": log.schema.primary,
        "arms": arms,
        "checks": to_plain(checks),
        "effect": to_plain(effects(log)),
    }


def held_out_curves(
    model: UpliftModel, test: RequestLog, seed: int = 0, stages: Stages | None = None
) -> dict[str, Any]:
    """Measure how well a model ranks and sizes the uplift of users that it has not seen.

    Returns
    -------
    what report.json has under ``model``
    """
    with (stages or Stages()).stage("curves"):
        outcome = model.predict_outcome(test)
        effect = effect_scores(test.outcome(), test.arm, test.propensity, outcome)
        uplift, raw = outcome[:, 1:] - outcome[:, :1], model.raw_uplift(test)
        arms, changes = dict[str, Any](), dict[str, Any]()
        for a, name in enumerate(model.schema.arms[1:]):
            one = effect[:, a]
            arms[name] = _curve_part(CurveState.of(uplift[:, a], one, test.cluster, seed=seed))
            changes[name] = calibration_change(raw[:, a], uplift[:, a], one, test.cluster)
        several = {"arms": arms, **_multi_arm_part(uplift, effect, test, seed)}
    calibration = {"method": model.calibration.method, "arms": to_plain(changes)}
    about = {
        **_learner_part(model.learner),
        "calibration": calibration,
        **_auc_part(test, outcome),
    }
    return {**about, **next(iter(arms.values())), **(several if len(arms) > 1 else {})}


def plan_part(plan: RequestPlan) -> dict[str, Any]:
    """Describe a plan, as report.json has it."""
    table = plan.to_dict()
    names = ("window", "price", "capacity", "spend", "rule_spend")
    columns = ("window_start", *names[1:])
    rows = zip(*(table[c] for c in columns), strict=True)
    return {
        "budget": table["budget"],
        "limits": table["limits"],
        "window_seconds": table["window_seconds"],
        "spend": float(plan.spend.sum()),
        "gain": plan.gain,
        "upper_bound": plan.upper_bound,
        "gap": plan.gap,
        "iterations": plan.iterations,
        "reason": plan.reason,
        "decision_points": plan.decision_points,
        "rule_spend": float(plan.rule_spend.sum()),
        "rule_gain": plan.rule_gain,
        "as_logged": plan.as_logged,
        **{key: table[key] for key in ("feedback", "shrinkage") if key in table},
        **_budget_part(plan),
        **_served_part(plan),
        "prices": [dict(zip(names, r, strict=True)) for r in rows],
    }


def _budget_part(plan: RequestPlan) -> dict[str, Any]:
    """Describe what more and less of the budget is worth, in its own unit."""
    if plan.sensitivity is None:
        return {}
    columns = to_plain(plan.sensitivity)
    columns["budget"] = [plan.budget.amount * scale for scale in columns.pop("scale")]
    columns["marginal"] = [m / plan.budget.amount for m in columns["marginal"]]
    names = ("budget", "requests", "gain", "marginal")
    rows = zip(*(columns[name] for name in names), strict=True)
    step = plan.budget.step
    return {
        "more": {"budget": step, "gain": plan.sensitivity.more(step / plan.budget.amount)},
        "budgets": [dict(zip(names, row, strict=True)) for row in rows],
    }


def _served_part(plan: RequestPlan) -> dict[str, Any]:
    """Tell whom and where the requests of the rule reach."""
    if plan.served is None:
        return {}
    columns = to_plain(plan.served)
    sessions, names = columns.pop("sessions"), list(columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {"served": {"sessions": sessions, "places": rows}}


def _learner_part(learner: UpliftLearner) -> dict[str, Any]:
    rounds = {name: booster.rounds for name, booster in learner.boosters_.items()}
    candidates = {"candidates": to_plain(c)} if (c := getattr(learner, "candidates_", ())) else {}
    return {"learner": learner.name, "rounds": rounds, **candidates}


def _curve_part(state: CurveState) -> dict[str, Any]:
    curve = QiniCurve.of(state)
    return {
        "qini": to_plain(curve.area),
        "autoc": to_plain(TocCurve.of(state).autoc),
        "uplift_at": to_plain(curve.uplift_at),
        "curve": to_plain({k: getattr(curve, k) for k in ("share", "gain", "lower", "upper")}),
    }


def _auc_part(test: RequestLog, outcome: FloatArray) -> dict[str, Any]:
    """Tell how well buyers are told apart, overall and by arm, where the outcome is a purchase."""
    if not np.isin(test.outcome(), (0.0, 1.0)).all():
        return {}
    return {"auc": to_plain(purchase_auc(test, outcome))}


def _multi_arm_part(
    uplift: FloatArray, effect: FloatArray, test: RequestLog, seed: int
) -> dict[str, Any]:
    """Gain by budget when each decision point may get any of several arms."""
    cost = np.array(test.schema.arm_cost[1:])
    curve = multi_arm_curve(uplift, cost, effect, test.cluster, seed=seed)
    return {"multi_arm": to_plain(curve)}
