"""Uplift by decile: predicted, measured, and true where it is known."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, error_bars, numbers
from offline_eval.plots.style import BLACK, BLUE, GREY, ORANGE, label, legend, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["deciles_plot"]


def deciles_plot(rows: Sequence[Mapping[str, Any]], outcome: str) -> str:
    """Draw the measured uplift of each decile with its interval, beside the predicted one.

    Parameters
    ----------
    rows : the best decile first, each with ``decile``, ``predicted``, the estimate ``effect`` and,
        where it is known, ``truth``; as `uplift.explain.UpliftByDecile.to_dict` has them
    outcome : name of what is gained
    """

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        place = np.arange(len(rows))
        measured = [row["effect"] for row in rows]
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.errorbar(
            place,
            numbers((e["value"] for e in measured), PER),
            yerr=np.hstack([np.empty((2, 0)), *(error_bars(e, PER) for e in measured)]),
            fmt="o",
            color=BLUE,
            markersize=5.5,
            elinewidth=1.6,
            label="measured, 95 % interval",
        )
        predicted = numbers((row["predicted"] for row in rows), PER)
        axes.plot(place, predicted, "D--", color=ORANGE, markersize=4.5, label="predicted")
        if any("truth" in row for row in rows):
            truth = numbers((row.get("truth") for row in rows), PER)
            axes.plot(place, truth, "_", color=BLACK, markersize=17, markeredgewidth=1.8)
            axes.plot([], [], "_", color=BLACK, markersize=9, label="truth (simulated)")
        axes.set_xticks(place, [str(row["decile"]) for row in rows])
        axes.grid(axis="x", visible=False)
        label(
            axes,
            "decile of predicted uplift, best first",
            f"uplift of {outcome}\nper 1,000 decision points",
        )
        legend(figure, 3)

    return svg("deciles", "Predicted and measured uplift by decile.", (7.2, 3.8), paint)
