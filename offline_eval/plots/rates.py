"""Purchase rates by horizon: without a request, after a random one, after the model's."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, error_bars
from offline_eval.plots.style import BLACK, BLUE, ORANGE, label, legend, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["rates_plot"]

_SERIES = (
    ("none", "no request, all points", "o", BLACK, "white"),
    ("random", "random request, all points", "s", ORANGE, ORANGE),
    ("model_without", "no request, the model's points", "D", BLUE, "white"),
    ("model", "model's request, the model's points", "D", BLUE, BLUE),
)
_DODGE = 0.13


def rates_plot(rates: Sequence[Mapping[str, Any]]) -> str:
    """Draw the purchase rates of the outcomes that have a horizon.

    Parameters
    ----------
    rates : rows with ``horizon`` and the estimates of `offline_eval.rates.PurchaseRate`
    """

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        for index, (key, name, marker, color, face) in enumerate(_SERIES):
            estimates = [row[key] for row in rates]
            axes.errorbar(
                np.arange(len(rates)) + _DODGE * (index - 1.5),
                [np.nan if e["value"] is None else PER * e["value"] for e in estimates],
                yerr=np.hstack([error_bars(e, PER) for e in estimates]),
                fmt=marker,
                color=color,
                markerfacecolor=face,
                markersize=5.5,
                elinewidth=1.4,
                label=name,
            )
        axes.set_xticks(range(len(rates)), [str(row["horizon"]) for row in rates])
        axes.set_xlim(-0.5, len(rates) - 0.5)
        axes.set_ylim(bottom=0)
        axes.grid(axis="x", visible=False)
        label(axes, "slots after the decision", "purchases per\n1,000 decision points")
        legend(figure, 2)

    return svg("rates", "Purchase rates by horizon.", (10, 3.7), paint)
