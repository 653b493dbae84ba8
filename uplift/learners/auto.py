"""Auto learner: several learners on the same rows, chosen or mixed by held-out causal losses."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from typing import Any, Self

import numpy as np

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import BoostedModel, BoostParams, Objective
from uplift.clusters import Estimate
from uplift.cross_fit import Boosted
from uplift.errors import InputError
from uplift.learners.base import Boosters, Prediction, UpliftLearner
from uplift.learners.dr import DRLearner
from uplift.learners.logit import LogitLearner
from uplift.learners.proportional import ProportionalLearner
from uplift.learners.r import RLearner
from uplift.learners.s import SLearner
from uplift.learners.t import TLearner
from uplift.learners.training import Training
from uplift.learners.x import XLearner
from uplift.selection import Choice, Judge, choose

__all__ = ["AutoLearner", "Candidate"]

#: From simple to less so: the order that the rule of one standard error prefers.
_KINDS = (
    ProportionalLearner,
    SLearner,
    LogitLearner,
    TLearner,
    XLearner,
    RLearner,
    DRLearner,
)
_MEMBERS: dict[str, type[UpliftLearner]] = {kind.name: kind for kind in _KINDS}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Candidate:
    """What was found of one candidate on users that it was not fitted on.

    Attributes
    ----------
    name : the learner, numbered where it was tried with several settings; last the stack of all
    settings : boosting parameters that were not the given ones
    r_gain, dr_gain : by how much its R-loss (rows weighed by one over the variance of their
        outcome) and its DR-loss are below those of no effect
    behind : how far its R-loss is behind the best candidate's, paired
    qini : area above random of the Qini curve, each row under the arm that it thinks best
    weight : its part in what was kept, 0 if not kept; of a stack or average the members have theirs
    seconds : time to fit it
    """

    name: str
    settings: Mapping[str, Any]
    r_gain: Estimate
    dr_gain: Estimate
    behind: Estimate
    qini: Estimate
    weight: float
    seconds: float

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "Candidate":
        """Rebuild from plain values."""
        measured = ("r_gain", "dr_gain", "behind", "qini")
        return cls(**{**table, **{name: Estimate(**table[name]) for name in measured}})


@dataclass(frozen=True)
class _Fitted:
    """A candidate and what it predicts out-of-fold."""

    name: str
    settings: Mapping[str, Any]
    learner: UpliftLearner
    boosted: Mapping[str, Boosted]
    found: Prediction
    seconds: float

    def voices(self) -> Iterator[tuple[str, dict[str, BoostedModel]]]:
        """Yield, by name, what predicts new users: boosters of all rows, then without each fold."""
        kept = {key: boosted for key, boosted in self.boosted.items() if boosted.whole is not None}
        yield self.name, {key: b.whole for key, b in kept.items() if b.whole is not None}
        for fold in sorted(set.intersection(*(set(b.without) for b in kept.values()))):
            yield f"{self.name}-fold{fold}", {key: b.without[fold] for key, b in kept.items()}


class AutoLearner(UpliftLearner):
    """The learner, or the mix of learners, that held-out causal losses prefer.

    ``uplift_a(x) = sum_j w_j / (K + 1) sum_k uplift_jk,a(x)``, ``k = 0 .. K``

    Every candidate is fitted on the same binned rows and folds, and predicts each row without its
    user's fold. The best one is then tried with other boosting parameters from a seeded list. Of
    all these, and their stack (weights of the least R-loss), the simplest kind is kept that is
    within one standard error of the best. From simple to less so: proportional, s, logit, t, x, r,
    dr, stack; in a kind the given parameters while the log does not tell them from the best. The
    R-loss weighs a row by one over the variance of its outcome, so that a log of rare purchases
    tells as much as it can. Where what is kept does not rank better than chance, which its Qini
    area tells, those that are not told from the best are averaged, each with the same say. See
    `uplift.selection`. DR-loss and Qini stand beside R-loss in `candidates_`.

    What is kept of candidate j predicts by the mean of its fit on all rows (k = 0) and its K fits
    without a fold, which were there to compare it: they err in part apart. What it predicts out of
    fold is of one fit, so a little more spread out.
    Sources: Nie and Wager 2021, Schuler et al. 2018 (choice by R-loss), van der Laan et al. 2007
    (stacking).

    Parameters
    ----------
    params, n_folds, feature_types, clip : as in every learner
    members : names of the learners that are candidates
    n_settings : how many other settings of depth, learning rate and least child weight are tried
        for the best of them; the rounds of each are found by the folds
    most_rows : of a larger log, candidates are compared on whole users with about so many rows,
        and what is kept is fitted on all
    progress : called with (candidates done, candidates in all)

    Attributes
    ----------
    candidates_ : every candidate with what was found of it
    """

    name = "auto"
    needs_propensity = True
    goes_on = False

    def __init__(
        self,
        params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
        n_folds: int = 3,
        feature_types: Sequence[str] | None = None,
        clip: float = 0.01,
        members: Sequence[str] = tuple(_MEMBERS),
        n_settings: int = 4,
        most_rows: int = 500_000,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(params, n_folds, feature_types, clip)
        self.most_rows = most_rows
        self.members = members
        self.n_settings = n_settings
        self.progress = progress

    def describe(self) -> dict[str, Any]:
        """Return all of a fitted learner but its boosters, as plain values for JSON."""
        about = super().describe()
        del about["arguments"]["progress"]
        return about | {"candidates": [asdict(candidate) for candidate in self.candidates_]}

    @classmethod
    def described(
        cls, about: Mapping[str, Any], boosters: Boosters, types: tuple[str, ...]
    ) -> Self:
        """Rebuild a fitted learner from `describe`, its boosters and the types of its features."""
        learner = super().described(about, boosters, types)
        learner.members = tuple(learner.members)
        learner.candidates_ = tuple(Candidate.of(table) for table in about["candidates"])
        return learner

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        return self._note(self._select(data))

    def _learn_out_of_fold(self, data: Training) -> Prediction:
        """Fit, and mix what the members that were kept have already predicted."""
        self._begin(data)
        kept = self._select(data)
        self._end(self._note(kept))
        return _mixed([(weight, one.found) for weight, one in kept], self.objective_)

    def _select(self, data: Training) -> list[tuple[float, _Fitted]]:
        """Compare all candidates, on a sample of a large log; fit and return those kept."""
        sample = data.sample(self.most_rows, self.params.seed)
        fitted, choice = self._compare(sample)
        pairs = zip(map(float, choice.weights), fitted, strict=True)
        kept = [(weight, one) for weight, one in pairs if weight > 0]
        if sample is data:
            return kept
        return [(weight, self._fit_one(data, one.name, one.settings)) for weight, one in kept]

    def _compare(self, data: Training) -> tuple[list[_Fitted], Choice]:
        names, folds, fitted = self._names(), data.rows.folds, list[_Fitted]()
        for name in names:
            fitted.append(self._fit_one(data, name, {}))
            self._tell(len(fitted))
        outcome, propensity = fitted[0].found.outcome, data.propensities
        judge = Judge.of(data.y, data.treatment, propensity, outcome, data.cluster, data.weight)
        gains = [judge.scaled_r_gain(one.found.uplift, folds) for one in fitted]
        best = fitted[int(np.argmax(gains))].name
        for number, settings in enumerate(_settings(self.n_settings, self.params.seed), 2):
            fitted.append(self._fit_one(data, f"{best}-{number}", settings))
            self._tell(len(fitted))
        uplifts, kinds = [one.found.uplift for one in fitted], [one.learner.name for one in fitted]
        choice = choose(judge, uplifts, kinds, folds)
        self.candidates_ = tuple(_table(fitted, choice))
        return fitted, choice

    def _fit_one(self, data: Training, name: str, settings: Mapping[str, Any]) -> _Fitted:
        start = time.perf_counter()
        params = replace(self.params, **settings)
        learner = _MEMBERS[name.split("-")[0]](params, self.n_folds, clip=self.clip)
        own = data.with_params(params)
        boosted = learner._learn(own)
        found = learner._predict_folds(own, boosted)
        return _Fitted(name, settings, learner, boosted, found, time.perf_counter() - start)

    def _tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, len(self._names()) + self.n_settings)

    def _note(self, kept: Sequence[tuple[float, _Fitted]]) -> dict[str, Boosted]:
        """Note weights and constants of the voices of what is kept; return their boosters."""
        noted: dict[str, Boosted] = {}
        for weight, one in kept:
            voices = dict(one.voices())
            constants = {"weight": weight / len(voices), **one.learner.constants_}
            for voice, models in voices.items():
                self.constants_ |= {f"{voice}.{key}": c for key, c in constants.items()}
                noted |= {f"{voice}.{key}": Boosted({}, m.rounds, m) for key, m in models.items()}
        return noted

    def _both(self, boosters: Boosters, X: Float32Array) -> Prediction:
        parts = [(w, m._both(own, X)) for w, m, own in self._parts(boosters)]
        return _mixed(parts, self.objective_)

    def _uplift(self, boosters: Boosters, X: Float32Array) -> FloatArray:
        uplift = np.zeros((len(X), self.n_arms_))
        for weight, member, own in self._parts(boosters):
            uplift += weight * member._uplift(own, X)
        return uplift

    def _parts(self, boosters: Boosters) -> Iterator[tuple[float, UpliftLearner, Boosters]]:
        """Yield the voices of what is kept: weight, learner, its boosters."""
        for name in dict.fromkeys(key.split(".")[0] for key in self.constants_):
            member = _MEMBERS[name.split("-")[0]](self.params, self.n_folds)
            member.objective_, member.n_arms_ = self.objective_, self.n_arms_
            member.constants_ = _under(name, self.constants_)
            yield member.constants_["weight"], member, _under(name, boosters)

    def _names(self) -> list[str]:
        return [name for name in _MEMBERS if name in self.members]

    def _check_arguments(self) -> None:
        super()._check_arguments()
        names = [] if self.members is None or isinstance(self.members, str) else self.members
        if not names or not set(names) <= set(_MEMBERS):
            raise InputError(f"members are {self.members!r}; expected some of {list(_MEMBERS)}.")
        for name, least in (("n_settings", 0), ("most_rows", 1)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise InputError(f"{name} is {value}; expected {least}, {least + 1}, ...")


def _under(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries ``name.key`` of a table, by key."""
    start = f"{name}."
    return {key.removeprefix(start): v for key, v in table.items() if key.startswith(start)}


