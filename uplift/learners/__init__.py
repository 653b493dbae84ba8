"""One file a meta-learner, one contract for all (`base`)."""

from uplift.learners.auto import AutoLearner, Candidate
from uplift.learners.base import Prediction, UpliftLearner
from uplift.learners.class_transform import ClassTransformLearner
from uplift.learners.dr import DRLearner
from uplift.learners.logit import LogitLearner
from uplift.learners.proportional import ProportionalLearner
from uplift.learners.r import RLearner
from uplift.learners.s import SLearner
from uplift.learners.t import TLearner
from uplift.learners.x import XLearner

__all__ = [
    "LEARNERS",
    "AutoLearner",
    "Candidate",
    "ClassTransformLearner",
    "DRLearner",
    "LogitLearner",
    "Prediction",
    "ProportionalLearner",
    "RLearner",
    "SLearner",
    "TLearner",
    "UpliftLearner",
    "XLearner",
]

_ALL = (
    SLearner,
    TLearner,
    XLearner,
    RLearner,
    DRLearner,
    LogitLearner,
    ClassTransformLearner,
    ProportionalLearner,
    AutoLearner,
)

#: Learners by the name that the command line and the bundle use.
LEARNERS: dict[str, type[UpliftLearner]] = {learner.name: learner for learner in _ALL}
