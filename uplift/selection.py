"""Which learner: causal losses on predictions of users that were not learned from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.stats import norm

from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.clusters import LEVEL, Estimate, ratio_estimate
from uplift.cross_fit import fold_masks
from uplift.curves import qini_curve
from uplift.effects import effect_scores

__all__ = ["Choice", "Judge", "choose", "is_told"]

_RIDGE = 1e-9
#: Of the mean variance of the outcome: no row is taken to have less, nor to be told better.
_LEAST_VARIANCE = 0.01
_DRAWS = 100
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Judge:
    """What out-of-fold uplifts are judged by.

    Losses are told as gains, by how much a prediction's loss is below that of "no effect": the
    noise of the outcome, which is most of a loss, is in both.

    Attributes
    ----------
    effect : (n, A) doubly robust scores of each arm's effect
    residual : (n,) outcome less its out-of-fold mean given x alone
    left : (n, A) ``1{arm = a} - P(a | x)``
    precision : (n,) one over the variance of the outcome given x, that of the mean row 1
    cluster : (n,) codes
    weight : (n,) weights
    """

    effect: FloatArray
    residual: FloatArray
    left: FloatArray
    precision: FloatArray
    cluster: IntArray
    weight: FloatArray

    @classmethod
    def of(
        cls,
        y: FloatArray,
        arm: IntArray,
        propensity: FloatArray,
        outcome: FloatArray,
        cluster: IntArray,
        weight: FloatArray | None = None,
    ) -> "Judge":
        """Prepare what is the same for all candidates.

        Parameters
        ----------
        y, arm : (n,) outcome and logged arm
        propensity, outcome : (n, A + 1) probability and out-of-fold mean under each arm
        cluster, weight : (n,)
        """
        logged = propensity[np.arange(len(y)), arm]
        mean = (propensity * outcome).sum(axis=1)
        weight = np.ones(len(y)) if weight is None else weight
        return cls(
            effect_scores(y, arm, logged, outcome),
            y - mean,
            (arm[:, None] == np.arange(1, propensity.shape[1])) - propensity[:, 1:],
            _precision(y, mean, weight),
            cluster,
            weight,
        )

    def r_gain(self, uplift: FloatArray) -> FloatArray:
        """Return by how much each row's R-loss is below that of no effect, (n,).

        ``(r^2 - (r - sum_a (1{arm = a} - p_a) tau_a)^2) / v`` with the residual outcome r and its
        variance v given x. Its mean is highest for the true effect, whatever v; with the right v
        the mean has the least error. Where purchases are rare a row without hope of one tells
        many times more of its small effect than a row with hope does of its large one.
        """
        part = self._part(uplift)
        return self.precision * part * (2 * self.residual - part)

    def dr_gain(self, uplift: FloatArray) -> FloatArray:
        """Return by how much each row's DR-loss is below that of no effect, (n,).

        ``sum_a phi_a^2 - (phi_a - tau_a)^2`` with the scores phi. Its mean is highest for the
        true effect.
        """
        gain: FloatArray = (uplift * (2 * self.effect - uplift)).sum(axis=1)
        return gain

    def mean(self, rows: FloatArray) -> Estimate:
        """Estimate the weighted mean of (n,) rows, clustered."""
        return ratio_estimate(self.weight * rows, self.weight, self.cluster)

    def qini(self, uplift: FloatArray) -> Estimate:
        """Return the Qini area of an uplift when every row gets the arm that it thinks best."""
        rows, best = np.arange(len(uplift)), uplift.argmax(axis=1)
        score, effect = uplift[rows, best], self.effect[rows, best]
        return qini_curve(score, effect, self.cluster, weight=self.weight, draws=_DRAWS).area

    def mix(self, uplifts: Sequence[FloatArray], rows: BoolArray) -> FloatArray:
        """Return weights >= 0 of the sum of uplifts that has the least R-loss on some rows.

        ``argmin_{b >= 0} sum_i w_i / v_i (r_i - sum_a (1{arm_i = a} - p_ia) sum_j b_j tau_j,ia)^2``
        """
        parts = np.column_stack([self._part(uplift)[rows] for uplift in uplifts])
        size = np.sqrt((parts**2).mean(axis=0))
        parts /= np.where(size > 0, size, 1.0)
        weighted = parts * (self.weight * self.precision)[rows, None]
        gram = weighted.T @ parts
        root = np.linalg.cholesky(gram + _RIDGE * (np.trace(gram) + 1e-300) * np.eye(len(gram)))
        found, _ = nnls(root.T, np.linalg.solve(root, weighted.T @ self.residual[rows]))
        weights: FloatArray = np.where(size > 0, found / np.where(size > 0, size, 1.0), 0.0)
        return weights

    def mixed(self, uplifts: Sequence[FloatArray], folds: IntArray) -> FloatArray:
        """Return the mix of uplifts, (n, A), each fold by weights of the other folds."""
        mixed = np.empty_like(uplifts[0])
        for held in fold_masks(folds):
            weights = self.mix(uplifts, ~held)
            mixed[held] = sum(w * uplift[held] for w, uplift in zip(weights, uplifts, strict=True))
        return mixed

    def scaled_r_gain(self, uplift: FloatArray, folds: IntArray) -> float:
        """Return the mean `r_gain` of an uplift scaled by the number that serves it best."""
        return self.mean(self.r_gain(self.mixed([uplift], folds))).value

    def spread(self, uplift: FloatArray) -> float:
        """Return the standard deviation of an uplift over the rows, arms together."""
        left = uplift - np.average(uplift, axis=0, weights=self.weight)
        spread, size = (
            float(np.sqrt(np.average((u**2).sum(axis=1), weights=self.weight)))
            for u in (left, uplift)
        )
        return spread if spread > _ROUNDING * size else 0.0

    def _part(self, uplift: FloatArray) -> FloatArray:
        part: FloatArray = (self.left * uplift).sum(axis=1)
        return part


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen of several out-of-fold uplifts.

    Attributes
    ----------
    weights : weight of each uplift in what was kept, 0 if it was not kept
    r_gain, dr_gain : of each uplift, and last of their stack, by how much its mean loss is below
        that of no effect
    behind : how far each is behind the best in R-loss, paired
    qini : area above random of the Qini curve, each row under the arm that is thought best
    """

    weights: FloatArray
    r_gain: list[Estimate]
    dr_gain: list[Estimate]
    behind: list[Estimate]
    qini: list[Estimate]


