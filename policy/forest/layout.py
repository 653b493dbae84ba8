"""A booster of XGBoost's as the arrays that the kernel walks.

Node k of a tree: ``value < below`` goes to `left`, else to the node behind it; a missing value goes
where the node's cell says; a category goes right where the node's set holds it. All sets of a
feature have one length and are closed by a word of no category, so that no step asks whether it is
within.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy.forest.ubjson import read_ubjson
from policy.kernel import Forest, log_odds
from uplift.arrays import IntArray
from uplift.errors import InputError

__all__ = ["read_forest"]

NODE = np.dtype([("below", "f4"), ("left", "i4"), ("cell", "u4"), ("set", "u4")])
BLOCK = 8
MOST_CATEGORIES = 1 << 24
"""A float32 tells so many apart."""

LARGEST = 1 << 28
"""Bytes of a booster: about four million nodes."""

Tree = Mapping[str, Any]


def read_forest(path: Path) -> Forest:
    """Read a booster from XGBoost's own ``.ubj`` file, without XGBoost.

    Raises
    ------
    InputError
        The file is too large, not whole, or no booster of trees with one output.
    """
    if path.stat().st_size > LARGEST:
        raise InputError(f"booster {path.name!r} is larger than {LARGEST:,} bytes; export it anew.")
    document = read_ubjson(path.read_bytes())
    try:
        learner = document["learner"]
        model, about = learner["gradient_booster"]["model"], learner["learner_model_param"]
        if any(model["tree_info"]) or int(about["num_target"]) != 1:
            raise InputError(f"booster {path.name!r} has several outputs; expected one.")
        return _forest(model["trees"], int(about["num_feature"]), _base(learner))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path.name!r} is no booster of trees ({type(error).__name__}: {error}); export it "
            "anew."
        ) from error


def _base(learner: Mapping[str, Any]) -> float:
    """Return the margin that trees are added to, in float32 as XGBoost has it."""
    told = learner["learner_model_param"]["base_score"].strip("[]")
    score = np.float32(told)
    if learner["objective"]["name"] != "binary:logistic":
        return float(score)
    return log_odds(float(score))


def _forest(trees: list[Tree], n_features: int, base: float) -> Forest:
    nodes, sets, roots, depths, start = [], _Sets(trees, n_features), [], [], 0
    for tree in trees:
        order, depth = _breadth_first(tree)
        nodes.append(_nodes(tree, order, start, n_features, sets))
        roots.append(start)
        depths.append(depth)
        start += len(order)
    deepest = [max(depths[k : k + BLOCK]) for k in range(0, len(depths), BLOCK)]
    laid = np.concatenate(nodes) if nodes else np.zeros(0, NODE)
    return Forest(
        laid.tobytes(),
        np.concatenate(sets.laid).tobytes(),
        sets.words.tobytes(),
        np.array(roots, np.int32).tobytes(),
        np.array(deepest, np.int32).tobytes(),
        base,
    )


def _breadth_first(tree: Tree) -> tuple[IntArray, int]:
    """Return the tree's nodes with children side by side, and the number of steps to its leaves."""
    left, right = tree["left_children"], tree["right_children"]
    level, order, depth = np.zeros(1, np.int64), [np.zeros(1, np.int64)], 0
    seen = 1
    while (inner := level[left[level] >= 0]).size:
        level = np.stack((left[inner], right[inner]), axis=1).ravel().astype(np.int64)
        seen += level.size
        if seen > len(left):
            raise ValueError("a tree has a node twice")
        order.append(level)
        depth += 1
    return np.concatenate(order), depth


def _nodes(tree: Tree, order: IntArray, start: int, n_features: int, sets: "_Sets") -> np.ndarray:
    """Lay out one tree from node `start` on; append the sets of its categorical nodes."""
    left = tree["left_children"][order]
    leaf, place = left < 0, np.full(len(tree["left_children"]), -1)
    place[order] = start + np.arange(len(order))
    feature = tree["split_indices"][order].astype(np.int64)
    if not ((feature[~leaf] >= 0) & (feature[~leaf] < n_features)).all():
        raise ValueError("a tree splits a feature that is not there")
    laid = np.zeros(len(order), NODE)
    laid["below"] = tree["split_conditions"][order]
    if not np.isfinite(laid["below"][leaf]).all():  # it would not send every value left
        raise ValueError("a leaf is not finite")
    laid["left"] = np.where(leaf, place[order], place[np.where(leaf, 0, left)])
    missing_right = tree["default_left"][order] == 0
    laid["cell"] = np.where(leaf, 2 * n_features, feature + n_features * missing_right)
    for node, chosen in _categories(tree):
        here = place[node] - start
        if here < 0 or leaf[here]:
            raise ValueError("a leaf has categories")
        laid["below"][here], laid["set"][here] = np.inf, sets.append(feature[here], chosen)
    return laid


def _categories(tree: Tree) -> Iterator[tuple[int, IntArray]]:
    """Yield each categorical node with the categories that go right."""
    begins, sizes = tree["categories_segments"], tree["categories_sizes"]
    for node, begin, size in zip(tree["categories_nodes"], begins, sizes, strict=True):
        yield int(node), tree["categories"][int(begin) : int(begin) + int(size)]


class _Sets:
    """Categories of all nodes, behind an empty set; `words` is the length of each feature's."""

    def __init__(self, trees: list[Tree], n_features: int) -> None:
        self.words = np.zeros(n_features, np.uint32)
        self.laid, self._end = [np.zeros(1, np.uint32)], 1
        for tree in trees:
            for node, chosen in _categories(tree):
                if len(chosen) and not 0 <= chosen.min() <= chosen.max() < MOST_CATEGORIES:
                    raise ValueError("a tree splits by a category that cannot be")
                feature, most = tree["split_indices"][node], chosen.max(initial=0)
                self.words[feature] = max(self.words[feature], most // 32 + 1)

    def append(self, feature: int, categories: IntArray) -> int:
        """Lay down a set of a feature's; return where it begins."""
        begin, set_ = self._end, np.zeros(int(self.words[feature]) + 1, np.uint32)
        self._end += len(set_)
        if 4 * self._end > LARGEST:
            raise ValueError("its sets of categories are too large")
        for category in map(int, categories):
            set_[category // 32] |= np.uint32(1 << (category % 32))
        self.laid.append(set_)
        return begin
