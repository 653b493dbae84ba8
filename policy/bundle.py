"""The deployable artefact: a folder of model, plan and evidence, hashed, without a pickle."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from policy.manifest import FORMAT_VERSION, MANIFEST, read_manifest, readable, write_manifest
from policy.plan import RequestPlan
from uplift.errors import InputError
from uplift.files import atomic_folder, check_writable
from uplift.model import UpliftModel
from uplift.schema import LogSchema

__all__ = ["FORMAT_VERSION", "Bundle", "check_target", "package_versions"]

_PACKAGES = ("request-uplift", "numpy", "pandas", "scikit-learn", "xgboost", "ortools")


@dataclass(frozen=True)
class Bundle:
    """A fitted model, the plan made with it, and what the plan would have earned.

    On disk: ``manifest.json`` (format version, schema, creation time, package versions, sha256 of
    every other file), ``model/``, ``plan.json``, ``evidence.json``.
    """

    model: UpliftModel
    plan: RequestPlan | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the bundle to a folder beside `path` and rename it: all of it or nothing.

        Raises
        ------
        InputError
            `path` is a folder that is no bundle; it is not replaced.
        """
        check_target(path)
        with atomic_folder(path) as folder:
            self.model.save(folder / "model")
            if self.plan is not None:
                self.plan.save(folder / "plan.json")
            if self.evidence:
                (folder / "evidence.json").write_text(json.dumps(self.evidence, indent=1))
            about = {
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "schema": self.model.schema.to_dict(),
                "versions": package_versions(),
            }
            write_manifest(folder, about)

    @classmethod
    def load(cls, path: str | Path) -> "Bundle":
        """Read a bundle; a wrong hash, an unknown version or a missing file is refused."""
        folder, manifest = Path(path), read_manifest(path)
        with readable(path):
            schema = LogSchema.from_dict(manifest["schema"])
            model = UpliftModel.load(folder / "model", schema)
            plan = folder / "plan.json"
            evidence = folder / "evidence.json"
            return cls(
                model,
                RequestPlan.load(plan) if plan.is_file() else None,
                json.loads(evidence.read_text()) if evidence.is_file() else {},
            )


def check_target(path: str | Path) -> None:
    """Refuse to write a bundle over something else, or where nothing can be written."""
    target = Path(path)
    if target.exists() and not (target / MANIFEST).is_file():
        raise InputError(f"{str(path)!r} exists and is not a bundle; choose another folder.")
    check_writable(target)


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that shape a result."""
    return {name: version(name) for name in _PACKAGES}
