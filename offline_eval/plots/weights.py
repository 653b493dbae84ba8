"""How large the plan's importance weights are, and where their sum lies."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, numbers
from offline_eval.plots.style import BLUE, SKY, label, legend, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["weights_plot"]

_WIDTH = 0.4


def weights_plot(weights: Sequence[Mapping[str, Any]]) -> str:
    """Draw, bin by bin of the weights, the share of the decisions and of the weight.

    Parameters
    ----------
    weights : rows with ``lower`` and ``upper`` ends, ``rows`` and ``weight``: shares of all
    """
    rows, weight = (numbers((row[key] for row in weights), PER) for key in ("rows", "weight"))
    names = [_name(row["lower"], row["upper"]) for row in weights]
    place = np.arange(len(weights))

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.bar(place - _WIDTH / 2, rows, _WIDTH, color=SKY, label="decisions")
        axes.bar(place + _WIDTH / 2, weight, _WIDTH, color=BLUE, label="weight that they carry")
        axes.set_xticks(place, names)
        axes.grid(axis="x", visible=False)
        label(axes, "weight: policy's probability / propensity", "of 1,000")
        legend(figure, 2)

    return svg("weights", "Importance weights of the plan.", (10, 3.0), paint)


def _name(lower: float, upper: float) -> str:
    return "0" if upper == 0 else f"{lower:g} to {upper:g}"
