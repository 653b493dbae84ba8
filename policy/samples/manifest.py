"""The manifest of a folder of samples: which day was made of what.

A day is made again where one of its inputs is new or has changed, or the rules or columns have. An
input that is gone makes no difference: what was made of it stays.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from policy.samples.parts import Part
from uplift.errors import InputError
from uplift.files import atomic_file

__all__ = ["MANIFEST", "DayMade", "SampleManifest", "digest"]

MANIFEST = "_manifest.json"
FORMAT_VERSION = 1
_BLOCK = 1 << 20


@dataclass(frozen=True)
class DayMade:
    """A day that was made.

    Attributes
    ----------
    inputs : digests of the files that may hold rows of it
    made_by : digest of rules, schema and columns
    sha256 : of the file; empty where the day has no decision
    rows : number of samples
    size : bytes of the file
    """

    inputs: list[str]
    made_by: str
    sha256: str
    rows: int
    size: int


@dataclass
class SampleManifest:
    """What is known of a folder of samples.

    Attributes
    ----------
    folder : of the samples
    files : size, time of change and digest of each input, by its path
    days : what was made
    """

    folder: Path
    files: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    days: dict[str, DayMade] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> "SampleManifest":
        """Read the manifest of a folder, or begin one in an empty folder.

        Raises
        ------
        InputError
            The folder holds something else, or its manifest cannot be read.
        """
        path = folder / MANIFEST
        if not path.exists():
            if folder.exists() and _holds_more(folder):
                raise InputError(
                    f"{str(folder)!r} holds something else than samples; choose a new folder."
                )
            return cls(folder)
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            if table["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format version {table['format_version']}")
            files = {name: (int(s), int(t), str(d)) for name, (s, t, d) in table["files"].items()}
            return cls(folder, files, {day: DayMade(**of) for day, of in table["days"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{str(path)!r} is no manifest of samples that can be read "
                f"({type(error).__name__}: {error}); write the samples to a new folder."
            ) from error

    def write(self) -> None:
        """Write the manifest, whole or not at all."""
        days = {day: vars(made) for day, made in self.days.items()}
        table = {"format_version": FORMAT_VERSION, "days": days, "files": self.files}
        with atomic_file(self.folder / MANIFEST) as scratch:
            scratch.write_text(json.dumps(table, indent=1, sort_keys=True), encoding="utf-8")

    def digests(self, parts: Iterable[Part]) -> list[str]:
        """Return the digest of each part; one that has size and time of before is not read."""
        return sorted({self._digest(part.path) for part in parts})

    def forget_all_but(self, parts: Iterable[Part]) -> None:
        """Forget the digests of files that are gone."""
        there = {str(part.path.absolute()) for part in parts}
        self.files = {name: known for name, known in self.files.items() if name in there}

    def is_made(self, day: str, inputs: list[str], made_by: str) -> bool:
        """Tell whether a day stands as it would be made now."""
        made = self.days.get(day)
        if made is None or made.made_by != made_by or not set(inputs) <= set(made.inputs):
            return False
        file = self.file(day)
        return made.size == (file.stat().st_size if file.exists() else 0)

    def file(self, day: str) -> Path:
        """Return the file of a day."""
        return self.folder / f"day={day}" / "samples.parquet"

    def _digest(self, path: Path) -> str:
        name, found = str(path.absolute()), path.stat()
        known = self.files.get(name)
        if known is None or known[:2] != (found.st_size, found.st_mtime_ns):
            self.files[name] = (found.st_size, found.st_mtime_ns, digest(path))
        return self.files[name][2]


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holds_more(folder: Path) -> bool:
    return not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())