def choose(
    judge: Judge, uplifts: Sequence[FloatArray], kinds: Sequence[str], folds: IntArray
) -> Choice:
    """Choose the simplest kind whose R-loss is within one standard error of the least.

    Candidates are the given uplifts, kind by kind, and last their stack. Each is scaled by one
    number before it is judged: the size is the business of calibration. The scale of a fold, and
    the weights of the stack, are found on the other folds. A kind is as near to the best as the
    nearest of its own; the first of it is kept while the log does not tell it from that best one,
    as the best of several tries owes part of its lead to luck.

    Where what is kept does not rank better than chance (the interval of its Qini area reaches 0),
    to pick one is to pick by luck: the first of each kind that cannot be told from the best, and
    does not rank backwards, are averaged then, each by one over its spread. That has less
    variance, and gives each the same say in the ranking; what is wildest would have it else.

    Parameters
    ----------
    judge : what they are judged by
    uplifts : (n, A) out-of-fold predictions, kinds from simple to less so, and the first of a kind
        the one that is tried because it is usual
    kinds : the kind of each
    folds : (n,)
    """
    scaled = [judge.mixed([uplift], folds) for uplift in uplifts]
    stacked = judge.mixed(uplifts, folds)
    r_gain = [judge.r_gain(uplift) for uplift in (*scaled, stacked)]
    means = [judge.mean(gain) for gain in r_gain]
    best = r_gain[int(np.argmax([mean.value for mean in means]))]
    behind = [judge.mean(best - gain) for gain in r_gain]
    dr_gain = [judge.mean(judge.dr_gain(uplift)) for uplift in (*scaled, stacked)]
    qini = [judge.qini(uplift) for uplift in (*uplifts, stacked)]
    kept = _simplest(kinds, behind)
    if qini[kept].lower <= 0:
        weights = _average(judge, uplifts, _first_of_each(kinds), behind)
    elif kept == len(uplifts):
        weights = judge.mix(uplifts, np.ones(len(folds), bool))
    else:
        weights = np.eye(len(uplifts))[kept]
    return Choice(weights, means, dr_gain, behind, qini)


def _average(
    judge: Judge, uplifts: Sequence[FloatArray], firsts: list[int], behind: list[Estimate]
) -> FloatArray:
    """Return weights ``~ 1 / spread_j``, of sum 1, of those that are not told from the best.

    One that says the same of all rows has no spread, and its even part of the sum.
    """
    every = np.ones(len(judge.weight), bool)
    equals = [i for i in firsts if not is_told(behind[i]) and judge.mix([uplifts[i]], every)[0]]
    equals = equals or firsts[:1]
    spread = np.array([judge.spread(uplifts[i]) for i in equals])
    flat = spread == 0
    say = 1 / np.where(flat, np.inf, spread)
    share = (1 - flat.mean()) * say / max(say.sum(), np.finfo(float).tiny)
    weights = np.zeros(len(uplifts))
    weights[equals] = np.where(flat, 1 / len(equals), share)
    return weights


def _simplest(kinds: Sequence[str], behind: list[Estimate]) -> int:
    """Return the simplest candidate that is near the best: one of a kind, or last the stack.

    Kinds in their order. Of the first kind that has one near the best: its first that is not told
    from the best.
    """
    for kind in dict.fromkeys(kinds):
        of_kind = [i for i, k in enumerate(kinds) if k == kind]
        if any(_is_near(behind[i]) for i in of_kind):
            return next(i for i in of_kind if not is_told(behind[i]))
    return len(kinds)


def _first_of_each(kinds: Sequence[str]) -> list[int]:
    return [kinds.index(kind) for kind in dict.fromkeys(kinds)]


def _is_near(behind: Estimate) -> bool:
    """Tell whether a candidate is behind the best by no more than one standard error."""
    error = (behind.upper - behind.lower) / (2 * float(norm.ppf((1 + LEVEL) / 2)))
    return behind.value <= error


def is_told(behind: Estimate) -> bool:
    """Tell whether a candidate is shown to be behind the best: the interval leaves 0 out."""
    return behind.lower > 0


def _precision(y: FloatArray, mean: FloatArray, weight: FloatArray) -> FloatArray:
    """Return one over the variance of y given x, that of the mean row 1, (n,).

    ``m (1 - m)`` of an outcome that is only 0 and 1; of another it is taken to be the same for all.
    """
    variance = mean * (1 - mean)
    typical = float(np.average(variance, weights=weight))
    if typical <= 0 or not np.isin(y, (0.0, 1.0)).all():
        return np.ones(len(y))
    precision: FloatArray = typical / np.maximum(variance, _LEAST_VARIANCE * typical)
    return precision
