"""Forest plot: the value of each policy by each estimator."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from offline_eval.plots.numbers import PER, error_bars, policy_name
from offline_eval.plots.style import (
    BLACK,
    BLUE,
    COLORS,
    GREY,
    ORANGE,
    VERMILION,
    label,
    legend,
    svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["estimators_of", "forest_plot"]

_LOOKS = {"dr": ("o", BLUE), "snips": ("s", ORANGE), "ips": ("^", VERMILION)}
_SPREAD = 0.44


def estimators_of(value: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of the estimators that any policy was valued by, in order."""
    return [name for name in _LOOKS if any(name in policy for policy in value.values())]


def forest_plot(value: Mapping[str, Mapping[str, Any]], outcome: str) -> str:
    """Draw every policy's value with intervals, and the truth where it is known.

    Parameters
    ----------
    value : by policy, an estimate for each estimator; ``true`` and ``verdict`` where there are
    outcome : name of what is valued
    """
    estimators = estimators_of(value)

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(estimators))
        for name, offset in zip(estimators, offsets, strict=True):
            _draw_estimator(axes, value, name, float(offset))
        _draw_truth(axes, value)
        _draw_never(axes, value)
        _draw_refusals(axes, value)
        axes.set_yticks(range(len(value)), [policy_name(name) for name in value])
        axes.set_ylim(len(value) - 0.45, -0.55)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        label(axes, f"{outcome} per 1,000 decision points, 95 % interval", "")
        legend(figure, 5)

    height = 1.2 + 0.48 * len(value)
    return svg("forest", "Value of each policy with its interval.", (10, height), paint)


def _draw_estimator(
    axes: "Axes", value: Mapping[str, Mapping[str, Any]], name: str, offset: float
) -> None:
    marker, color = _LOOKS.get(name, ("D", COLORS[2]))
    rows = [(row, part[name]) for row, part in enumerate(value.values()) if name in part]
    rows = [(row, estimate) for row, estimate in rows if estimate["value"] is not None]
    axes.errorbar(
        [PER * estimate["value"] for _, estimate in rows],
        [row + offset for row, _ in rows],
        xerr=np.hstack([np.empty((2, 0)), *(error_bars(e, PER) for _, e in rows)]),
        fmt=marker,
        color=color,
        markersize=5,
        elinewidth=1.6,
        label=name.upper(),
    )


def _draw_truth(axes: "Axes", value: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [
        (row, PER * part["true"])
        for row, part in enumerate(value.values())
        if "true" in part and part.get("verdict") != "refused"
    ]
    if rows:
        axes.plot(
            [truth for _, truth in rows],
            [row for row, _ in rows],
            linestyle="none",
            marker="|",
            markersize=21,
            markeredgewidth=1.8,
            color=BLACK,
        )
        axes.plot([], [], "|", color=BLACK, markersize=9, label="truth (simulated)")


def _draw_never(axes: "Axes", value: Mapping[str, Mapping[str, Any]]) -> None:
    never = value.get("never", {}).get("dr", {}).get("value")
    if never is not None:
        dots = (0, (1, 2))
        axes.axvline(PER * never, color=GREY, linestyle=dots, linewidth=1.2, label="never, by DR")


def _draw_refusals(axes: "Axes", value: Mapping[str, Mapping[str, Any]]) -> None:
    for row, part in enumerate(value.values()):
        if part.get("verdict") == "refused":
            place = axes.get_yaxis_transform()
            axes.text(0.02, row, "refused", transform=place, va="center", color=GREY)
