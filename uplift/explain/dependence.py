"""How a model's uplift goes with one feature, all others as they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from uplift.arrays import Float32Array, FloatArray
from uplift.errors import InputError
from uplift.explain.subject import Subject

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PartialDependence", "partial_dependence"]


@dataclass(frozen=True)
class PartialDependence:
    """Uplift over the values of one feature.

    Attributes
    ----------
    feature : name of the feature
    values : (G,) numbers in rising order, or codes of categories; at the end NaN for missing,
        where it occurs
    labels : categories by name; none for a quantity
    share : (G,) share of the rows at each point; of a quantity, of the rows nearest to it
    mean : (G,) mean uplift of all rows had they this value
    low, high : (G,) between these lies the uplift of the middle 80 % of the rows
    """

    feature: str
    values: FloatArray
    labels: tuple[str, ...] | None
    share: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Return the columns by name."""
        return dict(vars(self))

    def to_frame(self) -> "pd.DataFrame":
        """Return a row a value."""
        import pandas as pd

        columns = {k: v for k, v in self.to_dict().items() if v is not None}
        return pd.DataFrame(columns)


def partial_dependence(
    subject: Subject, feature: str, *, points: int = 20, rows: int = 2_000, seed: int = 0
) -> PartialDependence:
    """Average the uplift over rows with one feature set to each of its values.

    ``PD(v) = mean_i tau(x_i with x_ij = v)``

    The values of a quantity are its quantiles from 1 % to 99 % (all of its values where they are
    few), those of a category the most frequent ones; missing is a value of its own where it occurs.
    `low` and `high` are the 10 % and 90 % quantiles of ``tau(x_i with x_ij = v)``: where they run
    apart, the feature works differently in different rows.

    There is no interval: this is the model as it is. How sure the *data* are of a slope is told by
    `best_linear_projection`. Where features go together, rows are made that never occur; `share`
    says where the data lie.

    Parameters
    ----------
    subject : the uplift and its rows
    feature : name of the feature
    points : most values, missing not counted
    rows : most rows averaged over, drawn at random
    seed : of the draw

    Raises
    ------
    InputError
        The feature is unknown, or points or rows are fewer than 1.

    Notes
    -----
    Friedman, "Greedy function approximation", Annals of Statistics 2001; single rows: Goldstein et
    al., "Peeking inside the black box", JCGS 2015.
    """
    if points < 1 or rows < 1:
        raise InputError(f"points is {points}, rows {rows}; expected at least 1 of each.")
    place, n = subject.place(feature), len(subject.X)
    column = subject.X[:, place]
    categories = subject.vocabulary.get(feature)
    values = _quantiles(column, points) if categories is None else _frequent(column, points)
    chosen = np.sort(np.random.default_rng(seed).choice(n, min(rows, n), replace=False))
    part = subject.take(chosen)
    single = [part.with_column(place, np.broadcast_to(v, len(chosen))) for v in values]
    low, high = np.quantile(single, [0.1, 0.9], axis=1)
    labels = None if categories is None else tuple(_label(v, categories) for v in values)
    share = _nearest_share(column, values)
    mean = np.mean(single, axis=1)
    return PartialDependence(feature, values.astype(float), labels, share, mean, low, high)


def _quantiles(column: Float32Array, points: int) -> Float32Array:
    """Values that occur, from the least to the greatest; at the end NaN where it occurs."""
    known = np.unique(column[~np.isnan(column)])
    if len(known) > points:
        levels = np.linspace(0.01, 0.99, points) if points > 1 else [0.5]
        present = column[~np.isnan(column)]
        known = np.unique(np.quantile(present, levels, method="closest_observation"))
    return _with_missing(known, column)


def _frequent(column: Float32Array, points: int) -> Float32Array:
    codes, count = np.unique(column[~np.isnan(column)], return_counts=True)
    return _with_missing(np.sort(codes[np.argsort(-count, kind="stable")[:points]]), column)


def _with_missing(known: np.ndarray, column: Float32Array) -> Float32Array:
    missing = column[np.isnan(column)][:1]
    return np.concatenate([known, missing]).astype(np.float32)


def _nearest_share(column: Float32Array, values: Float32Array) -> FloatArray:
    """Share of the rows that are nearest to each value; the missing are nearest to NaN."""
    known, missing = values[~np.isnan(values)], np.isnan(column)
    edges = (known[1:] + known[:-1]) / 2
    place = np.where(missing, len(values) - 1, np.searchsorted(edges, column))
    share: FloatArray = np.bincount(place, minlength=len(values)) / len(column)
    return share


def _label(code: float, categories: Any) -> str:
    return "missing" if np.isnan(code) else str(categories[int(code)])
