"""Off-policy estimators of a policy's mean outcome, on flat arrays.

The folder is the problem. `estimator` is the one formula of which all are members, `weights` what
they make of importance weights, `tuning` how far these are shrunk, `state` what merges, and
`outcome` the cross-fitted models that they lean on.
"""

from offline_eval.estimators import weights
from offline_eval.estimators.decisions import Decisions, mixture_propensity
from offline_eval.estimators.estimator import Estimator
from offline_eval.estimators.state import ValueState
from offline_eval.estimators.tuning import Tuned

__all__ = ["ESTIMATORS", "Decisions", "Estimator", "Tuned", "ValueState", "mixture_propensity"]

dm = Estimator("dm", weights.none, uses_model=True)
ips = Estimator("ips", weights.whole)
snips = Estimator("snips", weights.whole, normalised=True)
dr = Estimator("dr", weights.whole, uses_model=True)
sndr = Estimator("sndr", weights.whole, uses_model=True, normalised=True)
clipped_ips = Estimator("clipped_ips", weights.clipped)
switch_dr = Estimator("switch_dr", weights.switched, uses_model=True)
dros = Estimator("dros", weights.optimistic, uses_model=True)
sg_dr = Estimator("sg_dr", weights.sub_gaussian, uses_model=True)

#: Estimators by name, the first being the one that decisions go by. MRDR is `dr` with the model of
#: `outcome.cross_fit_outcome(..., pi=...)`.
ESTIMATORS: dict[str, Estimator | Tuned] = {
    e.name: e
    for e in (
        dr,
        snips,
        ips,
        dm,
        sndr,
        Tuned(clipped_ips),
        Tuned(switch_dr),
        Tuned(dros),
        Tuned(sg_dr),
    )
}
