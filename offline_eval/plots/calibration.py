"""Calibration plot: predicted against estimated uplift, before and after calibration."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, error_bars, numbers
from offline_eval.plots.style import BLUE, GREY, ORANGE, label, legend, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_plot"]

_LOOKS = {"before": ("s", ORANGE, "white"), "after": ("o", BLUE, BLUE)}


def calibration_plot(arms: Mapping[str, Mapping[str, Any]], outcome: str) -> str:
    """Draw predicted against estimated uplift by bin, a panel an arm.

    On the dashed line a prediction is of the right size. The estimates have their intervals; they
    are the same before and after, only the predictions move.

    Parameters
    ----------
    arms : by arm, ``before`` and ``after`` (either may be absent): ``bins`` with ``predicted`` and
        the estimate ``effect``, as in `uplift.calibration.CalibrationChange`
    outcome : name of what is gained
    """

    def paint(figure: "Figure") -> None:
        panels = figure.subplots(1, len(arms), squeeze=False)[0]
        for axes, (arm, part) in zip(panels, arms.items(), strict=True):
            _draw(axes, part)
            words = f"predicted {outcome} gained\nper 1,000 requests"
            label(axes, words, "", arm if len(arms) > 1 else "")
        panels[0].set_ylabel(f"{outcome} gained\nper 1,000 requests, 95 % interval")
        legend(figure, 3)

    description = "Calibration: estimated against predicted uplift, before and after."
    return svg("calibration", description, (5.6 * max(1, len(arms)), 4.3), paint)


def _draw(axes: "Axes", part: Mapping[str, Any]) -> None:
    for name, (marker, color, face) in _LOOKS.items():
        bins = part.get(name, {}).get("bins", [])
        if not bins:
            continue
        effects = [row["effect"] for row in bins]
        axes.errorbar(
            numbers((row["predicted"] for row in bins), PER),
            numbers((effect["value"] for effect in effects), PER),
            yerr=np.hstack([error_bars(effect, PER) for effect in effects]),
            fmt=marker,
            color=color,
            markerfacecolor=face,
            markersize=5.5,
            elinewidth=1.4,
            label=f"{name} calibration",
        )
    dashes = (0, (4, 3))
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1.2, linestyle=dashes, label="right size")
    axes.axhline(0, color=GREY, linewidth=0.8)
