"""Folds by user, and boosters of which each leaves one fold out."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np
import xgboost as xgb

from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.binned import BinnedRows, chunks
from uplift.boosting import BoostedModel, BoostParams, BoostTask, train, train_watched
from uplift.errors import InputError
from uplift.hashing import hash_uniform

__all__ = ["MOST_FOLDS", "Boosted", "FoldedRows", "fold_masks", "fold_of"]

#: Folds hash by other seeds than splits do, or a split's users would crowd in a few folds.
_FOLDS = 1 << 40
#: Folds are numbered below this.
MOST_FOLDS = 1 << 15


def fold_of(groups: np.ndarray, n_folds: int, seed: int) -> IntArray:
    """Return the fold of each row, (n,) in 0 .. n_folds - 1; a group is never divided."""
    return (hash_uniform(groups, seed + _FOLDS) * n_folds).astype(np.int16)


def fold_masks(folds: IntArray) -> Iterator[BoolArray]:
    """Yield, fold by fold, which rows are held out; empty folds are left out."""
    for fold in np.unique(folds):
        yield folds == fold


@dataclass(frozen=True)
class Boosted:
    """Boosters of one task: for each fold the one that has not seen it, and one of all rows.

    Attributes
    ----------
    without : by fold, the booster trained on the other folds
    rounds : number of trees in each: that of the least mean held-out loss; fewer in a booster whose
        held-out fold stopped it before
    whole : the booster trained on all folds, where it was asked for
    """

    without: dict[int, BoostedModel]
    rounds: int
    whole: BoostedModel | None = None

    def after(self, earlier: BoostedModel) -> "Boosted":
        """Return the boosters on top of the earlier one whose margin they were trained on."""
        without = {fold: earlier.followed_by(model) for fold, model in self.without.items()}
        whole = None if self.whole is None else earlier.followed_by(self.whole)
        return Boosted(without, earlier.rounds + self.rounds, whole)


@dataclass(frozen=True, eq=False)
class FoldedRows:
    """Binned rows in folds: what boosters are cross-fitted on.

    Attributes
    ----------
    binned : the rows' features
    folds : (n,) fold of each row
    params : of the boosting
    outside : a fold that is left out of everything, as if its users were not there
    """

    binned: BinnedRows
    folds: IntArray
    params: BoostParams
    outside: int | None = None

    def boost(self, task: BoostTask, key: str, rows: IntArray) -> Boosted:
        """Cross-fit a task, then boost all its rows for the same number of rounds."""
        fitted = self.cross_fit(task, key, rows)
        whole = self._train(task, key, rows, fitted.rounds, set())
        return Boosted(fitted.without, fitted.rounds, whole)

    def cross_fit(self, task: BoostTask, key: str, rows: IntArray) -> Boosted:
        """Boost a task without each fold in turn, for the rounds that the held-out folds ask for.

        The fold left out is scored round by round; the round with the least mean held-out loss,
        weighted by the folds' weights, is where all stop. No improvement over no tree at all means
        0 rounds: the intercept alone.

        Parameters
        ----------
        task : what is boosted
        key : names the rows; equal keys mean equal rows
        rows : index of the rows that the task is about, none of them of the fold outside

        Raises
        ------
        InputError
            The rows all fall in one fold.
        """
        folds = self.folds[rows]
        self._check(folds, key)
        watched = {k: self._watched(task, key, rows, int(k)) for k in np.unique(folds)}
        weight = np.ones(len(rows)) if task.weight is None else task.weight[rows]
        losses = [(weight[folds == k].sum(), loss) for k, (_, loss) in watched.items()]
        rounds = _best_rounds(losses)
        boosters = {int(k): booster for k, (booster, _) in watched.items() if rounds}
        models = {
            k: BoostedModel(b[: min(rounds, b.num_boosted_rounds())], self.binned.types)
            for k, b in boosters.items()
        }
        for fold in map(int, np.unique(self.folds)):  # of no round, or with none of these rows
            if fold not in models and fold != self.outside:
                models[fold] = self._train(task, key, rows[folds != fold], rounds, {fold})
        return Boosted(models, rounds)

    def out_of_fold(self, fitted: Boosted) -> FloatArray:
        """Return the margin of every row, (n,), by the booster that has not seen its fold.

        NaN in the fold outside.
        """
        margin = np.full(len(self.folds), np.nan)
        for fold, model in fitted.without.items():
            self._put_margin(model, np.flatnonzero(self.folds == fold), margin)
        return margin

    def margin(self, model: BoostedModel, rows: IntArray) -> FloatArray:
        """Return the margin of the rows of an index by one booster, (n,); NaN elsewhere."""
        margin = np.full(len(self.folds), np.nan)
        self._put_margin(model, rows, margin)
        return margin

    def _put_margin(self, model: BoostedModel, rows: IntArray, margin: FloatArray) -> None:
        for chunk in chunks(rows):
            margin[chunk] = model.margin(self.binned.gather(chunk))

    def _train(
        self, task: BoostTask, key: str, rows: IntArray, rounds: int, without: set[int]
    ) -> BoostedModel:
        matrix = self.binned.matrix(self._part(key, without), rows)
        return BoostedModel(train(task, matrix, rows, self.params, rounds), self.binned.types)

    def _watched(
        self, task: BoostTask, key: str, rows: IntArray, fold: int
    ) -> tuple[xgb.Booster, list[float]]:
        """Boost without a fold until its held-out loss no longer improves."""
        held = self.folds[rows] == fold
        fit, test = rows[~held], rows[held]
        matrix = self.binned.matrix(self._part(key, {fold}), fit)
        watch = self.binned.matrix((key, fold), test)
        return train_watched(task, matrix, fit, watch, test, self.params)

    def _part(self, key: str, without: set[int]) -> Hashable:
        """Name the rows of a key without some folds."""
        return key, frozenset(without if self.outside is None else without | {self.outside})

    def _check(self, folds: IntArray, key: str) -> None:
        if len(np.unique(folds)) < 2:
            raise InputError(
                f"the {len(folds)} rows of {key} fall in one fold; expected groups in at least "
                "two: use more users, or another seed."
            )


def _best_rounds(losses: list[tuple[float, list[float]]]) -> int:
    """Return the rounds of least mean loss; a fold that stopped early keeps its last loss."""
    length = max(len(curve) for _, curve in losses)
    padded = [curve + curve[-1:] * (length - len(curve)) for _, curve in losses]
    return int(np.argmin(np.average(padded, axis=0, weights=[w for w, _ in losses])))
