"""How every plot looks, and how it becomes SVG that can stand in a page beside others."""

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "COLORS",
    "GREEN",
    "GREY",
    "ORANGE",
    "SKY",
    "VERMILION",
    "label",
    "legend",
    "svg",
]

# Okabe and Ito's palette: told apart with any colour vision. Markers and dashes differ as well,
# for grey print.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILION, SKY, PURPLE, BLACK, GREY = "#D55E00", "#56B4E9", "#CC79A7", "#1a1a1a", "#6b7280"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9aa1ab",
    "axes.grid": True,
    "axes.labelcolor": "#374151",
    "axes.labelsize": 9.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",  # text stays text: small, searchable, read aloud
    "text.parse_math": False,  # names of arms may hold a dollar sign
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
}
# Widths are measured with DejaVu Sans, the widest of these, so no text outgrows its place.
_FONTS = "'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"


def svg(
    name: str, description: str, size: tuple[float, float], paint: Callable[["Figure"], None]
) -> str:
    """Paint a figure and return it as SVG text that can be inlined.

    Parameters
    ----------
    name : prefix of all ids, which makes them unique in a page of several figures
    description : what is seen, for those who do not see it
    size : width and height in inches
    paint : draws on the figure that it is given
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with style.context(["default", {**_STYLE, "svg.hashsalt": name}]):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return _inlined(buffer.getvalue(), name, description)


def label(axes: "Axes", x: str, y: str, title: str = "") -> None:
    """Name the axes, with their units."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if title:
        axes.set_title(title)


def legend(figure: "Figure", columns: int) -> None:
    """Explain the first panel above the plot, where it covers nothing."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    if names:
        figure.legend(handles, names, loc="outside upper left", ncols=columns)


def _inlined(text: str, name: str, description: str) -> str:
    """Drop the document's head, prefix the ids, and say what the picture is."""
    body = text[text.index("<svg") :]
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace("'DejaVu Sans', sans-serif", _FONTS)
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1).strip()
