"""A model of an earlier log, fitted to a new one: held-out losses say how much of it to keep."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone

from uplift.boosting import BoostParams
from uplift.clusters import Estimate
from uplift.cross_fit import fold_of
from uplift.errors import InputError
from uplift.learners import Prediction
from uplift.log import RequestLog
from uplift.model import UpliftModel
from uplift.names import CalibrationMethod
from uplift.parquet import Progress
from uplift.propensity import shared_propensities
from uplift.selection import Judge, is_told

__all__ = ["KEEP", "Attempt", "Refit", "check_keep", "refit"]

#: Shares of the earlier model that are tried, the one in doubt first; 0 is a fit anew.
KEEP = (0.5, 0.0, 1.0)
#: Folds by user that the scale of a prediction is found on, each for the others.
_FOLDS = 3


@dataclass(frozen=True)
class Attempt:
    """A fit that keeps some share of the earlier model.

    Attributes
    ----------
    keep : share of what the earlier trees say that is kept; 0 is a fit anew
    r_gain : by how much its R-loss out of fold is below that of no effect
    behind : how far its R-loss is behind the best attempt's, paired
    earlier_rounds, rounds : trees kept of the earlier model, and trees in all, by booster
    seconds : time to fit it
    chosen : whether it is the one
    """

    keep: float
    r_gain: Estimate
    behind: Estimate
    earlier_rounds: Mapping[str, int]
    rounds: Mapping[str, int]
    seconds: float
    chosen: bool


@dataclass(frozen=True)
class Refit:
    """The model of the new log, and what was tried.

    Attributes
    ----------
    attempts, models : in the order of preference
    reasons : why the earlier model was not gone on from where it could have been; one sentence each
    """

    attempts: tuple[Attempt, ...]
    models: tuple[UpliftModel, ...]
    reasons: tuple[str, ...] = ()

    @property
    def chosen(self) -> Attempt:
        """The attempt that was chosen."""
        return next(attempt for attempt in self.attempts if attempt.chosen)

    @property
    def model(self) -> UpliftModel:
        """The model that was chosen."""
        return self.models[self.attempts.index(self.chosen)]


@dataclass(frozen=True)
class _Fitted:
    keep: float
    model: UpliftModel
    found: Prediction
    earlier: Mapping[str, int]
    seconds: float


def refit(
    earlier: UpliftModel,
    log: RequestLog,
    *,
    keep: Sequence[float] = KEEP,
    most_trees: int = 1000,
    params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
    calibration: CalibrationMethod = "isotonic",
    progress: Progress | None = None,
) -> Refit:
    """Fit the learner of an earlier model to a new log, from as much of it as serves best.

    Each share of `keep` is tried: the earlier trees, faded to that share, then as many trees of the
    new log on top as its held-out folds ask for. Of the attempts the first in the order of `keep`
    is taken whose R-loss is not shown to be behind the least (95 %): shares differ by less than a
    day's noise, unless the world changed. Losses are of what is predicted of each row without its
    user's fold, scaled by one number. The earlier model may have seen that user, but not this
    outcome: what is noise in it is noise here. Calibration is fitted anew.

    Parameters
    ----------
    earlier : the model of the earlier log
    log : the new log
    keep : shares in [0, 1] in the order of preference; one alone is not judged
    most_trees : trees that a booster may have; an attempt has what the kept ones leave of it, and
        is not made where nothing is left
    params, calibration, progress : as in `UpliftModel.fit`; `params.max_rounds` bounds what is
        added

    Raises
    ------
    InputError
        A share is not in [0, 1], none is given, or the earlier model does not fit the log.
    """
    check_keep(keep, most_trees)
    shares, reasons = _possible(earlier, keep, most_trees)
    fitted = []
    for done, share in enumerate(shares):
        fitted.append(_fit(earlier, log, share, most_trees, params, calibration))
        if progress is not None:
            progress(done + 1, len(shares))
    gains = _r_gains([one.found for one in fitted], log, params.seed)
    attempts = tuple(_judged(fitted, *gains))
    return Refit(attempts, tuple(one.model for one in fitted), reasons)


def check_keep(keep: Sequence[float], most_trees: int) -> None:
    """Refuse shares that are none, or no tree at all."""
    if not keep or not all(0 <= share <= 1 for share in keep) or len(set(keep)) < len(keep):
        raise InputError(
            f"keep is {list(keep)}; expected different shares in [0, 1], the preferred one first."
        )
    if most_trees < 1:
        raise InputError(f"most_trees is {most_trees}; expected at least 1.")


def _possible(
    earlier: UpliftModel, keep: Sequence[float], most_trees: int
) -> tuple[list[float], tuple[str, ...]]:
    """Return the shares that can be tried, a fit anew at least, and why others cannot."""
    learner = earlier.learner
    if not learner.goes_on:
        return [0.0], (f"The learner {learner.name!r} goes on from none; it was fitted anew.",)
    most = {s: max(_rounds(earlier.faded(s)).values()) for s in keep if s > 0}
    full = [s for s, rounds in most.items() if rounds >= most_trees]
    reasons = tuple(
        f"To keep {share:g} of the earlier model was not tried: it has {most[share]} trees, and "
        f"at most {most_trees} are allowed."
        for share in full
    )
    return [s for s in keep if s not in full] or [0.0], reasons


def _fit(
    earlier: UpliftModel,
    log: RequestLog,
    share: float,
    most_trees: int,
    params: BoostParams,
    calibration: CalibrationMethod,
) -> _Fitted:
    start = time.perf_counter()
    base = earlier.faded(share) if share > 0 else None
    kept = {} if base is None else _rounds(base)
    room = most_trees - max(kept.values(), default=0)
    bounded = replace(params, max_rounds=min(params.max_rounds, room))
    model, found = UpliftModel.fit_out_of_fold(
        log,
        clone(earlier.learner).set_params(params=bounded),
        calibration=calibration,
        earlier=base,
    )
    return _Fitted(share, model, found, kept, time.perf_counter() - start)


def _r_gains(
    found: Sequence[Prediction], log: RequestLog, seed: int
) -> tuple[list[Estimate], list[Estimate]]:
    """Return the R-gain of each prediction, and how far it is behind the best."""
    outcome = np.mean([one.outcome for one in found], axis=0)
    propensity = shared_propensities(log.propensity, log.arm, log.schema.n_arms)
    judge = Judge.of(log.outcome(), log.arm, propensity, outcome, log.cluster)
    folds = fold_of(log.cluster, _FOLDS, seed)
    gains = [judge.r_gain(judge.mixed([one.uplift], folds)) for one in found]
    means = [judge.mean(gain) for gain in gains]
    best = gains[int(np.argmax([mean.value for mean in means]))]
    return means, [judge.mean(best - gain) for gain in gains]


def _judged(
    fitted: Sequence[_Fitted], gains: Sequence[Estimate], behind: Sequence[Estimate]
) -> Iterator[Attempt]:
    first = next(k for k, estimate in enumerate(behind) if not is_told(estimate))
    for k, one in enumerate(fitted):
        rounds = _rounds(one.model)
        yield Attempt(one.keep, gains[k], behind[k], one.earlier, rounds, one.seconds, k == first)


def _rounds(model: UpliftModel) -> dict[str, int]:
    return {name: booster.rounds for name, booster in model.learner.boosters_.items()}
