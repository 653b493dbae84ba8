"""Qini curve: gain of giving an arm to the best share of decision points."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from offline_eval.plots.numbers import PER, numbers
from offline_eval.plots.style import COLORS, GREY, label, legend, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["qini_plot"]

_DASHES = ("-", "--", "-.", ":")


def qini_plot(arms: Mapping[str, Mapping[str, Any]], outcome: str) -> str:
    """Draw a Qini curve for each arm with its interval and its diagonal of random targeting.

    Parameters
    ----------
    arms : by arm, ``curve``: lists ``share``, ``gain``, ``lower``, ``upper``
    outcome : name of what is gained
    """

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        for index, (arm, part) in enumerate(arms.items()):
            _draw(axes, arm, part["curve"], index)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter("{x:.0f} %")
        label(
            axes,
            "decision points that get the request, best first",
            f"{outcome} gained\nper 1,000 decision points",
        )
        legend(figure, 2)

    description = "Qini curve: gain against the share of decision points that get the request."
    return svg("qini", description, (5.6, 4.0), paint)


def _draw(axes: "Axes", arm: str, curve: Mapping[str, Any], index: int) -> None:
    share = numbers(curve["share"], 100)
    gain, lower, upper = (numbers(curve[key], PER) for key in ("gain", "lower", "upper"))
    color, dashes = COLORS[index % len(COLORS)], _DASHES[index % len(_DASHES)]
    axes.fill_between(share, lower, upper, color=color, alpha=0.14, linewidth=0)
    axes.plot(share, gain, dashes, color=color, linewidth=2, label=f"{arm}, best first")
    ends = [float(gain[0]), float(gain[-1])]
    axes.plot([0, 100], ends, color=color, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.plot([], [], color=color, linewidth=0.9, linestyle=(0, (2, 2)), label=f"{arm}, at random")
