"""Job: the whole loop as a TOML file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

from policy.budget import Budget
from policy.gate import GateRules
from policy.problem import Limits
from uplift.boosting import BoostParams
from uplift.errors import InputError
from uplift.names import CalibrationMethod, LearnerName
from uplift.refit import KEEP, check_keep
from uplift.tables import build, read_toml

__all__ = ["Job", "LogSource"]


@dataclass(frozen=True)
class LogSource:
    """Where the log comes from: a simulation, a public trial, or Parquet with a schema.

    Attributes
    ----------
    sessions, rate, days : of the simulated feed; used when there is no path
    path : Parquet file or folder, or the trial's file
    schema : TOML beside the log
    dataset : name of a public trial in `uplift.datasets`
    outcome : the trial's outcome to learn
    day : the rows of this day (UTC) alone; stands for ``{day}`` in the path, where the log comes in
        one file a day
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    sessions: int = 150_000
    rate: float = 10.0
    days: int = 1
    path: Path | None = None
    schema: Path | None = None
    dataset: str | None = None
    outcome: str | None = None
    day: date | None = None

    def __post_init__(self) -> None:
        if self.path is not None and self.schema is None and self.dataset is None:
            raise InputError("job: [log] has a path but no schema; draft one with `schema LOG`.")


@dataclass(frozen=True)
class Split:
    """Shares of the users that the model, the prices and the verdict come from."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    fit: float = 0.5
    plan: float = 0.15
    test: float = 0.35


@dataclass(frozen=True)
class RefitRules:
    """How a bundle is refitted to another day; see `uplift.refit`.

    Attributes
    ----------
    keep : shares of the earlier model that are tried, the preferred one first; 0 is a fit anew
    most_trees : that a booster may have
    margin : of the gate, in place of that of [gate]. Below 0 a plan may replace the earlier one
        that is shown to be at most so much worse: it has seen the later day
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    keep: tuple[float, ...] = KEEP
    most_trees: int = 1000
    margin: float | None = None

    def __post_init__(self) -> None:
        check_keep(self.keep, self.most_trees)
        if self.margin is not None and not isfinite(self.margin):
            raise InputError(f"refit: margin is {self.margin}; expected a number.")


@dataclass(frozen=True)
class Job:
    """Everything that the loop needs to be told.

    Attributes
    ----------
    log : where the log comes from
    split : shares of users to fit on, to plan on, to evaluate on
    learner, boosting : the learner's name, and its boosting parameters
    calibration : how the size of the uplift is set right
    budget, limits : what extra requests may cost, and what a session allows
    window_minutes : length of the windows that the day is cut into
    gate : what the plan must show before it is published
    refit : how much of an earlier bundle is kept, where one is refitted
    fixed_position : where the fixed baseline puts its one request a page
    strict : whether doubts about the randomisation stop the job
    seed : of everything random
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    log: LogSource = LogSource()
    split: Split = Split()
    learner: LearnerName = "s"
    calibration: CalibrationMethod = "isotonic"
    boosting: BoostParams = BoostParams()  # noqa: RUF009  (frozen)
    budget: Budget = Budget.qps_share(0.125)  # noqa: RUF009  (frozen)
    limits: Limits = Limits(per_page=2, min_gap=10)  # noqa: RUF009  (frozen)
    window_minutes: float = 60.0
    gate: GateRules = GateRules()  # noqa: RUF009  (frozen)
    refit: RefitRules = RefitRules()
    fixed_position: int = 25
    strict: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0 or self.fixed_position < 0:
            raise InputError(
                f"job: seed is {self.seed} and fixed_position {self.fixed_position}; expected "
                "both to be 0 or more."
            )

    @property
    def seeded_boosting(self) -> BoostParams:
        """The boosting parameters under the job's seed."""
        return replace(self.boosting, seed=self.boosting.seed + self.seed)

    @classmethod
    def read(cls, path: str | Path) -> "Job":
        """Read a job file; paths in it are relative to its folder.

        Raises
        ------
        InputError
            The file is not TOML, or has a key or a value that a job does not know.
        """
        return cls.from_dict(read_toml(path, "job"), Path(path).parent)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], folder: Path = Path()) -> "Job":
        """Build a job from the tables of a job file."""
        job = build(cls, table, "job")
        paths = {k: folder / p for k in ("path", "schema") if (p := getattr(job.log, k))}
        bundle = job.gate.bundle and folder / job.gate.bundle
        return replace(job, log=replace(job.log, **paths), gate=replace(job.gate, bundle=bundle))
