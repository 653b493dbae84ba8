"""Estimators of causalml and econml behind the contract of our learners.

For comparison, for the intervals of an honest forest, and as independent references in the tests.
Neither package is imported before a learner of it is fitted.
"""

from uplift.adapters.causalml import CausalMLForest, CausalMLXLearner
from uplift.adapters.econml import EconMLDRLearner, EconMLForest
from uplift.adapters.peer import PeerLearner

__all__ = [
    "PEERS",
    "CausalMLForest",
    "CausalMLXLearner",
    "EconMLDRLearner",
    "EconMLForest",
    "PeerLearner",
]

_ALL = (CausalMLForest, CausalMLXLearner, EconMLDRLearner, EconMLForest)

#: Learners of other libraries by name; they cannot be saved.
PEERS: dict[str, type[PeerLearner]] = {peer.name: peer for peer in _ALL}
