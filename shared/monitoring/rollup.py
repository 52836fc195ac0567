"""What was predicted in some span of time, as counts that add up: an hour, and by summing any window.

- ``counts``: rows by cell of each monitored column, one vector for all columns. Behind a column's own cells come two
  more, unseen and missing.
- ``cube``: rows by protected groups and score cell together (and label, in the cube of labels). The threshold is an
  edge of the score's cells, so the cube gives each group's confusion, calibration and areas under curves.
- ``score_sums``: the scores of each score cell summed, in units of 2**-32 so that sums are exact in any order.
- ``latencies``: rows by cell of the milliseconds from arrival to answer; the last cell is unknown.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.monitoring.cells import CellLayout
from shared.monitoring.codes import MISSING_CODE
from shared.monitoring.profile import ReferenceProfile

Ints = NDArray[np.int64]

SCORE_UNIT: Final = 2.0**-32
LATENCY_EDGES: Final = np.unique(np.round(1.25 ** np.arange(0, 52))).astype(np.int64)  # 1 ms to 88 s, 25 % apart
UNKNOWN_LATENCY: Final = len(LATENCY_EDGES) + 1
GENUINE, FRAUD = 0, 1
_KEY_BYTES: Final = 8
_DTYPES: Final = tuple(np.dtype(name) for name in ("<u1", "<u2", "<u4", "<i8"))
_BOUNDS: Final = tuple((int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) for dtype in _DTYPES)
_LEVEL: Final = 1  # of zlib: hours are written once and small anyway


@dataclass(frozen=True)
class RollupLayout:
    """Where each monitored column's counts lie in the vector of all."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]  # cells of a column, unseen and missing included
    cells: CellLayout

    @classmethod
    def of(cls, profile: ReferenceProfile) -> "RollupLayout":
        """The layout of what is predicted with this profile.

        :raises ValueError: the profile has no scores.
        """
        if profile.scores is None:
            raise ValueError("the profile has no scores")
        numbers = [(feature.name, len(feature.counts)) for feature in profile.features]
        categories = [(each.name, len(each.cells)) for each in profile.categories]
        groups = [(each.name, len(each.cells)) for each in profile.groups]
        columns = [*numbers, *categories, *groups, (profile.scores.name, len(profile.scores.counts))]
        return cls(tuple(n for n, _ in columns), tuple(size + 2 for _, size in columns), CellLayout.of(profile))

    @cached_property
    def offsets(self) -> Ints:
        """Where each column begins, and where the last ends: shape (columns + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @property
    def length(self) -> int:
        """Of the vector of counts."""
        return int(self.offsets[-1])

    @property
    def score_cells(self) -> int:
        """Cells of the score, unseen and missing included."""
        return self.sizes[-1]

    def column(self, counts: Ints, position: int) -> Ints:
        """One column's counts out of the vector of all."""
        return counts[self.offsets[position] : self.offsets[position + 1]]

    @cached_property
    def _positions(self) -> Ints:
        """Of each column's 256 codes in the vector of counts: shape (columns, 256). What is no cell is unseen."""
        sizes = np.array(self.sizes)[:, None]
        codes = np.arange(256)[None, :]
        within = np.where(codes < sizes - 2, codes, np.where(codes == MISSING_CODE, sizes - 1, sizes - 2))
        return np.asarray(within + self.offsets[:-1, None], dtype=np.int64)

    def count(self, codes: NDArray[np.uint8]) -> Ints:
        """Rows by cell of every column.

        :param codes: shape (n, width) as :class:`shared.monitoring.cells.CellEncoder` writes them.
        """
        counts = np.zeros(self.length, dtype=np.int64)
        for position in range(len(self.sizes)):
            found = np.bincount(codes[:, position], minlength=256)
            held = np.flatnonzero(found)
            np.add.at(counts, self._positions[position, held], found[held])
        return counts


