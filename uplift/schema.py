"""LogSchema: which column of a request log plays which role."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Literal

from uplift.errors import InputError
from uplift.files import atomic_file
from uplift.tables import build, read_toml

__all__ = ["ROLE_COLUMNS", "LogSchema"]

#: Columns whose role is fixed by their name.
ROLE_COLUMNS = (
    "session_id",
    "user_id",
    "timestamp",
    "page",
    "position",
    "arm",
    "propensity",
    "cost",
)


@dataclass(frozen=True)
class LogSchema:
    """Roles of the columns of a request log.

    Parameters
    ----------
    arms : names of the arms; arm 0, no extra request, first
    arm_cost : requests spent by each arm; arm 0 spends none
    outcomes : outcome columns, e.g. ``purchase_10`` (any purchase within the next 10 slots)
    primary : the outcome that is learned and planned for
    features : globs of the columns known before the decision
    categorical : globs of the features whose numbers are names, not sizes (strings always are)
    cluster : the column that folds and intervals are clustered by
    page_length : slots of a page; the slot in the session is ``page * page_length + position``
    propensity : ``logged`` in the column of that name; or ``estimate``: where the log has no such
        column it is estimated from the features, out-of-fold by cluster and calibrated

    Raises
    ------
    InputError
        Where the roles contradict each other.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    arms: tuple[str, ...]
    arm_cost: tuple[float, ...]
    outcomes: tuple[str, ...]
    primary: str
    features: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    cluster: str = "user_id"
    page_length: int = 50
    propensity: Literal["logged", "estimate"] = "logged"

    def __post_init__(self) -> None:
        if len(self.arms) < 2 or len(set(self.arms)) != len(self.arms):
            raise InputError(
                f"arms is {list(self.arms)}; expected at least two different names, "
                "arm 0 (no extra request) first."
            )
        if len(self.arm_cost) != len(self.arms) or not all(0 <= c < 1e9 for c in self.arm_cost):
            raise InputError(
                f"arm_cost is {list(self.arm_cost)}; expected {len(self.arms)} finite "
                "numbers >= 0, one for each arm."
            )
        misplaced = [c for c in self.outcomes if c in ROLE_COLUMNS or c.startswith("true_")]
        if misplaced or len(set(self.outcomes)) != len(self.outcomes):
            raise InputError(
                f"outcomes is {list(self.outcomes)}; expected different columns that play no "
                "other role."
            )
        if min(self.arm_cost[1:]) <= 0:
            raise InputError(
                f"arm_cost is {list(self.arm_cost)}; every arm beside arm 0 must cost more than 0."
            )
        if self.primary not in self.outcomes:
            raise InputError(
                f"primary is {self.primary!r}, which is not among outcomes "
                f"{list(self.outcomes)}; name one of them."
            )
        if self.propensity not in ("logged", "estimate"):
            raise InputError(f"propensity is {self.propensity!r}; expected 'logged' or 'estimate'.")
        if self.page_length < 1:
            raise InputError(f"page_length is {self.page_length}; expected at least 1.")

    @property
    def n_arms(self) -> int:
        """Number of arms beside arm 0."""
        return len(self.arms) - 1

    @classmethod
    def read(cls, path: str | Path) -> "LogSchema":
        """Read a schema from a TOML file."""
        return cls.from_dict(read_toml(path, "schema"))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "LogSchema":
        """Build a schema from plain lists, strings and numbers; unknown keys are refused."""
        return build(cls, table, "schema")

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain lists, strings and numbers (inverse of `from_dict`)."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}

    def to_toml(self) -> str:
        """Return the schema as TOML, which `read` takes back."""
        return "".join(f"{key} = {_toml(value)}\n" for key, value in self.to_dict().items())

    def write(self, path: str | Path) -> None:
        """Write the schema as TOML, whole or not at all."""
        with atomic_file(path) as scratch:
            scratch.write_text(self.to_toml(), encoding="utf-8")

    def feature_columns(self, columns: Iterable[str]) -> list[str]:
        """Return the columns that a feature glob matches, sorted; none may play another role."""
        chosen = sorted(c for c in columns if _matches(c, self.features))
        taken = {"arm", "propensity", "cost", "session_id", "user_id", "timestamp", self.cluster}
        for column in chosen:
            if column in self.outcomes:
                raise InputError(
                    f"schema: {column!r} is an outcome and also a feature (through "
                    f"{list(self.features)}); an outcome is not known before the decision, "
                    "take it out of the features."
                )
            if column in taken or column.startswith("true_"):
                raise InputError(
                    f"schema: {column!r} is matched by the features {list(self.features)}, but "
                    "may not be learned from; narrow the glob."
                )
        return chosen

    def is_categorical(self, column: str) -> bool:
        """Tell whether the numbers of a feature column are names."""
        return _matches(column, self.categorical)

    @classmethod
    def draft(cls, columns: Iterable[str], largest_arm: int) -> "LogSchema":
        """Guess the roles from the column names, for a person to edit."""
        names = list(columns)
        free = [c for c in names if c not in ROLE_COLUMNS and not c.startswith("true_")]
        outcomes = [c for c in free if c.startswith(("purchase", "gmv", "visit", "click", "spend"))]
        features = [c for c in free if c not in outcomes]
        arms = ("none", *(f"request_{a}" for a in range(1, max(largest_arm, 1) + 1)))
        return cls(
            arms=("none", "request") if len(arms) == 2 else arms,
            arm_cost=(0.0, *(1.0 for _ in arms[1:])),
            outcomes=tuple(outcomes) or ("OUTCOME",),
            primary=_best_primary(outcomes),
            features=_as_globs(features),
            categorical=("c_*",) if any(c.startswith("c_") for c in features) else (),
            cluster="user_id" if "user_id" in names or "session_id" not in names else "session_id",
        )


def _toml(value: Any) -> str:
    """Return JSON that is also TOML: no surrogate pairs, no bare delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _matches(column: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(column, glob) for glob in globs)


def _best_primary(outcomes: list[str]) -> str:
    if "purchase_10" in outcomes:
        return "purchase_10"
    return outcomes[0] if outcomes else "OUTCOME"


def _as_globs(columns: list[str]) -> tuple[str, ...]:
    prefixed = tuple(p for p in ("f_*", "c_*") if any(fnmatchcase(c, p) for c in columns))
    rest = tuple(c for c in columns if not _matches(c, prefixed))
    return prefixed + rest
