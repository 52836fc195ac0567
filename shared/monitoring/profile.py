"""The reference profile of a model: what each feature looked like in training, as counts over fixed cells.

A feature's numbers are cut at up to 127 edges into at most 128 cells. Cell ``k`` holds ``edges[k-1] <= x < edges[k]``,
which is ``numpy.searchsorted(edges, x, side="right")`` and PostgreSQL's ``width_bucket(x, edges)``. The first and the
last cell are empty in the reference: they catch what lies below its minimum and above its maximum. A value so frequent
that it would fill a cell gets one of its own. Missing values have the code 255. So a row's features fit into one byte
each, and PSI, Jensen-Shannon and chi-square over any coarser grouping are sums of cells.

Beside the features a model's profile has its scores, whose cells are finest where fraud is and are cut at the
threshold, the categories that the plan reads, and the groups of protected columns (``categories.py``).
"""

import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from shared.monitoring.categories import CategoryProfile, Count, Document, GroupProfile
from shared.monitoring.codes import MAX_CELLS, MISSING_CODE

MAX_GROUPS = 6  # protected columns; with the score and the label their codes fit one 64-bit key
_MAX_HEAVY = 32
_TAIL_HALVINGS = range(6, 17)
_MANY = 50_000  # values from which on a table by their bits is worth making
_AT_ONCE = 32_768
_OPEN = 254
_UPPER_HALF = 1 if sys.byteorder == "little" else 0


