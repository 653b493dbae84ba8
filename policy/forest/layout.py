"""A booster of XGBoost's as the arrays that the kernel walks.

Node k of a tree: ``value < split`` goes to `left`, else to the node behind it; a missing value goes
where the node's default says; a category goes right where the node's set holds it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy.forest._kernel import Forest, log_odds
from policy.forest.ubjson import read_ubjson
from uplift.arrays import IntArray
from uplift.errors import InputError

__all__ = ["read_forest"]

NODE = np.dtype([("split", "f4"), ("left", "i4"), ("about", "u4"), ("leaf", "f4")])
DEFAULT_LEFT, CATEGORICAL = np.uint32(1 << 31), np.uint32(1 << 30)
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
    nodes, sets, roots, depths, start = [], [np.zeros(1, np.uint32)], [], [], 0
    for tree in trees:
        order, depth = _breadth_first(tree)
        words = sum(map(len, sets))
        nodes.append(_nodes(tree, order, start, n_features, words, sets))
        roots.append(start)
        depths.append(depth)
        start += len(order)
    deepest = [max(depths[k : k + BLOCK]) for k in range(0, len(depths), BLOCK)]
    laid = np.concatenate(nodes) if nodes else np.zeros(0, NODE)
    return Forest(
        laid.tobytes(),
        np.concatenate(sets).tobytes(),
        np.array(roots, np.int32).tobytes(),
        np.array(deepest, np.int32).tobytes(),
        n_features,
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


def _nodes(
    tree: Tree,
    order: IntArray,
    start: int,
    n_features: int,
    words: int,
    sets: list[np.ndarray],
) -> np.ndarray:
    """Lay out one tree from node `start` on; append the sets of its categorical nodes."""
    left = tree["left_children"][order]
    leaf, place = left < 0, np.empty(len(tree["left_children"]), np.int64)
    place[order] = start + np.arange(len(order))
    feature = tree["split_indices"][order].astype(np.uint32)
    if (feature[~leaf] >= min(n_features, int(CATEGORICAL))).any():
        raise ValueError("a tree splits a feature that is not there")
    laid = np.zeros(len(order), NODE)
    conditions = tree["split_conditions"][order].astype(np.float32)
    laid["leaf"] = np.where(leaf, conditions, 0)
    # A leaf sends every value, missing ones too, to itself.
    laid["split"] = np.where(leaf, np.inf, conditions)
    laid["left"] = np.where(leaf, place[order], place[np.where(leaf, 0, left)])
    default = leaf | (tree["default_left"][order] != 0)
    laid["about"] = np.where(leaf, 0, feature) | np.where(default, DEFAULT_LEFT, np.uint32(0))
    for node, chosen in _categories(tree):
        bits = _bits(chosen)
        laid["split"][place[node] - start] = np.int32(words).view(np.float32)
        laid["about"][place[node] - start] |= CATEGORICAL
        sets.append(bits)
        words += len(bits)
    return laid


def _categories(tree: Tree) -> Iterator[tuple[int, IntArray]]:
    """Yield each categorical node with the categories that go right."""
    begins, sizes = tree["categories_segments"], tree["categories_sizes"]
    for node, begin, size in zip(tree["categories_nodes"], begins, sizes, strict=True):
        yield int(node), tree["categories"][int(begin) : int(begin) + int(size)]


def _bits(categories: IntArray) -> np.ndarray:
    """Return a set as the number of its words and the words, highest bits first."""
    if len(categories) and not 0 <= categories.min() <= categories.max() < MOST_CATEGORIES:
        raise ValueError("a tree splits by a category that cannot be")
    words = int(categories.max()) // 32 + 1 if len(categories) else 0
    set_ = np.zeros(words + 1, np.uint32)
    set_[0] = words
    for category in map(int, categories):
        set_[1 + category // 32] |= np.uint32(1 << (31 - category % 32))
    return set_
