"""The reference profile of a model: what each feature looked like in training, as counts over fixed cells.

A feature's numbers are cut at up to 127 edges into at most 128 cells. Cell ``k`` holds ``edges[k-1] <= x < edges[k]``,
which is ``numpy.searchsorted(edges, x, side="right")`` and PostgreSQL's ``width_bucket(x, edges)``. The first and the
last cell are empty in the reference: they catch what lies below its minimum and above its maximum. A value so frequent
that it would fill a cell gets one of its own. Missing values have the code 255. So a row's features fit into one byte
each, and PSI, Jensen-Shannon and chi-square over any coarser grouping are sums of cells.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_CELLS = 128
MISSING_CODE = 255
_MAX_HEAVY = 32

Count = Annotated[int, Field(ge=0)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FeatureProfile(_Document):
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
        codes = np.searchsorted(self._edge_array, values, side="right").astype(np.uint8)
        codes[np.isnan(values)] = MISSING_CODE
        return codes

    def count(self, codes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int]:
        """Rows a cell, shape ``(len(counts),)``, and the number of missing ones."""
        found = np.bincount(codes.ravel(), minlength=MISSING_CODE + 1)
        return found[: len(self.counts)], int(found[MISSING_CODE])


class ReferenceProfile(_Document):
    """The profile of every feature of a plan, in the order of the vector."""

    version: Literal[1] = 1
    rows: Count
    features: tuple[FeatureProfile, ...]

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
