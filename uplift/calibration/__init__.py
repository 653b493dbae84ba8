"""From a good ranking to a right size: calibration of uplift, and how well it is calibrated."""

from uplift.calibration.maps import ArmMap, UpliftCalibration, fit_calibration
from uplift.calibration.report import (
    CalibrationBin,
    CalibrationChange,
    CalibrationReport,
    calibration_change,
    calibration_report,
)

__all__ = [
    "ArmMap",
    "CalibrationBin",
    "CalibrationChange",
    "CalibrationReport",
    "UpliftCalibration",
    "calibration_change",
    "calibration_report",
    "fit_calibration",
]
