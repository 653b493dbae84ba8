"""What more and what less of the budget is worth."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, numbers
from offline_eval.plots.style import BLUE, GREY, VERMILION, label, legend, svg
from uplift.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["budget_plot"]


def budget_plot(
    budgets: Sequence[Mapping[str, Any]], asked: float, unit: str, points: float, outcome: str
) -> str:
    """Draw the gain of certified plans at budgets around the one asked for, and the slope there.

    Parameters
    ----------
    budgets : rising ``budget``, with ``gain`` and ``marginal`` (gain per unit of budget)
    asked : the budget asked for, one of them
    unit : of the budget
    points : decision points of the planned log
    outcome : name of what is gained
    """
    budget = numbers(row["budget"] for row in budgets)
    gain, marginal = (
        numbers((row[key] for row in budgets), PER / points) for key in ("gain", "marginal")
    )
    here = int(np.argmin(np.abs(budget - asked)))

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        line = np.append(0.0, budget), np.append(0.0, gain)
        axes.plot(*line, color=BLUE, linewidth=2, marker="o", markersize=4, label="certified plans")
        _draw_slope(axes, budget, gain[here], budget[here], marginal[here])
        axes.plot(
            budget[here], gain[here], "*", color=VERMILION, markersize=14, label="budget asked for"
        )
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=min(0.0, float(gain.min())))
        label(axes, f"budget: {unit}", f"{outcome} promised\nper 1,000 decision points")
        legend(figure, 3)

    return svg("budget", "Gain of the plan at other budgets.", (10, 3.9), paint)


def _draw_slope(axes: "Axes", budget: FloatArray, gain: float, at: float, slope: float) -> None:
    """Draw the tangent that the prices tell, half the budget to both sides."""
    ends = np.array([0.5, 1.5]) * at
    ends[1] = min(ends[1], budget[-1])
    axes.plot(
        ends,
        gain + slope * (ends - at),
        color=GREY,
        linestyle="--",
        linewidth=1.4,
        label="slope by the prices",
    )
