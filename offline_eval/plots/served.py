"""Where in a session the rule's requests go."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, numbers
from offline_eval.plots.style import COLORS, label, legend, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["served_plot"]

_MOST_PAGES = len(COLORS)


def served_plot(places: Sequence[Mapping[str, Any]]) -> str:
    """Draw the share of decision points that get a request, by position, a line a page.

    Parameters
    ----------
    places : rows with ``page``, ``position``, ``points``, ``requests``; at most six pages are drawn
    """
    page, position, points, requests = (
        numbers(row[key] for row in places) for key in ("page", "position", "points", "requests")
    )
    pages = np.unique(page)[:_MOST_PAGES]

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        for color, one in zip(COLORS, pages, strict=False):
            on = page == one
            last = one == page.max() > 0
            axes.plot(
                position[on],
                PER * requests[on] / points[on],
                color=color,
                marker="o",
                markersize=3.5,
                label=f"page {one:.0f}{' and later' if last else ''}",
            )
        axes.set_ylim(bottom=0)
        label(axes, "position in the page", "requests per\n1,000 decision points")
        legend(figure, _MOST_PAGES)

    return svg("served", "Share of decision points with a request, by place.", (10, 3.4), paint)
