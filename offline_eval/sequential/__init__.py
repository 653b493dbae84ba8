"""What a policy would earn per session: decisions of a session follow each other.

`evaluate` asks what one decision is worth while the logging policy goes on after it; here the
policy takes every decision of the session. The price is weights that multiply along the session,
so that the log answers only for policies that are not too far from its own.
"""

from offline_eval.sequential.doubly_robust import SequentialDR, SequentialSNDR
from offline_eval.sequential.per_decision import PDIS, SNPDIS, TIS
from offline_eval.sequential.rewards import step_rewards
from offline_eval.sequential.sessions import SequentialEstimator, Sessions
from offline_eval.sequential.values import fitted_values

__all__ = [
    "PDIS",
    "SEQUENTIAL_ESTIMATORS",
    "SNPDIS",
    "TIS",
    "SequentialDR",
    "SequentialEstimator",
    "SequentialSNDR",
    "Sessions",
    "fitted_values",
    "step_rewards",
]

#: Estimators along a session by name.
SEQUENTIAL_ESTIMATORS: dict[str, SequentialEstimator] = {
    "tis": TIS(),
    "pdis": PDIS(),
    "snpdis": SNPDIS(),
    "cascade_dr": SequentialDR(),
    "cascade_sndr": SequentialSNDR(),
}
