"""Plots of a report: its parts in, one SVG text out.

Nothing is drawn on import: matplotlib is loaded by the functions, its style is local to them, and
the same part gives the same bytes.
"""

from offline_eval.plots.budget import budget_plot
from offline_eval.plots.calibration import calibration_plot
from offline_eval.plots.deciles import deciles_plot
from offline_eval.plots.dependence import dependence_plot
from offline_eval.plots.forest import forest_plot
from offline_eval.plots.frontier import frontier_plot
from offline_eval.plots.importance import importance_plot
from offline_eval.plots.prices import price_plot
from offline_eval.plots.qini import qini_plot
from offline_eval.plots.rates import rates_plot
from offline_eval.plots.served import served_plot
from offline_eval.plots.weights import weights_plot

__all__ = [
    "budget_plot",
    "calibration_plot",
    "deciles_plot",
    "dependence_plot",
    "forest_plot",
    "frontier_plot",
    "importance_plot",
    "price_plot",
    "qini_plot",
    "rates_plot",
    "served_plot",
    "weights_plot",
]
