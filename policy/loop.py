"""The whole loop: log, uplift, plan, off-policy value, report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from offline_eval.assessment import Assessment, assess
from offline_eval.diagnostics import LogProfile, check_drift
from offline_eval.optimism import optimism_gap
from offline_eval.policies import Policy, walk
from policy.bundle import Bundle, package_versions
from policy.gate import Gate, GateRules, gate
from policy.incumbent import find_incumbent
from policy.job import Job
from policy.plan import RequestPlan, plan_requests
from policy.planner.result import Prices
from policy.progress import Stages
from policy.report_parts import held_out_curves, judge_log, plan_part
from policy.rivals import Gain, price_family, purchase_probability, rival_plan
from policy.seen import SeenLog
from policy.source import read_source
from policy.spend import plan_spend
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.model import UpliftModel
from uplift.plain import to_plain
from uplift.randomisation import Check

__all__ = [
    "Parts",
    "assess_plan",
    "plan_optimism",
    "report_on",
    "run_job",
    "run_loop",
    "unseen",
]


@dataclass(frozen=True)
class Parts:
    """The three parts of the users: to fit on, to plan on, to evaluate on."""

    fit: RequestLog
    plan: RequestLog
    test: RequestLog


#: Makes the model of a job from the parts of its log; and what the report says of how.
Fit = Callable[[Job, Parts, Stages], tuple[UpliftModel, dict[str, Any]]]


def run_job(job: Job, stages: Stages | None = None) -> tuple[Bundle, dict[str, Any]]:
    """Run the whole loop of a job; return the bundle and the report as plain values.

    The users are split in three: the model is fitted on the first part, prices are planned on the
    second (scores of the users that a model was fitted on are too spread), and the verdict comes
    from the third, which neither has seen.
    """
    stages = stages or Stages()
    return run_loop(job, read_source(job.log, job.seed, stages), stages)


def run_loop(
    job: Job,
    log: RequestLog,
    stages: Stages,
    *,
    fit: Fit | None = None,
    prices: Prices | None = None,
    checks: Sequence[Check] = (),
) -> tuple[Bundle, dict[str, Any]]:
    """Run the loop of a job on a log that was read.

    Parameters
    ----------
    job, log, stages : what is done, on what, and who is told
    fit : makes the model; by default the job's learner is fitted
    prices : of an earlier plan, that the planner starts from
    checks : judgements of the log beside those that are made here
    """
    incumbent = find_incumbent(job.gate, log)
    about_log = judge_log(log, job.seed, job.strict, stages)
    about_log["checks"] += to_plain(checks)
    parts = Parts(*log.split(share=(job.split.fit, job.split.plan, job.split.test), seed=job.seed))
    about_log["split"] = {name: len(part) for name, part in vars(parts).items()}
    about_source = _source_part(log)
    del log  # the parts hold it once more
    model, about_fit = (fit or _fit)(job, parts, stages)
    about_model = held_out_curves(model, parts.test, job.seed, stages)
    with stages.stage("plan") as step:
        plan = plan_requests(
            model.score(parts.plan),
            job.budget.of_part(job.split.plan),
            job.limits,
            window_seconds=60 * job.window_minutes,
            start=prices,
            progress=lambda i, upper, lower: step(i, 100),
        )
    assessment = assess_plan(
        model,
        plan,
        parts.test,
        planned=parts.plan,
        incumbent=incumbent,
        fixed_position=job.fixed_position,
        seed=job.seed,
        stages=stages,
    )
    optimism = plan_optimism(model, plan, parts.test, assessment, job.seed)
    drift = check_drift(parts.fit, parts.test, job.seed)
    about_log["checks"].append(to_plain(drift))
    verdict = _gate(model, plan, parts.test, assessment, about_log, job.gate, job.seed)
    report = _report(about_log, about_model, plan, assessment, optimism, stages)
    report |= {"gate": verdict.to_dict(), **about_fit}
    evidence = {k: report[k] for k in ("gate", "value", "saving_at_equal_effect", "warnings")}
    evidence["fitted"] = {"share": job.split.fit + job.split.plan, "seed": job.seed}
    return Bundle(model, plan, evidence | about_fit | about_source), report


def _fit(job: Job, parts: Parts, stages: Stages) -> tuple[UpliftModel, dict[str, Any]]:
    with stages.stage("fit") as step:
        boosting, calibration = job.seeded_boosting, job.calibration
        return UpliftModel.fit(parts.fit, job.learner, boosting, calibration, step), {}


def _source_part(log: RequestLog) -> dict[str, Any]:
    """Tell which log it was and what it was like, as evidence.json has it for the next day."""
    return {"logs": [to_plain(SeenLog.of(log))], "profile": to_plain(LogProfile.of(log))}


def _gate(
    model: UpliftModel,
    plan: RequestPlan,
    test: RequestLog,
    assessment: Assessment,
    about_log: dict[str, Any],
    rules: GateRules,
    seed: int,
) -> Gate:
    """Judge whether the plan may be published, by what was found of it and of the log."""
    checks = [Check(**check) for check in about_log["checks"]]
    pi = walk(plan.policy(model), test, seed)
    spend = plan_spend(plan, test, pi, rules.overspend, rules.peak)
    return gate(assessment, spend, checks, rules)


def report_on(
    bundle: Bundle,
    test: RequestLog,
    *,
    rules: GateRules | None = None,
    fixed_position: int = 25,
    seed: int = 0,
    stages: Stages | None = None,
) -> dict[str, Any]:
    """Report on a bundle's plan by the users of a log that its model was not fitted on.

    Whether it may be published is judged by `rules`, or by those of `GateRules`.
    `fixed_position` is where the fixed baseline puts its one request a page.

    Raises
    ------
    InputError
        The bundle holds no plan, or was made for other arms, costs or another outcome.
    """
    if bundle.plan is None:
        raise InputError("the bundle holds no plan yet; make one with `request-uplift plan`.")
    asked, known = test.schema, bundle.model.schema
    for key in ("arms", "arm_cost", "primary"):
        if getattr(asked, key) != getattr(known, key):
            raise InputError(
                f"the log's schema has {key} {getattr(asked, key)!r}; the bundle was made for "
                f"{getattr(known, key)!r}: use its schema."
            )
    stages = stages or Stages()
    test, model, plan = unseen(bundle, test), bundle.model, bundle.plan
    rules = rules or GateRules()
    incumbent = find_incumbent(rules, test)
    about_log = judge_log(test, seed, stages=stages)
    about_model = held_out_curves(model, test, seed, stages)
    assessment = assess_plan(
        model,
        plan,
        test,
        incumbent=incumbent,
        fixed_position=fixed_position,
        seed=seed,
        stages=stages,
    )
    optimism = plan_optimism(model, plan, test, assessment, seed)
    report = _report(about_log, about_model, plan, assessment, optimism, stages)
    verdict = _gate(model, plan, test, assessment, about_log, rules, seed)
    return report | {"gate": verdict.to_dict()}


def unseen(bundle: Bundle, log: RequestLog) -> RequestLog:
    """Return the rows of users that a bundle's model was not fitted on, by the split it tells of.

    A user falls the same way in every log, so this holds for any log of the same users; the
    bundle of a model fitted on other users may leave `fitted` out of its evidence.
    """
    split = bundle.evidence.get("fitted")
    if split is None:
        return log
    return log.split(share=split["share"], seed=split["seed"])[1]


def assess_plan(
    model: UpliftModel,
    plan: RequestPlan,
    test: RequestLog,
    *,
    planned: RequestLog | None = None,
    incumbent: Policy | None = None,
    fixed_position: int = 25,
    seed: int = 0,
    stages: Stages | None = None,
) -> Assessment:
    """Judge a plan on a log that neither it nor its model has seen.

    Parameters
    ----------
    model, plan : what is judged
    test : the randomised log that it is judged on
    planned : the log that the plan was made on; the rivals get their prices there
    incumbent : a policy in service, to stand beside it
    fixed_position, seed, stages : of the fixed baseline, of the bootstrap, for progress
    """
    log = test if planned is None else planned
    likely = purchase_probability(model, int(model.uplift(log).mean(axis=0).argmax()))
    gains: dict[str, Gain] = {"plan": model.uplift, "purchase_probability": likely}
    greedy = rival_plan(plan, model.score(log), likely(log))
    with (stages or Stages()).stage("evaluate") as step:
        return assess(
            test,
            plan.policy(model),
            rivals=[
                greedy.rule(likely, "purchase_probability"),
                *([incumbent] if incumbent else []),
            ],
            families={name: price_family(plan, gain, name, log) for name, gain in gains.items()},
            outcome=model.predict_outcome(test),
            fixed_position=fixed_position,
            seed=seed,
            progress=step,
        )


def plan_optimism(
    model: UpliftModel, plan: RequestPlan, test: RequestLog, assessment: Assessment, seed: int
) -> Estimate | None:
    """Return the plan's promise beyond its off-policy gain; nothing where that gain is unknown."""
    if assessment.evaluations["plan"].gain is None:
        return None
    rule = plan.policy(model)
    pi = walk(rule, test, seed)
    return optimism_gap(test, pi, rule.gain(test), model.predict_outcome(test))


def _report(
    about_log: dict[str, Any],
    about_model: dict[str, Any],
    plan: RequestPlan,
    assessment: Assessment,
    optimism: Estimate | None,
    stages: Stages,
) -> dict[str, Any]:
    doubts = [c["sentence"] for c in about_log["checks"] if c["verdict"] != "sound"]
    return {
        "log": about_log,
        "model": about_model,
        "plan": plan_part(plan) | ({"optimism": to_plain(optimism)} if optimism else {}),
        **assessment.to_dict(),
        "warnings": [*doubts, *assessment.warnings],
        "versions": package_versions(),
        "seconds": stages.seconds,
    }