class FeatureProfile(Document):
    """One feature: ``len(counts) == len(edges) + 1``; ``edges`` are float32 values in rising order.

    ``mean``, ``std`` (the population's), ``minimum`` and ``maximum`` are of the present values, ``None`` if none is.
    """

    name: str
    edges: tuple[float, ...] = Field(max_length=MAX_CELLS - 1)
    counts: tuple[Count, ...]
    missing: Count
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("there is one more count than edges")
        if any(right <= left for left, right in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges rise")
        return self

    @property
    def total(self) -> int:
        """Rows of the reference, missing ones included."""
        return sum(self.counts) + self.missing

    @cached_property
    def _edge_array(self) -> NDArray[np.float32]:
        return np.array(self.edges, dtype=np.float32)

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The cell of each value, 255 where NaN; same shape as ``values``."""
        if values.size < _MANY:
            return self._search(values)
        flat, tables = np.ascontiguousarray(values, dtype=np.float32).ravel(), self._tables()
        codes = np.empty(len(flat), dtype=np.uint8)
        for start in range(0, len(flat), _AT_ONCE):
            codes[start : start + _AT_ONCE] = self._look_up(flat[start : start + _AT_ONCE], *tables)
        return codes.reshape(values.shape)

    def _look_up(
        self, values: NDArray[np.float32], cells: NDArray[np.uint8], edges: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """The upper half of a float's bits tells its cell, but for one comparison where an edge lies among the floats
        that share the half; where several do, the edges are searched."""
        upper = values.view(np.uint16)[_UPPER_HALF::2].astype(np.intp)
        codes = cells.take(upper, mode="clip")  # nothing is beyond the tables; this way nobody looks
        codes += values >= edges.take(upper, mode="clip")
        open_ = np.flatnonzero(codes == _OPEN)
        if len(open_):
            codes[open_] = self._search(values[open_])
        return codes

    def _search(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        codes = np.searchsorted(self._edge_array, values, side="right").astype(np.uint8)
        codes[np.isnan(values)] = MISSING_CODE
        return codes

    def _tables(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """By the upper half of a float's bits: the lowest cell of such floats (``_OPEN`` if more than two),
        and the edge between it and the next one (NaN where there is none); each of shape (65536,)."""
        halves = np.arange(2**16, dtype=np.uint32) << np.uint32(16)
        ends = [halves.view(np.float32), (halves | np.uint32(0xFFFF)).view(np.float32)]
        first, last = (self._search(each) for each in ends)
        cells, most = np.minimum(first, last), np.maximum(first, last)
        steps = most.astype(np.int16) - cells
        edges = np.full(2**16, np.nan, dtype=np.float32)
        # A zero may have either sign, and infinity shares its half with NaN.
        open_ = (steps > 1) | np.isinf(ends[0]) | (ends[0] == 0)
        two = np.flatnonzero((steps == 1) & ~open_)
        edges[two] = self._edge_array[cells[two]]
        cells[open_] = _OPEN
        return cells, edges

    def count(self, codes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int]:
        """Rows a cell, shape ``(len(counts),)``, and the number of missing ones."""
        flat, found = codes.ravel(), np.zeros(MISSING_CODE + 1, dtype=np.int64)
        for start in range(0, len(flat), _AT_ONCE):  # bincount makes eight bytes of each
            found += np.bincount(flat[start : start + _AT_ONCE], minlength=MISSING_CODE + 1)
        return found[: len(self.counts)], int(found[MISSING_CODE])


class ScoreProfile(FeatureProfile):
    """The scores of the test part; from the edge ``first_flagged`` up a transaction is flagged.

    ``first_flagged`` is the smallest float32 that is not below the model's threshold, so a float32 score is flagged
    exactly when its cell is ``flagged_from`` or a later one.
    """

    first_flagged: float

    @model_validator(mode="after")
    def _threshold_is_an_edge(self) -> Self:
        if self.first_flagged not in self.edges:
            raise ValueError("the threshold is an edge")
        return self

    @cached_property
    def flagged_from(self) -> int:
        """The first cell of flagged scores."""
        return self.edges.index(self.first_flagged) + 1


class ReferenceProfile(Document):
    """The profile of every feature of a plan, in the order of the vector; of a model, also what the last three say."""

    version: Literal[1] = 1
    rows: Count
    features: tuple[FeatureProfile, ...]
    categories: tuple[CategoryProfile, ...] = ()
    groups: tuple[GroupProfile, ...] = Field((), max_length=MAX_GROUPS)
    scores: ScoreProfile | None = None

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Cell codes of vectors: ``(n, n_features)`` float32 to the same shape in one byte each."""
        codes = np.empty(vectors.shape, dtype=np.uint8)
        for position, feature in enumerate(self.features):
            codes[..., position] = feature.encode(vectors[..., position])
        return codes

    def to_json(self) -> bytes:
        """The document as UTF-8 JSON."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, document: bytes | str) -> "ReferenceProfile":
        """Read what :meth:`to_json` wrote.

        :raises pydantic.ValidationError: it is not a profile of a known version.
        """
        return cls.model_validate_json(document)


def build_profile(columns: Mapping[str, NDArray[np.float32]], *, cells: int = MAX_CELLS) -> ReferenceProfile:
    """Profile columns of equal length: float32, NaN where missing, in the order of the vector.

    :raises ValueError: columns differ in length, or hold an infinity.
    """
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError("the columns differ in length")
    features = tuple(profile_feature(name, values, cells=cells) for name, values in columns.items())
    return ReferenceProfile(rows=lengths.pop() if lengths else 0, features=features)


def profile_feature(name: str, values: NDArray[np.float32], *, cells: int = MAX_CELLS) -> FeatureProfile:
    """The profile of one feature; see :func:`build_profile`."""
    if not 4 <= cells <= MAX_CELLS:
        raise ValueError(f"4 to {MAX_CELLS} cells")
    single = np.asarray(values, dtype=np.float32)
    present = single[~np.isnan(single)] + np.float32(0)  # -0.0 becomes 0.0
    if np.isinf(present).any():
        raise ValueError(f"{name} holds an infinity")
    edges = _edges(present, cells)
    wide = present.astype(np.float64)
    some = len(present) > 0
    return FeatureProfile(
        name=name,
        edges=tuple(edges.tolist()),
        counts=tuple(np.bincount(np.searchsorted(edges, present, "right"), minlength=len(edges) + 1).tolist()),
        missing=int(len(single) - len(present)),
        mean=float(wide.mean()) if some else None,
        std=float(wide.std()) if some else None,
        minimum=float(wide.min()) if some else None,
        maximum=float(wide.max()) if some else None,
    )


def profile_scores(scores: NDArray[np.float32], threshold: float) -> ScoreProfile:
    """The profile of a model's scores: cells by quantiles, by halvings of the highest share (fraud is rare) and on an
    even grid, cut at the threshold.

    :param scores: calibrated scores in [0, 1], shape (n,), float32.
    :param threshold: a score from here on is flagged.
    """
    single = np.asarray(scores, dtype=np.float32) + np.float32(0)
    first = _first_flagged(threshold)
    shares = np.concatenate([np.arange(1, 48) / 48, [1 - 2.0**-k for k in _TAIL_HALVINGS]])
    cuts = np.quantile(single, shares, method="inverted_cdf") if len(single) else single
    grid = np.arange(1, 50, dtype=np.float32) / np.float32(50)
    ends = (
        np.concatenate([single.min(keepdims=True), _just_above(single.max(keepdims=True))]) if len(single) else single
    )
    edges = np.unique(np.concatenate([cuts, grid, ends, [first]]).astype(np.float32))
    wide = single.astype(np.float64)
    some = len(single) > 0
    return ScoreProfile(
        name="fraud_score",
        edges=tuple(edges.tolist()),
        counts=tuple(np.bincount(np.searchsorted(edges, single, "right"), minlength=len(edges) + 1).tolist()),
        missing=0,
        mean=float(wide.mean()) if some else None,
        std=float(wide.std()) if some else None,
        minimum=float(wide.min()) if some else None,
        maximum=float(wide.max()) if some else None,
        first_flagged=float(first),
    )


def cut_at(profile: FeatureProfile, threshold: float) -> ScoreProfile:
    """Scores that were profiled without their threshold, cut at it; what the cut cell held is divided evenly over its
    width, a guess that is off by less than the cell."""
    first = float(_first_flagged(threshold))
    edges, counts = list(profile.edges), list(profile.counts)
    if first not in edges:
        cell = int(np.searchsorted(edges, first, "right"))
        left = edges[cell - 1] if cell else 0.0
        right = edges[cell] if cell < len(edges) else 1.0
        below = round(counts[cell] * (first - left) / (right - left)) if left <= first < right else 0
        counts[cell : cell + 1] = [below, counts[cell] - below]
        edges.insert(cell, first)
    if len(edges) > MAX_CELLS - 1:  # the lowest scores are told apart least
        near = 2 if edges[1] == first else 1
        counts[near : near + 2] = [counts[near] + counts[near + 1]]
        del edges[near]
    known = profile.model_dump(exclude={"edges", "counts"})
    return ScoreProfile(**known, edges=tuple(edges), counts=tuple(counts), first_flagged=first)


def _first_flagged(threshold: float) -> np.float32:
    first = np.float32(threshold)
    return first if float(first) >= threshold else np.nextafter(first, np.float32(np.inf))


def _edges(present: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """At most ``cells - 1`` edges, the first at the minimum, the last just above the maximum."""
    if not len(present):
        return np.empty(0, dtype=np.float32)
    values, counts = np.unique(present, return_counts=True)
    above = _just_above(values[-1:])
    if len(values) < cells - 1:
        return np.concatenate([values, above])
    heavy = values[counts * cells > counts.sum()]
    if len(heavy) > _MAX_HEAVY:
        order = np.argsort(-counts[np.isin(values, heavy)], kind="stable")
        heavy = np.sort(heavy[order[:_MAX_HEAVY]])
    isolated = np.concatenate([heavy, _just_above(heavy)])
    budget = cells - 1 - len(isolated) - 2
    light = ~np.isin(values, heavy)
    cumulative = np.cumsum(counts[light])
    quantiles = np.linspace(0, cumulative[-1], budget + 2)[1:-1] if light.any() else np.empty(0)
    cuts = values[light][np.searchsorted(cumulative, quantiles, "left")] if len(quantiles) else values[:0]
    edges: NDArray[np.float32] = np.unique(np.concatenate([values[:1], cuts, isolated, above]))
    return edges


def _just_above(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The next float32 of each value, without those that have no finite one."""
    with np.errstate(over="ignore"):
        above = np.nextafter(values, np.float32(np.inf))
    return above[np.isfinite(above)]
