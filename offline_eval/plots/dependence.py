"""Partial dependence: the uplift over the values of single features."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, numbers
from offline_eval.plots.style import BLUE, GREY, label, legend, svg
from uplift.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["dependence_plot"]

_COLUMNS = 3
_ROOM = 0.08
_LETTERS = 14
_MEAN, _BAND = "mean of all rows", "middle 80 % of the rows"


def dependence_plot(features: Sequence[Mapping[str, Any]], outcome: str) -> str:
    """Draw a panel a feature: mean uplift, and the band of the middle 80 % of the rows.

    A quantity is a line with a mark at each of its quantiles, a category a mark; missing stands
    apart on the right.

    Parameters
    ----------
    features : each with ``feature``, lists ``values``, ``mean``, ``low``, ``high`` and, for a
        category, ``labels``; as `uplift.explain.PartialDependence.to_dict` has them
    outcome : name of what is gained
    """
    lines = max(1, -(-len(features) // _COLUMNS))
    columns = min(_COLUMNS, max(1, len(features)))

    def paint(figure: "Figure") -> None:
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
        for axes, part in zip(panels.flat, features, strict=False):
            _draw(axes, part)
            label(axes, "", "", str(part["feature"]))
        for axes in panels.flat[len(features) :]:
            axes.set_visible(False)
        figure.supylabel(f"uplift of {outcome} per 1,000 decision points", fontsize=9.5)
        legend(figure, 2)

    size = (max(3.4 * columns, 4.6), 0.8 + 2.3 * lines)
    description = "Uplift over the values of each feature, with the middle 80 % of the rows."
    return svg("dependence", description, size, paint)


def _draw(axes: "Axes", part: Mapping[str, Any]) -> None:
    mean, low, high = (numbers(part[key], PER) for key in ("mean", "low", "high"))
    axes.axhline(0, color=GREY, linewidth=0.8)
    values = numbers(part["values"])
    known = np.isfinite(values)
    labels = part.get("labels") or ([] if known.any() else ["missing"])
    if labels:
        place = np.arange(len(mean))
        axes.vlines(place, low, high, color=BLUE, alpha=0.35, linewidth=5, label=_BAND)
        axes.plot(place, mean, "o", color=BLUE, markersize=5, label=_MEAN)
        _name(axes, [str(name) for name in labels])
        return
    x, band = values[known], (low[known], high[known])
    axes.fill_between(x, *band, color=BLUE, alpha=0.14, linewidth=0, label=_BAND)
    axes.plot(x, mean[known], "o-", color=BLUE, markersize=3, linewidth=1.8, label=_MEAN)
    if not known.all():
        _missing(axes, x, mean[~known], low[~known], high[~known])


def _name(axes: "Axes", names: Sequence[str]) -> None:
    short = [
        n if len(n) <= _LETTERS else f"{n[: _LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}" for n in names
    ]
    upright = sum(map(len, short)) > 2 * _LETTERS
    axes.set_xticks(range(len(short)), short, rotation=90 if upright else 0)
    axes.set_xlim(-0.5, len(short) - 0.5)
    axes.grid(axis="x", visible=False)


def _missing(
    axes: "Axes", values: FloatArray, mean: FloatArray, low: FloatArray, high: FloatArray
) -> None:
    """Draw missing right of all values, a little apart, and in grey."""
    place = float(values.max()) + _ROOM * (float(np.ptp(values)) or 1.0)
    axes.vlines(place, low, high, color=GREY, alpha=0.35, linewidth=5)
    axes.plot(place, mean, "o", color=GREY, markersize=5)
    axes.annotate(
        "missing",
        (place, float(high[0])),
        (0, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=GREY,
    )
