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
from uplift.files import atomic_folder, check_writable, existing_file
from uplift.model import UpliftModel
from uplift.schema import LogSchema

__all__ = ["FORMAT_VERSION", "Bundle", "check_target", "package_versions"]

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
        check_target(path)
        with atomic_folder(path) as folder:
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
        folder = existing_file(path, "bundle")
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            _check_version(folder, manifest["format_version"])
            _check_files(folder, manifest["sha256"])
            schema = LogSchema.from_dict(manifest["schema"])
            model = UpliftModel.load(folder / "model", schema)
            plan = folder / "plan.json"
            evidence = folder / "evidence.json"
            return cls(
                model,
                RequestPlan.load(plan) if plan.is_file() else None,
                json.loads(evidence.read_text()) if evidence.is_file() else {},
            )
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{str(path)!r} is not a bundle that can be read "
                f"({type(error).__name__}: {error}); export it anew."
            ) from error


def check_target(path: str | Path) -> None:
    """Refuse to write a bundle over something else, or where nothing can be written."""
    target = Path(path)
    if target.exists() and not (target / "manifest.json").is_file():
        raise InputError(f"{str(path)!r} exists and is not a bundle; choose another folder.")
    check_writable(target)


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that shape a result."""
    return {name: version(name) for name in _PACKAGES}


def _check_version(folder: Path, found: Any) -> None:
    if found != FORMAT_VERSION:
        raise InputError(
            f"bundle {str(folder)!r} has format version {found}; this release reads "
            f"{FORMAT_VERSION}: upgrade request-uplift or export it anew."
        )


def _check_files(folder: Path, sha256: dict[str, str]) -> None:
    """Hold every file against the manifest; none may be missing, changed, or there unlisted."""
    for name, expected in sha256.items():
        file = folder / name
        if folder.resolve() not in file.resolve().parents or not file.is_file():
            raise InputError(f"bundle {str(folder)!r} lacks the file {name!r}; export it anew.")
        if _sha256(file) != expected:
            raise InputError(
                f"file {name!r} of bundle {str(folder)!r} is not what the manifest says "
                "(sha256 differs); export it anew."
            )
    unlisted = set(_files(folder)) - {*sha256, "manifest.json"}
    if unlisted:
        raise InputError(
            f"bundle {str(folder)!r} holds {sorted(unlisted)[0]!r}, which its manifest does not "
            "list; export it anew."
        )


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
