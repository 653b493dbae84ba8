"""One file a meta-learner, one contract for all (`base`)."""

from uplift.learners.base import UpliftLearner
from uplift.learners.logit import LogitLearner
from uplift.learners.s import SLearner
from uplift.learners.t import TLearner

__all__ = ["LEARNERS", "LogitLearner", "SLearner", "TLearner", "UpliftLearner"]

#: Learners by the name that the command line and the bundle use.
LEARNERS: dict[str, type[UpliftLearner]] = {c.name: c for c in (SLearner, TLearner, LogitLearner)}
