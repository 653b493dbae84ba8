"""TOML files into checked dataclasses, with errors that are sentences."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from uplift.errors import InputError
from uplift.files import existing_file

__all__ = ["build", "read_toml"]

T = TypeVar("T")

_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """Read a TOML file; `what` names it in errors."""
    try:
        return tomllib.loads(existing_file(path, what).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{what} {str(path)!r} is not valid TOML ({error}).") from error


def build(kind: type[T], table: Mapping[str, Any], what: str) -> T:
    """Fill a dataclass (and those inside it) from a table.

    Unknown keys are refused in classes that set ``__pydantic_config__ = {"extra": "forbid"}``.

    Raises
    ------
    InputError
        A key is unknown or missing, or a value is of the wrong type: the first one is named.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(dict(table))
    except ValidationError as error:
        # What is there and unknown often explains what is missing.
        errors = sorted(error.errors(), key=lambda e: e["type"] not in _UNKNOWN)
        raise InputError(f"{what}: {_sentence(errors[0])}") from None


def _sentence(error: Mapping[str, Any]) -> str:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] in _UNKNOWN:
        return f"the key {place!r} is unknown; correct or remove it."
    if error["type"] in ("missing", "missing_argument"):
        return f"the key {place!r} is missing; add it."
    return f"{place!r} is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}."
