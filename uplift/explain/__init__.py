"""Why a model gives the uplift that it gives, and whether a randomised log agrees."""

from uplift.explain.deciles import UpliftByDecile, uplift_by_decile
from uplift.explain.dependence import PartialDependence, partial_dependence
from uplift.explain.explanation import Explanation, explain
from uplift.explain.permutation import PermutationImportance, permutation_importance
from uplift.explain.projection import LinearProjection, best_linear_projection
from uplift.explain.shapley import ShapImportance, shap_importance
from uplift.explain.subject import Subject

__all__ = [
    "Explanation",
    "LinearProjection",
    "PartialDependence",
    "PermutationImportance",
    "ShapImportance",
    "Subject",
    "UpliftByDecile",
    "best_linear_projection",
    "explain",
    "partial_dependence",
    "permutation_importance",
    "shap_importance",
    "uplift_by_decile",
]
