"""Price and spend over the day."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, numbers
from offline_eval.plots.style import BLACK, BLUE, SKY, label, svg
from uplift.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["price_plot"]


def price_plot(prices: Sequence[Mapping[str, Any]], outcome: str) -> str:
    """Draw the price of each window over the day, and its spend against its capacity below.

    Parameters
    ----------
    prices : at least two windows, ``window`` (seconds after midnight UTC), ``price``,
        ``capacity`` (None where unlimited), ``spend``, and ``rule_spend`` where it is known
    outcome : name of what is gained
    """
    start = numbers((row["window"] for row in prices), 1 / 3600)
    edges = np.append(start, start[-1] + (start[-1] - start[-2]))
    price = numbers((row.get("price") for row in prices), PER)
    keys = ("spend", "capacity", "rule_spend")
    spend, capacity, rule = (numbers(row.get(key) for row in prices) for key in keys)

    def paint(figure: "Figure") -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
        above.stairs(price, edges, color=BLUE, linewidth=2, baseline=None)
        above.set_ylim(0, _headroom(price))
        label(above, "", f"price: {outcome}\nper 1,000 requests")
        _draw_spend(below, edges, spend, capacity, rule)
        label(below, "hour of the day, UTC", "planned requests\nper window")
        below.set_xlim(edges[0], edges[-1])
        below.set_xticks(np.arange(np.ceil(edges[0] / 3) * 3, edges[-1] + 1e-9, 3))
        figure.align_ylabels()

    return svg("prices", "Price of a request and spend over the day.", (10, 4.8), paint)


def _draw_spend(
    axes: "Axes", edges: FloatArray, spend: FloatArray, capacity: FloatArray, rule: FloatArray
) -> None:
    width, top = np.diff(edges), _headroom(np.append(spend, rule))
    name = "hindsight" if np.isfinite(rule).any() else "spend"
    axes.bar(edges[:-1], spend, width, align="edge", color=SKY, edgecolor="white", label=name)
    if np.isfinite(rule).any():
        axes.plot(edges[:-1] + width / 2, rule, "D", color=BLUE, markersize=4.5, label="rule")
    if np.isfinite(capacity).any():
        axes.stairs(capacity, edges, color=BLACK, linestyle="--", baseline=None, label="capacity")
        top = max(top, _headroom(capacity))
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(loc="upper left", ncols=3)
    axes.set_ylim(0, top)


def _headroom(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) * 1.25 if len(finite) and finite.max() > 0 else 1.0
