"""Off-policy estimators of a policy's mean outcome, on flat arrays; one method a file.

An estimator says what each row adds above and below the line (`Estimator.ratios`). The value, the
clustered interval, the bootstrap, the sum of shards and the paired difference of two policies
follow from that, once for all (`offline_eval.intervals.RatioSums`).
"""

from offline_eval.estimators.base import Estimator, Weighted
from offline_eval.estimators.decisions import Decisions
from offline_eval.estimators.direct import DM, dm
from offline_eval.estimators.dr import DR, SNDR, dr, sndr
from offline_eval.estimators.ips import IPS, SNIPS, ips, snips
from offline_eval.estimators.loggers import mixture_propensity
from offline_eval.estimators.tuned import Tuned
from offline_eval.estimators.weighting import Clip, Plain, Shrink, SubGaussian, Switch, Weighting

__all__ = [
    "DM",
    "DR",
    "ESTIMATORS",
    "IPS",
    "SNDR",
    "SNIPS",
    "Clip",
    "Decisions",
    "Estimator",
    "Plain",
    "Shrink",
    "SubGaussian",
    "Switch",
    "Tuned",
    "Weighted",
    "Weighting",
    "dm",
    "dr",
    "ips",
    "mixture_propensity",
    "sndr",
    "snips",
]

_LIMITS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1e3, 1e4)
_SHARES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

#: Estimators by name; those with a threshold choose it by the bound on their squared error.
ESTIMATORS: dict[str, Estimator] = {
    "dr": dr,
    "snips": snips,
    "ips": ips,
    "dm": dm,
    "sndr": sndr,
    "clipped_ips": Tuned(IPS(), tuple(map(Clip, _LIMITS))),
    "switch_dr": Tuned(DR(), (Switch(0.0), *map(Switch, _LIMITS))),
    "dros": Tuned(DR(), (Shrink(0.0), *map(Shrink, _LIMITS), Plain())),
    "sub_gaussian_dr": Tuned(DR(), tuple(map(SubGaussian, _SHARES))),
}
