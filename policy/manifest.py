"""The manifest of a bundle: what is in the folder, of which format, hash by hash."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uplift.errors import InputError
from uplift.files import existing_file

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "model_digest",
    "read_manifest",
    "readable",
    "write_manifest",
]

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
LARGEST = 1 << 30
"""Bytes of a file of a bundle."""


def write_manifest(folder: Path, about: dict[str, Any]) -> None:
    """Write what a bundle tells of itself, with the hash of every file and its own digest."""
    names = (name for name in _files(folder) if name != MANIFEST)
    sha256 = {name: _sha256(folder / name) for name in names}
    manifest = {"format_version": FORMAT_VERSION, **about, "sha256": sha256}
    manifest["digest"] = _digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read a bundle's manifest and hold every file of the folder against it.

    Raises
    ------
    InputError
        There is no bundle, its format version is unknown, or a file is missing, changed, too large,
        outside the folder, or not listed.
    """
    folder = existing_file(path, "bundle")
    with readable(path):
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        _check_version(folder, manifest["format_version"])
        if manifest.pop("digest") != _digest(manifest):
            raise InputError(
                f"the manifest of bundle {str(folder)!r} is not what was written (its digest "
                "differs); export it anew."
            )
        _check_files(folder, manifest["sha256"])
    return manifest


def model_digest(manifest: dict[str, Any]) -> str:
    """Return what tells the model of a bundle from others, whatever plan stands beside it."""
    files = {k: v for k, v in manifest["sha256"].items() if k.startswith("model/")}
    return _digest({"schema": manifest["schema"], "files": files})


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong in reading a bundle's files into one sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{str(path)!r} is not a bundle that can be read "
            f"({type(error).__name__}: {error}); export it anew."
        ) from error


def _check_version(folder: Path, found: Any) -> None:
    if found != FORMAT_VERSION:
        raise InputError(
            f"bundle {str(folder)!r} has format version {found}; this release reads "
            f"{FORMAT_VERSION}: upgrade request-uplift or export it anew."
        )


def _check_files(folder: Path, sha256: dict[str, str]) -> None:
    """None may be missing, changed, too large, or there unlisted."""
    for name, expected in sha256.items():
        file = folder / name
        if folder.resolve() not in file.resolve().parents or not file.is_file():
            raise InputError(f"bundle {str(folder)!r} lacks the file {name!r}; export it anew.")
        if file.stat().st_size > LARGEST:
            raise InputError(
                f"file {name!r} of bundle {str(folder)!r} is larger than {LARGEST:,} bytes; export "
                "it anew."
            )
        if _sha256(file) != expected:
            raise InputError(
                f"file {name!r} of bundle {str(folder)!r} is not what the manifest says "
                "(sha256 differs); export it anew."
            )
    unlisted = set(_files(folder)) - {*sha256, MANIFEST}
    if unlisted:
        raise InputError(
            f"bundle {str(folder)!r} holds {sorted(unlisted)[0]!r}, which its manifest does not "
            "list; export it anew."
        )


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