@dataclass(frozen=True, slots=True)
class Cube:
    """Rows by a few codes together. ``keys``: shape (m,), rising, the codes as the bytes of one integer, the last code
    lowest; ``counts``: shape (m,)."""

    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    counts: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, codes: NDArray[np.uint8], weights: Ints | None = None) -> "Cube":
        """Count rows of codes, shape (n, up to 8); with weights they count for so many, shape (n,)."""
        padded = np.zeros((len(codes), _KEY_BYTES), dtype=np.uint8)
        padded[:, _KEY_BYTES - codes.shape[1] :] = codes
        keys = padded.view(">u8").ravel().astype(np.uint64)
        return cls._summed(keys, np.ones(len(keys), np.int64) if weights is None else weights)

    @classmethod
    def sum(cls, cubes: Iterable["Cube"]) -> "Cube":
        """All rows of several cubes."""
        listed = [cube for cube in cubes if len(cube.keys)]
        if len(listed) < 2:
            return listed[0] if listed else cls()
        return cls._summed(np.concatenate([c.keys for c in listed]), np.concatenate([c.counts for c in listed]))

    @classmethod
    def _summed(cls, keys: NDArray[np.uint64], weights: Ints) -> "Cube":
        unique, inverse = np.unique(keys, return_inverse=True)
        sums = np.zeros(len(unique), dtype=np.int64)
        np.add.at(sums, inverse, weights)
        kept = sums != 0
        return cls(unique[kept], sums[kept])

    def codes(self, width: int) -> NDArray[np.uint8]:
        """The codes of each key: shape (m, width)."""
        return self.keys.astype(">u8").view(np.uint8).reshape(-1, _KEY_BYTES)[:, _KEY_BYTES - width :]

    @property
    def rows(self) -> int:
        """All that is counted."""
        return int(self.counts.sum())

    def pack(self) -> bytes:
        """The cube in bytes: rising keys as differences, then counts."""
        steps = np.diff(self.keys, prepend=np.uint64(0)).view(np.int64)
        return pack(np.concatenate([steps, self.counts]))

    @classmethod
    def unpack(cls, packed: bytes) -> "Cube":
        """What :meth:`pack` wrote."""
        both = unpack(packed)
        half = len(both) // 2
        return cls(np.cumsum(both[:half].view(np.uint64), dtype=np.uint64), both[half:])


@dataclass(frozen=True, slots=True)
class Rollup:
    """The counts of a span of time; see the module."""

    rows: int
    counts: Ints
    cube: Cube
    score_sums: Ints
    latencies: Ints

    @classmethod
    def empty(cls, layout: RollupLayout) -> "Rollup":
        """Of no predictions."""
        return cls(
            0,
            np.zeros(layout.length, np.int64),
            Cube(),
            np.zeros(layout.score_cells, np.int64),
            np.zeros(UNKNOWN_LATENCY + 1, np.int64),
        )

    @classmethod
    def of(
        cls, layout: RollupLayout, codes: NDArray[np.uint8], scores: NDArray[np.float64], latencies: NDArray[np.int32]
    ) -> "Rollup":
        """Count predictions: codes of shape (n, width), scores (n,), milliseconds (n,) with -1 where unknown."""
        width = layout.cells.width
        score = np.minimum(codes[:, width - 1], layout.score_cells - 2)
        sums = np.zeros(layout.score_cells, dtype=np.int64)
        np.add.at(sums, score, np.rint(scores / SCORE_UNIT).astype(np.int64))
        cell = np.where(latencies < 0, UNKNOWN_LATENCY, np.searchsorted(LATENCY_EDGES, latencies, side="right"))
        return cls(
            len(codes),
            layout.count(codes),
            Cube.of(codes[:, layout.cells.tail :]),
            sums,
            np.bincount(cell, minlength=UNKNOWN_LATENCY + 1),
        )

    @classmethod
    def sum(cls, layout: RollupLayout, rollups: Sequence["Rollup"]) -> "Rollup":
        """All predictions of several spans."""
        if not rollups:
            return cls.empty(layout)
        return cls(
            sum(each.rows for each in rollups),
            np.sum([each.counts for each in rollups], axis=0),
            Cube.sum(each.cube for each in rollups),
            np.sum([each.score_sums for each in rollups], axis=0),
            np.sum([each.latencies for each in rollups], axis=0),
        )


def pack(values: Ints) -> bytes:
    """Integers in bytes: the number of their type, then deflated in the smallest type that holds them."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    number = next(n for n, (least, most) in enumerate(_BOUNDS) if least <= low and high <= most)
    return bytes([number]) + zlib.compress(values.astype(_DTYPES[number]).tobytes(), _LEVEL)


def unpack(packed: bytes) -> Ints:
    """What :func:`pack` wrote."""
    return _raw(packed).astype(np.int64)


def sum_packed(packed: Sequence[bytes], length: int) -> Ints:
    """The sum of packed vectors of one length, without keeping them."""
    total = np.zeros(length, dtype=np.int64)
    for each in packed:
        total += _raw(each)
    return total


def _raw(packed: bytes) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(packed[1:]), dtype=_DTYPES[packed[0]])
