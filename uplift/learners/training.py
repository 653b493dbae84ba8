"""What a learner is fitted on: checked rows of a trial, binned once, in folds by user."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
from scipy.special import expit

from uplift.arrays import BoolArray, Float32Array, FloatArray, IntArray
from uplift.binned import BinnedRows
from uplift.boosting import BoostedModel, BoostParams, BoostTask, Objective, to_mean
from uplift.cross_fit import Boosted, FoldedRows, fold_of
from uplift.hashing import hash_uniform
from uplift.learners.inputs import to_arms, to_groups, to_propensity, to_vector
from uplift.propensity import arm_propensities

__all__ = ["Training", "fitted_shift"]

_NEWTON_STEPS = 50
#: Samples hash by other seeds than folds and splits do.
_SAMPLE = 1 << 41


@dataclass(frozen=True, eq=False)
class Training:
    """Checked rows of a trial; boosters of all its tasks share the binned rows.

    Attributes
    ----------
    rows : features of the rows
    rows_with_arm : the same with the arm as a last feature
    y : (n,) outcome
    treatment : (n,) arm, 0 .. A
    groups : (n,) label of each row's cluster
    weight : (n,) weights, or none
    propensity : none, or (n,) of the logged arm, as given; or (n, A + 1) as it is used
    clip : propensities are held between this and 1 minus this
    earlier : boosters of an earlier fit, by name, that those of this one go on from
    """

    rows: FoldedRows
    rows_with_arm: FoldedRows
    y: FloatArray
    treatment: IntArray
    groups: np.ndarray
    weight: FloatArray | None = None
    propensity: FloatArray | None = None
    clip: float = 0.01
    earlier: Mapping[str, BoostedModel] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        X: Float32Array,
        types: tuple[str, ...],
        y: Any,
        treatment: Any,
        *,
        propensity: Any,
        weight: Any,
        groups: Any,
        n_folds: int,
        params: BoostParams,
        clip: float,
    ) -> "Training":
        """Check what a learner is given beside X; see `UpliftLearner.fit`."""
        n = len(X)
        outcome = to_vector(y, "y", n)
        sizes = None if weight is None else to_vector(weight, "sample_weight", n, low=0.0)
        arm = to_arms(treatment, n, sizes)
        clusters = to_groups(groups, n)
        folds = fold_of(clusters, n_folds, params.seed)

        def rows(types: tuple[str, ...], extra: Float32Array | None) -> FoldedRows:
            options = {"max_bin": params.max_bin, "n_threads": params.n_threads}
            return FoldedRows(BinnedRows(X, types, extra=extra, **options), folds, params)

        given = None if propensity is None else to_propensity(propensity, arm)
        armed = rows((*types, "c"), arm.astype(np.float32))
        return cls(rows(types, None), armed, outcome, arm, clusters, sizes, given, clip)

    @property
    def n_arms(self) -> int:
        """Number of arms beside arm 0."""
        return int(self.treatment.max())

    @property
    def arms(self) -> range:
        """The arms beside arm 0."""
        return range(1, self.n_arms + 1)

    @cached_property
    def cluster(self) -> IntArray:
        """Code of each row's group, (n,)."""
        return np.unique(self.groups, return_inverse=True)[1]

    @cached_property
    def objective(self) -> Objective:
        """The loss of the outcome: logistic if it is only 0 and 1, else squared error."""
        binary = bool(np.isin(self.y, (0.0, 1.0)).all())
        return "binary:logistic" if binary else "reg:squarederror"

    @property
    def outcome_task(self) -> BoostTask:
        """The task of boosting the outcome itself."""
        return BoostTask(self.y, self.objective, self.weight)

    def effect_task(self, pseudo: FloatArray, weight: FloatArray | None = None) -> BoostTask:
        """Return the task of boosting a pseudo-outcome whose mean is the effect.

        Held in float32, as XGBoost holds it.
        """
        both = [w.astype(np.float32) for w in (self.weight, weight) if w is not None]
        weights = reduce(np.multiply, both) if both else None
        return BoostTask(pseudo.astype(np.float32), "reg:squarederror", weights)

    def boost(self, name: str, task: BoostTask, *arms: int) -> Boosted:
        """Cross-fit a task on the rows of some arms (all by default), and boost them whole.

        On top of the earlier booster of that name, where there is one: from its margins, moved by
        the constant that fits these rows best, for as many rounds as the held-out folds ask for.
        """
        return self._boost(self.rows, name, task, *self._of(arms))

    def cross_fit(self, task: BoostTask, *arms: int) -> Boosted:
        """Cross-fit a task on the rows of some arms (all by default)."""
        return self.rows.cross_fit(task, *self._of(arms))

    def boost_with_arm(self, name: str, task: BoostTask) -> Boosted:
        """Boost a task on all rows with the arm as a feature, as `boost` does."""
        return self._boost(self.rows_with_arm, name, task, *self._of(()))

    def out_of_fold(self, fitted: Boosted) -> FloatArray:
        """Return the (n,) margin of every row by the booster that has not seen its fold."""
        return self.rows.out_of_fold(fitted)

    def mean_out_of_fold(self, fitted: Boosted) -> FloatArray:
        """Return the (n,) expected outcome by the booster that has not seen the row's fold."""
        return to_mean(self.out_of_fold(fitted), self.objective)

    def with_outcome(self, y: FloatArray) -> "Training":
        """Return the same rows with another outcome; what is binned stays binned."""
        return replace(self, y=y)

    def with_params(self, params: BoostParams) -> "Training":
        """Return the same rows for other boosting parameters, binned as they are."""
        rows, armed = (replace(r, params=params) for r in (self.rows, self.rows_with_arm))
        return replace(self, rows=rows, rows_with_arm=armed)

    @property
    def propensities(self) -> FloatArray:
        """Probability of every arm, (n, A + 1): see `with_propensities`."""
        if self.propensity is None or self.propensity.ndim != 2:
            raise RuntimeError("propensities were not found yet; ask with_propensities first.")
        return self.propensity

    def with_propensities(self) -> "Training":
        """Return the training with the probability of every arm, clipped, as it is used."""
        return replace(self, propensity=arm_propensities(self))

    def sample(self, most_rows: int, seed: int) -> "Training":
        """Return the training on some of the groups, whole ones, that have about so many rows."""
        share = most_rows / len(self.y)
        if share >= 1:
            return self
        chosen = np.flatnonzero(hash_uniform(self.groups, seed + _SAMPLE) < share)
        arm, folds = self.treatment[chosen], self.rows.folds[chosen]
        spread = [len(np.unique(folds[arm == a])) for a in (0, *self.arms)]
        if min(spread) < len(np.unique(self.rows.folds)):
            return self  # an arm is too rare to do with fewer rows
        rows, armed = (
            replace(r, binned=r.binned.take(chosen), folds=r.folds[chosen])
            for r in (self.rows, self.rows_with_arm)
        )
        columns = ("y", "treatment", "groups", "weight", "propensity")
        given: dict[str, Any] = {name: getattr(self, name) for name in columns}
        kept: dict[str, Any] = {n: None if v is None else v[chosen] for n, v in given.items()}
        return replace(self, rows=rows, rows_with_arm=armed, **kept)

    def outside(self, fold: int) -> "Training":
        """Return the training as if a fold's users were not there; arrays stay as long."""
        rows, armed = (replace(r, outside=fold) for r in (self.rows, self.rows_with_arm))
        return replace(self, rows=rows, rows_with_arm=armed)

    def inside(self, *arms: int) -> BoolArray:
        """Tell which rows weigh anything, are of some arms (all by default), and not outside."""
        chosen = np.isin(self.treatment, arms) if arms else np.ones(len(self.y), dtype=bool)
        if self.weight is not None:
            chosen &= self.weight > 0
        if self.rows.outside is not None:
            chosen &= self.rows.folds != self.rows.outside
        return chosen

    def _boost(
        self, rows: FoldedRows, name: str, task: BoostTask, key: str, index: IntArray
    ) -> Boosted:
        earlier = self.earlier.get(name)
        if earlier is None:
            return rows.boost(task, key, index)
        known = rows.margin(earlier, index)
        base = known if task.base_margin is None else known + task.base_margin
        shift = fitted_shift(task, base, index)
        on_top = replace(task, base_margin=base, intercept=shift)
        return rows.boost(on_top, key, index).after(earlier)

    def _of(self, arms: tuple[int, ...]) -> tuple[str, IntArray]:
        """Name and index the rows that a task is about."""
        arms = () if len(arms) > self.n_arms else arms
        name = f"arm {', '.join(map(str, arms))}" if arms else "all arms"
        return name, np.flatnonzero(self.inside(*arms))


def fitted_shift(task: BoostTask, base: FloatArray, rows: BoolArray | IntArray) -> float:
    """Return the constant that, added to the base margin, makes the mean prediction that of y."""
    y, margin = task.y[rows], base[rows]
    weight = np.ones(len(y)) if task.weight is None else task.weight[rows]
    if task.objective != "binary:logistic":
        return float(np.average(y - margin, weights=weight))
    shift = 0.0
    for _ in range(_NEWTON_STEPS):
        p = expit(margin + shift)
        step = float(np.clip(weight @ (y - p) / max(weight @ (p * (1 - p)), 1e-12), -1, 1))
        shift += step
        if abs(step) < 1e-10:
            break
    return shift
