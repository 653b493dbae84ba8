"""Which features the uplift depends on, by three measures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, error_bars, numbers
from offline_eval.plots.style import BLUE, GREY, ORANGE, VERMILION, label, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["importance_plot"]

_PANELS = (
    ("shap", "o", BLUE, PER, "How far it moves the uplift", "mean |SHAP| per 1,000 points"),
    ("qini", "s", ORANGE, PER, "Shuffled: ranking lost", "Qini area per 1,000 points"),
    ("loss", "^", VERMILION, PER**2, "Shuffled: size lost", "squared error per (1,000 points)²"),
)


def importance_plot(rows: Sequence[Mapping[str, Any]], most: int = 15) -> str:
    """Draw the importance of features for the uplift, with intervals.

    Parameters
    ----------
    rows : the most important first, each with ``feature`` and the estimates ``shap``, ``qini`` and
        ``loss``; as `uplift.explain.Explanation.importance` has them
    most : how many features are drawn
    """
    drawn = rows[:most]

    def paint(figure: "Figure") -> None:
        panels = figure.subplots(1, len(_PANELS), sharey=True)
        for axes, panel in zip(panels, _PANELS, strict=True):
            _draw(axes, drawn, *panel)
        panels[0].set_yticks(range(len(drawn)), [str(row["feature"]) for row in drawn])
        panels[0].set_ylim(len(drawn) - 0.5, -0.5)

    height = 1.1 + 0.27 * len(drawn)
    return svg("importance", "Importance of features for the uplift.", (10, height), paint)


def _draw(
    axes: "Axes",
    rows: Sequence[Mapping[str, Any]],
    key: str,
    marker: str,
    color: str,
    scale: float,
    title: str,
    unit: str,
) -> None:
    estimates = [row[key] for row in rows]
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.errorbar(
        numbers((e["value"] for e in estimates), scale),
        range(len(rows)),
        xerr=np.hstack([np.empty((2, 0)), *(error_bars(e, scale) for e in estimates)]),
        fmt=marker,
        color=color,
        markersize=5,
        elinewidth=1.6,
    )
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    label(axes, unit, "", title)
