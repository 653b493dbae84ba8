"""Names that a person chooses by, on the command line."""

from typing import Literal

__all__ = ["Engine", "Fsync"]

Engine = Literal["local", "spark"]
Fsync = Literal["always", "interval", "off"]
