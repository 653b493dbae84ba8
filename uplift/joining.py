"""Two boosters as one, whose margin is the sum of theirs."""

import json
from typing import Any

import numpy as np
import xgboost as xgb
from scipy.special import expit, logit

__all__ = ["RAREST", "joined"]

#: Probabilities start no nearer to 0 and 1 than this, should an outcome never or always happen;
#: XGBoost lets them come no nearer.
RAREST = 1e-6


def joined(first: xgb.Booster, second: xgb.Booster) -> xgb.Booster:
    """Return the booster of all trees of two, ``margin = margin_1 + margin_2``.

    XGBoost's own way to go on from a booster, ``xgb_model``, asks it about the new rows as they
    are binned. Bins of other cuts are not what its splits were made for: of 20,000 normal rows 45 %
    got another margin, wrong by up to five standard deviations. So the later trees are boosted on
    the exact margins of the earlier booster, and joined to it afterwards.

    Parameters
    ----------
    first, second : boosters of trees under one objective, on the same features
    """
    document, other = (json.loads(bytes(b.save_raw("json"))) for b in (first, second))
    whole, more = document["learner"], other["learner"]
    _append(*(part["gradient_booster"]["model"] for part in (whole, more)))
    _add_start(whole, more)
    return xgb.Booster(model_file=bytearray(json.dumps(document), "utf-8"))


def _append(trees: dict[str, Any], added: dict[str, Any]) -> None:
    """Put the trees of a model behind those of another."""
    count = len(trees["trees"])
    later = [tree | {"id": count + k} for k, tree in enumerate(added["trees"])]
    trees["trees"] += later
    trees["tree_info"] += added["tree_info"]
    trees["iteration_indptr"] += [count + end for end in added["iteration_indptr"][1:]]
    trees["gbtree_model_param"]["num_trees"] = str(len(trees["trees"]))


def _add_start(whole: dict[str, Any], more: dict[str, Any]) -> None:
    """Add the margins that the boosters have before their first tree."""
    probability = whole["objective"]["name"] == "binary:logistic"
    scores = [json.loads(part["learner_model_param"]["base_score"]) for part in (whole, more)]
    starts = [float(np.ravel(score)[0]) for score in scores]
    if probability:
        both = float(np.clip(expit(logit(starts).sum()), RAREST, 1 - RAREST))
    else:
        both = float(sum(starts))
    whole["learner_model_param"]["base_score"] = f"[{np.float32(both)!s}]"
