"""Gain against requests: families of policies as lines, single policies as points."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, error_bars, numbers, percent, policy_name
from offline_eval.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, label, legend, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frontier_plot"]

Table = Mapping[str, Any]

_LINES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."))
_POINTS = {
    "plan": ("*", BLUE, 14.0),
    "never": ("o", BLACK, 7.0),
    "random": ("s", GREY, 7.0),
    "fixed": ("D", VERMILION, 7.0),
}
_ALWAYS = "^v<>"
_ROOM = 1.3


def frontier_plot(
    frontiers: Sequence[Table],
    value: Mapping[str, Table],
    saving: Table | None,
    outcome: str,
) -> str:
    """Draw gain against requests, both per 1,000 decision points.

    Where a policy spends far more than those that the plan competes with, a second panel shows
    the whole range and the first one the part that decides.

    Parameters
    ----------
    frontiers : families with lists ``requests``, ``gain``, ``lower``, ``upper``; the plan's first
    value : by policy, estimates ``gain`` and ``requests``; a policy without a gain is left out
    saving : requests saved at equal effect: ``against``, ``reference_requests``, ``requests``,
        ``of_extra``; drawn as an arrow
    outcome : name of what is gained
    """
    points = {n: p for n, p in value.items() if _drawn(n) and _known(p)}
    reach, whole = _reach(frontiers, points)
    several = whole > 1.5 * reach

    def paint(figure: "Figure") -> None:
        panels = figure.subplots(
            1, 2 if several else 1, squeeze=False, width_ratios=_widths(several)
        )
        for axes in panels[0]:
            _draw(axes, frontiers, points)
            label(axes, "extra requests per 1,000 decision points", "")
        main = panels[0, 0]
        main.set_ylabel(f"{outcome} gained\nper 1,000 decision points")
        _draw_saving(main, points, saving)
        if several:
            _zoom(main, reach, frontiers, points)
            main.set_title("Where the plan competes")
            panels[0, 1].set_title("Whole range")
            panels[0, 1].set_xlabel("extra requests per 1,000")
        legend(figure, 4)

    return svg("frontier", "Gain against extra requests.", (10, 5.0), paint)


def _widths(several: bool) -> list[float]:
    return [2.3, 1.0] if several else [1.0]


def _drawn(name: str) -> bool:
    return name in _POINTS or name.startswith("always")


def _known(policy: Table) -> bool:
    return all(policy.get(key, {}).get("value") is not None for key in ("gain", "requests"))


def _reach(frontiers: Sequence[Table], points: Mapping[str, Table]) -> tuple[float, float]:
    """Return how far right the part that decides goes, and the whole."""
    spent = {name: PER * policy["requests"]["value"] for name, policy in points.items()}
    ends = [float(np.nanmax(numbers(f["requests"], PER))) for f in frontiers]
    whole = max([*spent.values(), *ends], default=0.0)
    decides = [x for name, x in spent.items() if not name.startswith("always")]
    reach = _ROOM * max(decides, default=0.0)
    return reach or whole, whole


def _draw(axes: "Axes", frontiers: Sequence[Table], points: Mapping[str, Table]) -> None:
    for index, family in enumerate(frontiers):
        _draw_family(axes, family, index)
    axes.axhline(0, color=GREY, linewidth=0.8)
    for index, (name, policy) in enumerate(points.items()):
        look = (_ALWAYS[index % len(_ALWAYS)], BLACK, 8.0)
        marker, color, size = _POINTS.get(name, look)
        axes.errorbar(
            PER * policy["requests"]["value"],
            PER * policy["gain"]["value"],
            yerr=error_bars(policy["gain"], PER),
            fmt=marker,
            color=color,
            markersize=size,
            markeredgecolor="white",
            markeredgewidth=0.8,
            elinewidth=1.5,
            capsize=2.5,
            label=policy_name(name),
            zorder=4,
        )


def _draw_family(axes: "Axes", family: Table, index: int) -> None:
    color, dashes = _LINES[index % len(_LINES)]
    requests = numbers(family["requests"], PER)
    if index == 0:
        lower, upper = (numbers(family[key], PER) for key in ("lower", "upper"))
        axes.fill_between(
            requests,
            lower,
            upper,
            color=color,
            alpha=0.14,
            linewidth=0,
            label="95 % interval of the plan's rule",
        )
    name = "the plan's rule, any price" if family["name"] == "plan" else None
    axes.plot(
        requests,
        numbers(family["gain"], PER),
        dashes,
        color=color,
        linewidth=2,
        label=name or f"{policy_name(str(family['name'])).lower()}, any price",
    )


def _draw_saving(axes: "Axes", points: Mapping[str, Table], saving: Table | None) -> None:
    """Draw an arrow at the reference's gain, from its requests to those that the family needs."""
    if saving is None or saving.get("requests") is None or saving["against"] not in points:
        return
    gain = PER * points[saving["against"]]["gain"]["value"]
    needed, spent = PER * saving["requests"], PER * saving["reference_requests"]
    arrow = {"arrowstyle": "-|>", "color": BLACK, "linewidth": 1.3, "shrinkA": 6, "shrinkB": 0}
    axes.annotate("", (needed, gain), (spent, gain), arrowprops=arrow, zorder=5)
    share = saving["of_extra"]["value"]
    words = f"{percent(abs(share))} {'fewer requests' if share >= 0 else 'more requests'}"
    axes.annotate(
        words,
        ((needed + spent) / 2, gain),
        (0, -5),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=9,
        bbox={
            "boxstyle": "square,pad=0.15",
            "facecolor": "white",
            "edgecolor": "none",
            "alpha": 0.8,
        },
        zorder=5,
    )


def _zoom(
    axes: "Axes", reach: float, frontiers: Sequence[Table], points: Mapping[str, Table]
) -> None:
    """Show the requests up to `reach`, and all gains with their intervals there."""
    seen = [0.0]
    for index, family in enumerate(frontiers):
        requests = numbers(family["requests"], PER)
        grid = np.append(requests[requests <= reach], reach)
        for key in ("lower", "upper") if index == 0 else ("gain",):
            seen.extend(np.interp(grid, requests, numbers(family[key], PER)))
    for policy in points.values():
        if PER * policy["requests"]["value"] <= reach:
            bars = error_bars(policy["gain"], PER)[:, 0]
            gain = PER * policy["gain"]["value"]
            seen.extend([gain - bars[0], gain + bars[1]])
    low, high = np.nanmin(seen), np.nanmax(seen)
    room = 0.06 * (high - low)
    axes.set_xlim(-0.02 * reach, reach)
    axes.set_ylim(low - room, high + room)