def _mixed(parts: Sequence[tuple[float, Prediction]], objective: Objective) -> Prediction:
    """Return the weighted sum of uplifts, on the weighted mean of outcomes under arm 0."""
    if len(parts) == 1 and parts[0][0] == 1.0:
        return parts[0][1]
    # Summed one after the other, as the engine does for a single point: the same to the bit.
    total = sum(w for w, _ in parts)
    control: FloatArray = sum(w / total * part.outcome[:, 0] for w, part in parts)  # type: ignore[assignment]
    uplift: FloatArray = sum(w * part.uplift for w, part in parts)  # type: ignore[assignment]
    return Prediction.on(control, uplift, objective)


def _table(fitted: Sequence[_Fitted], choice: Choice) -> Iterator[Candidate]:
    """Yield what was found of every candidate and of their stack."""
    told = [(one.name, one.settings, one.seconds) for one in fitted]
    told.append(("stack", {}, sum(one.seconds for one in fitted)))
    measured = zip(choice.r_gain, choice.dr_gain, choice.behind, choice.qini, strict=True)
    weights = [*map(float, choice.weights), 0.0]
    for (name, settings, seconds), found, weight in zip(told, measured, weights, strict=True):
        yield Candidate(name, settings, *found, weight, seconds)


def _settings(n: int, seed: int) -> list[dict[str, Any]]:
    """Draw settings of a booster, log-uniform where only the magnitude matters."""
    rng = np.random.default_rng(seed)
    return [
        {
            "max_depth": int(rng.integers(2, 7)),
            "learning_rate": float(np.exp(rng.uniform(np.log(0.03), np.log(0.2)))),
            "min_child_weight": float(np.exp(rng.uniform(np.log(1.0), np.log(100.0)))),
        }
        for _ in range(n)
    ]
