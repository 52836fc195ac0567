"""Trees grown elsewhere, converted exactly to XGBoost's model document.

scikit-learn and LightGBM send a row left when ``x <= t`` in float64, XGBoost when ``x < t`` in float32. Features are
float32, so the next float32 above the greatest one that is not above ``t`` makes the same decision for every finite
value. Where missing values go is a bit of each node on both sides. The document is written as UBJSON with typed
arrays, so no number passes through text.
"""

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms.arrays import AllowList, pack, require, unpack
from shared.training.algorithms.booster import load_booster

_ROOT: Final = 2**31 - 1  # what XGBoost says is the parent of a root
_ALLOWED: Final[AllowList] = {
    "starts": ("<i8", 1),
    "left": ("<i4", 1),
    "right": ("<i4", 1),
    "feature": ("<i4", 1),
    "threshold": ("<f4", 1),
    "missing_left": ("|u1", 1),
    "value": ("<f4", 1),
    "cover": ("<f4", 1),
}


class Trees(NamedTuple):
    """Some trees, their nodes one after the other.

    Tree i has the nodes ``starts[i]`` to ``starts[i + 1]``, its root first. ``left`` and ``right`` count within the
    tree and are -1 at a leaf. A row goes left when its ``feature`` is below ``threshold``, or missing and
    ``missing_left``. ``value``: float32, of leaves what they add, of inner nodes their mean. ``cover``: float32, the
    weight of the rows that came by, which exact SHAP values average over.
    """

    starts: npt.NDArray[np.int64]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.float32]
    missing_left: npt.NDArray[np.uint8]
    value: npt.NDArray[np.float32]
    cover: npt.NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """All trees of ``parts`` in order."""
        held = list(parts)
        columns = {name: np.concatenate([getattr(part, name) for part in held]) for name in cls._fields[1:]}
        counts = np.concatenate([np.diff(part.starts) for part in held])
        return cls(starts=np.concatenate(([0], np.cumsum(counts))), **columns)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """:raises ValueError: not what :meth:`to_bytes` wrote."""
        arrays = unpack(content, _ALLOWED)
        require(arrays, *cls._fields)
        return cls(**arrays)

    def to_bytes(self) -> bytes:
        """As a checkpoint keeps them."""
        return pack(self._asdict(), _ALLOWED)

    @property
    def tree_count(self) -> int:
        """How many trees."""
        return len(self.starts) - 1

    def part(self, first: int, end: int) -> Self:
        """Trees ``first`` to ``end``."""
        nodes = slice(self.starts[first], self.starts[min(end, self.tree_count)])
        columns = {name: getattr(self, name)[nodes] for name in self._fields[1:]}
        return type(self)(starts=self.starts[first : end + 1] - self.starts[first], **columns)


