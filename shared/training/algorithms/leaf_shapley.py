"""Exact Shapley values of trees from tables: many times faster for single rows than walking the trees anew.

The values are those of path-dependent TreeSHAP (Lundberg et al. 2020), which is what XGBoost's ``pred_contribs`` gives.
What a leaf with value v contributes to a feature i on its path depends on the row only through which features let the
row through (o_j is 1 or 0); z_j is the share of the training rows that the splits on j let through:

    phi_i = v (o_i - z_i) ∫ prod over j ≠ i of (t o_j + (1 - t) z_j) dt,  t from 0 to 1

The integrand is a polynomial, so Gauss-Legendre quadrature with enough nodes is exact. The integral stands for the
Shapley weights |S|! (d - |S| - 1)! / d!.

All values of o can therefore be tabulated before there is a row (FastTreeSHAP v2, Yang 2021, does so for each leaf).
Here one table serves a whole subtree: its key has a bit for each feature that the way to the subtree splits on, and
one for each split within. A row then costs one comparison a bit, and one look-up a subtree, whose rows lie together.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import orjson

if TYPE_CHECKING:
    import xgboost

_BITS: Final = 8  # of a key: what one byte holds
_MOST_BYTES: Final = 128 * 2**20
_LEAVES_AT_ONCE: Final = 512
_FLOAT32_MAX: Final = np.finfo(np.float32).max


class Unsupported(Exception):
    """These trees have no tables: they split on categories, are too deep, or are not a sum of trees."""


class _Tree(NamedTuple):
    left: list[int]
    right: list[int]
    feature: list[int]
    threshold: list[float]  # of a leaf: its value
    missing_left: list[int]
    cover: list[float]


class _Gate(NamedTuple):
    """What one feature must be for a row to come by: in ``[low, high)``, or missing where ``missing`` says so."""

    feature: int
    low: float
    high: float
    missing: bool


class _Leaf(NamedTuple):
    """``shares``: z by feature. ``bits``: by feature, the bits of the key that matter, and what they must be."""

    value: float
    shares: dict[int, float]
    bits: dict[int, tuple[int, int]]


class _Subtree(NamedTuple):
    gates: list[_Gate]
    leaves: list[_Leaf]

    @property
    def features(self) -> list[int]:
        return sorted({feature for leaf in self.leaves for feature in leaf.shares})


class LeafTables:
    """The tables of one booster; immutable and safe to share between threads."""

    def __init__(self, subtrees: list[_Subtree], features: int, base_value: float) -> None:
        """:raises Unsupported: the tables would be too large."""
        sizes = np.array([1 << len(subtree.gates) for subtree in subtrees])
        if sizes.sum() * _BITS * 4 > _MOST_BYTES:
            raise Unsupported("the tables would be too large")
        self._features: Final = features
        self._base_value: Final = base_value
        # A bit that is not used stays 0, and a column that is not used adds to a feature beyond the last.
        closed = _Gate(0, np.inf, -np.inf, False)
        gates = [gate for s in subtrees for gate in [*s.gates, *[closed] * (_BITS - len(s.gates))]]
        self._reads: Final = np.array([gate.feature for gate in gates], np.intp)
        self._low: Final = np.array([gate.low for gate in gates], np.float32)
        self._high: Final = np.array([gate.high for gate in gates], np.float32)
        self._missing: Final = np.array([gate.missing for gate in gates], np.bool_)
        columns = np.full((len(subtrees), _BITS), features, np.intp)
        for position, subtree in enumerate(subtrees):
            columns[position, : len(subtree.features)] = subtree.features
        self._columns: Final = columns.ravel()
        self._starts: Final = np.cumsum(sizes) - sizes
        self._table: Final = _tabulate(subtrees, self._starts, int(sizes.sum()))

    @classmethod
    def of(cls, booster: "xgboost.Booster", base_value: float) -> Self:
        """Prepare; takes about a third of a second for 200 trees of depth 6.

        :param base_value: the last column of ``pred_contribs``, the same for every row.
        :raises Unsupported: these trees have no tables.
        """
        subtrees = [subtree for tree in _trees(booster) for subtree in _subtrees(tree)]
        return cls(subtrees, int(booster.num_features()), base_value)

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return int(self._table.nbytes)

    def contributions(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Shapley values, shape (n, f + 1), base value last, for ``rows`` of shape (n, f), NaN where missing.

        Infinite values count as the largest finite ones.
        """
        found = np.empty((len(rows), self._features + 1), np.float32)
        found[:, -1] = self._base_value
        for position, row in enumerate(np.clip(rows, -_FLOAT32_MAX, _FLOAT32_MAX)):
            values = row.take(self._reads)
            passed = (values >= self._low) & (values < self._high)
            if np.isnan(row).any():
                passed |= np.isnan(values) & self._missing
            keys = np.packbits(passed, bitorder="little")  # a byte a subtree
            parts = self._table.take(self._starts + keys, axis=0)
            found[position, :-1] = np.bincount(self._columns, parts.ravel(), self._features + 1)[:-1]
        return found


def _trees(booster: "xgboost.Booster") -> Iterator[_Tree]:
    try:
        learner: dict[str, Any] = orjson.loads(bytes(booster.save_raw("json")))["learner"]
    except orjson.JSONDecodeError as error:  # an infinite threshold
        raise Unsupported("the trees are not plain numbers") from error
    if learner["gradient_booster"]["name"] != "gbtree" or int(learner["learner_model_param"]["num_class"]) > 1:
        raise Unsupported("not a sum of trees")
    for tree in learner["gradient_booster"]["model"]["trees"]:
        if any(tree["split_type"]) or int(tree["tree_param"]["size_leaf_vector"]) > 1:
            raise Unsupported("splits on categories, or several outputs")
        found = _Tree(
            tree["left_children"],
            tree["right_children"],
            tree["split_indices"],
            tree["split_conditions"],
            tree["default_left"],
            tree["sum_hessian"],
        )
        if min(found.cover) <= 0:
            raise Unsupported("no training row came by somewhere")
        yield found


