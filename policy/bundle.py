"""The deployable artefact: a folder of model, plan and evidence, hashed, without a pickle."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from policy.plan import RequestPlan
from uplift.errors import InputError
from uplift.files import atomic_folder, existing_file
from uplift.model import UpliftModel
from uplift.schema import LogSchema

__all__ = ["FORMAT_VERSION", "Bundle", "package_versions"]

FORMAT_VERSION = 1
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
        target = Path(path)
        if target.exists() and not (target / "manifest.json").is_file():
            raise InputError(f"{str(path)!r} exists and is not a bundle; choose another folder.")
        with atomic_folder(target) as folder:
            self.model.save(folder / "model")
            if self.plan is not None:
                self.plan.save(folder / "plan.json")
            if self.evidence:
                (folder / "evidence.json").write_text(json.dumps(self.evidence, indent=1))
            manifest = {
                "format_version": FORMAT_VERSION,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "schema": self.model.schema.to_dict(),
                "versions": package_versions(),
                "sha256": {name: _sha256(folder / name) for name in _files(folder)},
            }
            (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> "Bundle":
        """Read a bundle; a wrong hash, an unknown version or a missing file is refused."""
        folder = Path(path)
        manifest = _manifest(folder)
        for name, sha256 in manifest["sha256"].items():
            file = folder / name
            if folder.resolve() not in file.resolve().parents or not file.is_file():
                raise InputError(f"bundle {str(path)!r} lacks the file {name!r}; export it anew.")
            if _sha256(file) != sha256:
                raise InputError(
                    f"file {name!r} of bundle {str(path)!r} is not what the manifest says "
                    "(sha256 differs); export it anew."
                )
        model = UpliftModel.load(folder / "model", LogSchema.from_dict(manifest["schema"]))
        names = manifest["sha256"]
        plan = RequestPlan.load(folder / "plan.json") if "plan.json" in names else None
        text = (folder / "evidence.json").read_text() if "evidence.json" in names else "{}"
        return cls(model, plan, json.loads(text))


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that shape a result."""
    return {name: version(name) for name in _PACKAGES}


def _manifest(folder: Path) -> dict[str, Any]:
    file = existing_file(folder, "bundle") / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(file.read_text())
        found = manifest["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{str(folder)!r} is not a bundle (no readable manifest.json).") from error
    if found != FORMAT_VERSION:
        raise InputError(
            f"bundle {str(folder)!r} has format version {found}; this release reads "
            f"{FORMAT_VERSION}: upgrade request-uplift or export it anew."
        )
    return manifest


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
