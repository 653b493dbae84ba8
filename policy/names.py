"""Names that a person chooses by, on the command line."""

from typing import Literal

__all__ = ["Fsync"]

Fsync = Literal["always", "interval", "off"]
