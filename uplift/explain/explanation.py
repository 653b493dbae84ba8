"""Explanation: every table about the uplift of one arm of a model, from a log it has not seen."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from uplift.arrays import FloatArray
from uplift.effects import effect_scores
from uplift.errors import InputError
from uplift.explain.deciles import UpliftByDecile, uplift_by_decile
from uplift.explain.dependence import PartialDependence, partial_dependence
from uplift.explain.permutation import PermutationImportance, permutation_importance
from uplift.explain.projection import LinearProjection, best_linear_projection
from uplift.explain.shapley import ShapImportance, shap_importance
from uplift.explain.subject import Subject, sample_clusters

if TYPE_CHECKING:
    import pandas as pd

    from uplift.log import RequestLog
    from uplift.model import UpliftModel

__all__ = ["Explanation", "explain"]

_FEATURES = 6


@dataclass(frozen=True)
class Explanation:
    """Why a model gives the uplift that it gives, and whether a randomised log agrees.

    Attributes
    ----------
    arm : name of the arm
    deciles : predicted against measured uplift
    permutation : what the uplift loses without each feature
    shap : how far each feature moves the uplift
    dependence : the uplift over the values of each chosen feature
    projection : the line nearest to the uplift; none where the chosen features allow no line
    """

    arm: str
    deciles: UpliftByDecile
    permutation: PermutationImportance
    shap: ShapImportance
    dependence: tuple[PartialDependence, ...]
    projection: LinearProjection | None

    @property
    def importance(self) -> list[dict[str, Any]]:
        """A row a feature with the estimates ``shap``, ``loss`` and ``qini``, by falling shap."""
        columns = (self.shap.importance, self.permutation.loss, self.permutation.qini)
        rows = [
            {"feature": name, "shap": s.to_dict(), "loss": a.to_dict(), "qini": q.to_dict()}
            for name, s, a, q in zip(self.shap.names, *columns, strict=True)
        ]
        return sorted(rows, key=lambda row: -row["shap"]["value"])

    def to_frames(self) -> dict[str, "pd.DataFrame"]:
        """Return the tables by name."""
        import pandas as pd

        frames = {
            "deciles": self.deciles.to_frame(),
            "importance": self.shap.to_frame().merge(self.permutation.to_frame(), on="feature"),
            "dependence": pd.concat([d.to_frame() for d in self.dependence], ignore_index=True),
        }
        line = {} if self.projection is None else {"projection": self.projection.to_frame()}
        return frames | line


def explain(
    model: "UpliftModel",
    log: "RequestLog",
    *,
    arm: int = 1,
    features: Sequence[str] | None = None,
    rows: int = 100_000,
    repeats: int = 5,
    seed: int = 0,
) -> Explanation:
    """Explain the uplift of one arm over arm 0, on a randomised log that the model has not seen.

    Deciles and projection take all rows, the others about `rows` of them, whole clusters each.

    Parameters
    ----------
    model : a fitted model
    log : decision points of users that the model was not fitted on; ``true_<outcome>_<arm>``
        columns of a simulated log become the deciles' truth
    arm : 1 .. A
    features : those of the dependence and the projection; by default the 6 of greatest SHAP
        importance, which are chosen without a look at this log's outcomes, so that the
        projection's p-values hold
    rows : about so many rows are shuffled and predicted anew
    repeats : shuffles of each feature
    seed : of all draws

    Raises
    ------
    InputError
        The arm or a feature is unknown, or the log is too small.

    Warns
    -----
    UserWarning
        The surrogate of the SHAP values is unfaithful, or the features that were chosen by default
        allow no line.
    """
    if not 1 <= arm <= model.schema.n_arms:
        raise InputError(f"arm is {arm}; expected one of 1 .. {model.schema.n_arms}.")
    outcome = model.predict_outcome(log)
    effect = effect_scores(log.outcome(), log.arm, log.propensity, outcome)[:, arm - 1]
    drawn = sample_clusters(log.cluster, rows, seed)
    subject = _subject(model, log.take(drawn), arm)
    shap = shap_importance(subject, log.cluster[drawn], seed=seed)
    chosen = shap.largest(_FEATURES) if features is None else tuple(features)
    dependence = tuple(partial_dependence(subject, name, seed=seed) for name in chosen)
    return Explanation(
        model.schema.arms[arm],
        uplift_by_decile(
            model.uplift(log)[:, arm - 1], effect, log.cluster, truth=_truth(log, arm)
        ),
        permutation_importance(
            subject, effect[drawn], log.cluster[drawn], repeats=repeats, seed=seed
        ),
        shap,
        dependence,
        _projection(model, log, chosen, effect, strict=features is not None),
    )


def _subject(model: "UpliftModel", log: "RequestLog", arm: int) -> Subject:
    encoder = model.encoder
    X = encoder.transform(log.frame)
    return Subject(model.predict, X, encoder.names, arm, encoder.vocabulary)


def _truth(log: "RequestLog", arm: int) -> FloatArray | None:
    columns = [f"true_{log.schema.primary}_{a}" for a in (arm, 0)]
    if not set(columns) <= set(log.frame):
        return None
    treated, untreated = (log.outcome(column) for column in columns)
    return treated - untreated


def _projection(
    model: "UpliftModel", log: "RequestLog", chosen: Sequence[str], effect: FloatArray, strict: bool
) -> LinearProjection | None:
    """Project on the chosen features; those chosen by default may allow no line."""
    encoder = replace(model.encoder, names=tuple(chosen))
    X = encoder.transform(log.frame)
    try:
        return best_linear_projection(
            X, chosen, effect, log.cluster, vocabulary=encoder.vocabulary, standardise=True
        )
    except InputError as error:
        if strict:
            raise
        warnings.warn(f"there is no linear projection: {error}", stacklevel=3)
        return None