class _Way(NamedTuple):
    """From the root to a node: what each feature must be, and the share of rows that it lets through."""

    gates: dict[int, _Gate]
    shares: dict[int, float]

    def down(self, tree: _Tree, node: int, *, left: bool) -> "_Way":
        """The way to a child."""
        feature = tree.feature[node]
        known = self.gates.get(feature, _Gate(feature, -np.inf, np.inf, True))
        threshold = float(np.float32(tree.threshold[node]))
        missing = known.missing and bool(tree.missing_left[node]) == left
        low, high = (known.low, min(known.high, threshold)) if left else (max(known.low, threshold), known.high)
        child = tree.left[node] if left else tree.right[node]
        share = self.shares.get(feature, 1.0) * tree.cover[child] / tree.cover[node]
        return _Way({**self.gates, feature: _Gate(feature, low, high, missing)}, {**self.shares, feature: share})


def _subtrees(tree: _Tree) -> Iterator[_Subtree]:
    """The tree cut into the largest subtrees whose keys fit into a byte."""
    splits = [0] * len(tree.left)  # within each subtree; children come after their parents
    for node in reversed(range(len(tree.left))):
        if tree.left[node] >= 0:
            splits[node] = 1 + splits[tree.left[node]] + splits[tree.right[node]]
    waiting = [(0, _Way({}, {}))]
    while waiting:
        node, way = waiting.pop()
        if len(way.gates) + splits[node] <= _BITS:
            yield _subtree(tree, node, way)
        elif splits[node] == 0:
            raise Unsupported(f"a path has more than {_BITS} features")
        else:
            waiting.append((tree.left[node], way.down(tree, node, left=True)))
            waiting.append((tree.right[node], way.down(tree, node, left=False)))


def _subtree(tree: _Tree, root: int, way: _Way) -> _Subtree:
    gates = list(way.gates.values())
    leaves = []
    before = {gate.feature: (1 << bit, 1 << bit) for bit, gate in enumerate(gates)}
    waiting = [(root, way.shares, before)]
    while waiting:
        node, shares, bits = waiting.pop()
        if tree.left[node] < 0:
            leaves.append(_Leaf(float(np.float32(tree.threshold[node])), shares, bits))
            continue
        feature, bit = tree.feature[node], 1 << len(gates)
        gates.append(_Gate(feature, -np.inf, tree.threshold[node], bool(tree.missing_left[node])))
        mask, wanted = bits.get(feature, (0, 0))
        for child, passed in ((tree.left[node], bit), (tree.right[node], 0)):
            share = shares.get(feature, 1.0) * tree.cover[child] / tree.cover[node]
            waiting.append((child, {**shares, feature: share}, {**bits, feature: (mask | bit, wanted | passed)}))
    return _Subtree(gates, leaves)


def _tabulate(subtrees: list[_Subtree], starts: npt.NDArray[np.intp], rows: int) -> npt.NDArray[np.float32]:
    """One row a key of each subtree, one column a feature of it, in the order of ``_Subtree.features``."""
    table = np.zeros((rows, _BITS))
    columns = [{feature: column for column, feature in enumerate(subtree.features)} for subtree in subtrees]
    leaves = [(position, leaf) for position, subtree in enumerate(subtrees) for leaf in subtree.leaves]
    shapes: dict[tuple[int, int], list[tuple[int, _Leaf]]] = {}
    for position, leaf in leaves:
        if leaf.shares:  # a tree that is one leaf only adds to the base value
            shapes.setdefault((len(leaf.shares), len(subtrees[position].gates)), []).append((position, leaf))
    for (_, bits), alike in shapes.items():
        for first in range(0, len(alike), _LEAVES_AT_ONCE):
            block = alike[first : first + _LEAVES_AT_ONCE]
            values = np.array([leaf.value for _, leaf in block])
            shares = np.array([list(leaf.shares.values()) for _, leaf in block])
            masks = np.array([[leaf.bits[feature] for feature in leaf.shares] for _, leaf in block], np.int64)
            parts = _parts(values, shares, masks, bits)
            places = starts[[position for position, _ in block]][:, None] + np.arange(1 << bits)
            into = np.array([[columns[position][feature] for feature in leaf.shares] for position, leaf in block])
            np.add.at(table, (places[:, :, None], into[:, None, :]), parts)
    return table.astype(np.float32)


def _parts(
    values: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], masks: npt.NDArray[np.int64], bits: int
) -> npt.NDArray[np.float64]:
    """What leaves add to their features under each key, shape (leaves, 2^bits, d).

    :param values: shape (leaves,).
    :param shares: z, shape (leaves, d).
    :param masks: bits that matter and what they must be, shape (leaves, d, 2).
    """
    features = shares.shape[1]
    every = np.arange(1 << features)[:, None] >> np.arange(features) & 1  # o, shape (2^d, d)
    nodes, weights = np.polynomial.legendre.leggauss(features // 2 + 1)  # exact up to degree d + 1
    table = np.zeros((len(values), 1 << features, features))
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        factors = t * every + (1 - t) * shares[:, None, :]
        table += weight * factors.prod(axis=2, keepdims=True) / factors
    table *= values[:, None, None] * (every - shares[:, None, :])
    keys = np.arange(1 << bits)
    passed = (keys[:, None] & masks[:, None, :, 0]) == masks[:, None, :, 1]  # (leaves, 2^bits, d)
    position = passed @ (1 << np.arange(features))
    return np.take_along_axis(table, position[:, :, None], axis=1)
