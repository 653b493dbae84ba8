"""Names that a person chooses by, on the command line and in job files."""

from typing import Literal

__all__ = ["CalibrationMethod", "LearnerName"]

LearnerName = Literal["s", "t", "x", "r", "dr", "logit", "class_transform", "proportional", "auto"]
CalibrationMethod = Literal["none", "isotonic", "binned"]