def below(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The float32 t' for which ``x < t'`` says of every finite float32 x what ``x <= threshold`` says."""
    with np.errstate(over="ignore"):  # beyond float32 lies infinity, which every finite value is below
        rounded = threshold.astype(np.float32)
        down = np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
        return np.nextafter(down, np.float32(np.inf))


def one_tree(
    left: npt.NDArray[np.integer],
    right: npt.NDArray[np.integer],
    feature: npt.NDArray[np.integer],
    threshold: npt.NDArray[np.float64],
    missing_left: npt.NDArray[np.integer],
    value: npt.NDArray[np.float64],
    cover: npt.NDArray[np.float64],
) -> Trees:
    """A tree from columns by node, the root first, in any other order; ``x <= threshold`` goes left.

    Nodes are put in the order of their levels: XGBoost looks for a right child beside the left one.
    """
    order = _by_level(left, right)
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order))
    leaf = left[order] < 0
    return Trees(
        np.array([0, len(order)], dtype=np.int64),
        np.where(leaf, -1, place[left[order]]).astype(np.int32),
        np.where(leaf, -1, place[right[order]]).astype(np.int32),
        np.where(leaf, 0, feature[order]).astype(np.int32),
        np.where(leaf, np.float32(0), below(threshold[order])),
        np.where(leaf, 0, missing_left[order]).astype(np.uint8),
        value[order].astype(np.float32),
        cover[order].astype(np.float32),
    )


def of_scikit_learn(tree: Any, value: npt.NDArray[np.float64], cover: npt.NDArray[np.float64]) -> Trees:
    """One fitted ``sklearn.tree._tree.Tree`` with the values and covers that its nodes shall have."""
    return one_tree(
        tree.children_left,
        tree.children_right,
        tree.feature,
        tree.threshold,
        tree.missing_go_to_left,
        value,
        cover,
    )


def to_ubjson(
    trees: Trees,
    features: int,
    objective: Literal["binary:logistic", "reg:squarederror"],
    base_margin: float = 0.0,
) -> bytes:
    """XGBoost's model document in UBJSON, in the form in which XGBoost itself writes it.

    :param objective: ``binary:logistic`` where the sum of the leaves is log-odds; ``reg:squarederror``, whose link is
        the identity, where it is the score.
    :param base_margin: added to every sum.
    """
    count = trees.tree_count
    base = 1 / (1 + math.exp(-base_margin)) if objective == "binary:logistic" else base_margin
    model = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
        "iteration_indptr": list(range(count + 1)),
        "tree_info": [0] * count,
        "trees": [_tree(trees.part(i, i + 1), i, features) for i in range(count)],
    }
    document = {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {"model": model, "name": "gbtree"},
            "learner_model_param": {
                "base_score": repr(base),
                "boost_from_average": "0",
                "num_class": "0",
                "num_feature": str(features),
                "num_target": "1",
            },
            "objective": {"name": objective, "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [int(part) for part in load_xgboost().__version__.split(".")[:3]],
    }
    return bytes(load_booster(_encoded(document)).save_raw("ubj"))


def _tree(tree: Trees, number: int, features: int) -> dict[str, Any]:
    nodes = len(tree.left)
    leaf = tree.left < 0
    parents = np.full(nodes, _ROOT, dtype=np.int32)
    inner = np.flatnonzero(~leaf).astype(np.int32)
    parents[tree.left[inner]] = parents[tree.right[inner]] = inner
    return {
        "base_weights": tree.value,
        "categories": np.empty(0, dtype=np.int32),
        "categories_nodes": np.empty(0, dtype=np.int32),
        "categories_segments": np.empty(0, dtype=np.int64),
        "categories_sizes": np.empty(0, dtype=np.int64),
        "default_left": tree.missing_left,
        "id": number,
        "left_children": tree.left,
        "loss_changes": np.zeros(nodes, dtype=np.float32),
        "parents": parents,
        "right_children": tree.right,
        "split_conditions": np.where(leaf, tree.value, tree.threshold),
        "split_indices": tree.feature,
        "split_type": np.zeros(nodes, dtype=np.uint8),
        "sum_hessian": tree.cover,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(features),
            "num_nodes": str(nodes),
            "size_leaf_vector": "1",
        },
    }


def _by_level(left: npt.NDArray[np.integer], right: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Nodes level by level, siblings side by side."""
    levels = [np.zeros(1, dtype=np.int64)]
    while len(inner := levels[-1][left[levels[-1]] >= 0]):
        levels.append(np.column_stack((left[inner], right[inner])).ravel().astype(np.int64))
    return np.concatenate(levels)


_TYPED: Final = {np.dtype(np.float32): b"d", np.dtype(np.int32): b"l", np.dtype(np.int64): b"L", np.dtype("u1"): b"U"}


def _encoded(value: object) -> bytes:
    """UBJSON (ubjson.org, draft 12): big-endian, arrays of numbers with their type and length."""
    match value:
        case str():
            return b"S" + _length(value.encode())
        case int():
            return b"L" + struct.pack(">q", value)
        case Mapping():
            return b"{" + b"".join(_length(key.encode()) + _encoded(item) for key, item in value.items()) + b"}"
        case list():
            return b"[" + b"".join(map(_encoded, value)) + b"]"
        case np.ndarray():
            head = b"[$" + _TYPED[value.dtype] + b"#L" + struct.pack(">q", value.size)
            return head + value.astype(value.dtype.newbyteorder(">")).tobytes()
    raise TypeError(f"{type(value)} has no place in a model document")


def _length(text: bytes) -> bytes:
    return b"L" + struct.pack(">q", len(text)) + text
