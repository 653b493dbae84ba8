"""Refit by day: yesterday's bundle and a new day of log make today's, if the gate says yes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offline_eval.diagnostics import Change, LogProfile, changes, check_changes
from policy.bundle import Bundle
from policy.job import Job
from policy.loop import Parts, run_loop
from policy.manifest import read_manifest
from policy.plan import RequestPlan
from policy.planner.result import Prices
from policy.progress import Stages
from policy.seen import SeenLog, is_seen
from policy.source import read_source
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.model import UpliftModel
from uplift.plain import to_plain
from uplift.refit import refit

__all__ = ["refit_job"]

#: What of two schemas must be the same, so that a model of one can go on with logs of the other.
_SAME = ("arms", "arm_cost", "primary", "cluster", "page_length")


def refit_job(
    job: Job, path: Path, stages: Stages | None = None
) -> tuple[Bundle, dict[str, Any]] | None:
    """Refit the bundle at a path to the log of a job; return the new one and the report.

    As `run_job`, with the same split of the users, so that those who judge were fitted on neither
    day; but the model goes on from the bundle's (`uplift.refit`), the planner from its prices, and
    the incumbent that the plan must beat is the bundle itself, whatever [gate] names, by the margin
    of [refit] if it has one. The report also tells what changed from the log before (``drift``) and
    what was tried (``refit``).

    Parameters
    ----------
    job : its log is the new day
    path : the bundle to go on from; it is only read
    stages : told of each stage

    Returns
    -------
    nothing where the bundle has learned from this very log already

    Raises
    ------
    InputError
        The bundle cannot be read, holds no plan, or is not of this job: other learner, arms,
        features or split; or the log is not later than all that it has learned from.
    """
    stages = stages or Stages()
    old = _Old.load(path)
    old.check_job(job)
    logs = [read_source(job.log, job.seed, stages)]
    old.check_log(logs[0])
    seen = SeenLog.all_of(old.bundle.evidence)
    if is_seen(SeenLog.of(logs[0]), seen):
        return None
    drift = _drift(old.bundle, logs[0], stages)
    margin = job.gate.margin if job.refit.margin is None else job.refit.margin
    rules = replace(job.gate, incumbent="never", bundle=path, margin=margin)
    bundle, report = run_loop(
        replace(job, gate=rules),
        logs.pop(),  # the loop lets go of it as soon as its parts hold it
        stages,
        fit=old.fit,
        prices=_prices(old.bundle.plan, job),
        checks=[check_changes(drift, old.bundle.model.schema.primary)] if drift else [],
    )
    if report["refit"]["keep"] > 0:
        bundle.evidence["logs"] = [*to_plain(seen), *bundle.evidence["logs"]]
    return bundle, report | ({"drift": to_plain(drift)} if drift else {})


@dataclass(frozen=True)
class _Old:
    """The bundle that is gone on from."""

    path: Path
    bundle: Bundle
    about: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> "_Old":
        bundle, manifest = Bundle.load(path), read_manifest(path)
        version = manifest["sha256"].get("plan.json", "")[:12]
        about = {"bundle": str(path), "created": manifest["created"], "plan_version": version}
        return cls(path, bundle, about)

    def check_job(self, job: Job) -> None:
        """Refuse a bundle that this job cannot have made, before the log is read."""
        learner, split = self.bundle.model.learner.name, self.bundle.evidence.get("fitted")
        if self.bundle.plan is None:
            raise InputError(f"bundle '{self.path}' holds no plan; `run` the job first.")
        if learner != job.learner:
            raise InputError(
                f"bundle '{self.path}' has learner {learner!r}, the job {job.learner!r}; name the "
                "same, or `run` the job anew."
            )
        if split is None:
            raise InputError(
                f"bundle '{self.path}' does not tell which users it was fitted on, so that no one "
                "can judge what goes on from it; `run` the job anew."
            )
        share = job.split.fit + job.split.plan
        if split["seed"] != job.seed or split["share"] > share + 1e-9:
            raise InputError(
                f"bundle '{self.path}' was fitted on a share {split['share']:g} of the users by "
                f"seed {split['seed']}, the job takes {share:g} by seed {job.seed}: users that "
                "judge may have been fitted on. Use the same seed and split, or `run` anew."
            )

    def check_log(self, log: RequestLog) -> None:
        """Refuse a log of another kind than the bundle's."""
        known = self.bundle.model.schema
        for key in _SAME:
            if getattr(log.schema, key) != getattr(known, key):
                raise InputError(
                    f"bundle '{self.path}' has {key} {getattr(known, key)!r}, the log "
                    f"{getattr(log.schema, key)!r}; use the same schema, or `run` the job anew."
                )
        names, features = self.bundle.model.encoder.names, tuple(log.features)
        if other := sorted(set(names) ^ set(features)):
            raise InputError(
                f"bundle '{self.path}' and the log differ in the features {other[:10]}; use the "
                "same, or `run` the job anew."
            )

    def fit(self, job: Job, parts: Parts, stages: Stages) -> tuple[UpliftModel, dict[str, Any]]:
        """Refit the model, and tell how for the report."""
        with stages.stage("fit") as step:
            made = refit(
                self.bundle.model,
                parts.fit,
                keep=job.refit.keep,
                most_trees=job.refit.most_trees,
                params=job.seeded_boosting,
                calibration=job.calibration,
                progress=step,
            )
        tried = {"attempts": to_plain(made.attempts), "reasons": list(made.reasons)}
        return made.model, {"refit": {**self.about, "keep": made.chosen.keep, **tried}}


def _drift(old: Bundle, log: RequestLog, stages: Stages) -> tuple[Change, ...]:
    """Return what changed since the bundle's log, where the bundle tells what that was like."""
    if "profile" not in old.evidence:
        return ()
    with stages.stage("drift"):
        return changes(LogProfile.from_dict(old.evidence["profile"]), log)


def _prices(plan: RequestPlan | None, job: Job) -> Prices | None:
    """Return a plan's prices to begin with, where its windows are the job's."""
    if plan is None or plan.window_seconds != 60 * job.window_minutes:
        return None
    return Prices(plan.price)
