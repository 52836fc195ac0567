"""A scored transaction as one byte a monitored column: what monitoring counts instead of looking at inputs again.

The columns of a row, in order: the features of the vector, the categories that the plan reads, the groups of protected
columns, the score. Windows are then sums of counts, whatever their length.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.features.inputs import online_input
from shared.features.plan import FeaturePlan
from shared.monitoring.categories import CategoryProfile, GroupProfile
from shared.monitoring.codes import MISSING_CODE, UNSEEN_CODE
from shared.monitoring.profile import ReferenceProfile

_MICROSECONDS_PER_DAY: Final = 86_400_000_000
_SIGN: Final = np.uint32(0x8000_0000)
_MISSING: Final = bytes([MISSING_CODE])


@dataclass(frozen=True, slots=True)
class CellLayout:
    """Where a column's byte lies in a row of cells: features, then categories, then groups, then the score."""

    features: int
    categories: int
    groups: int

    @classmethod
    def of(cls, profile: ReferenceProfile) -> "CellLayout":
        """The layout of rows that this profile's encoder makes."""
        return cls(len(profile.features), len(profile.categories), len(profile.groups))

    @property
    def width(self) -> int:
        """Bytes a row."""
        return self.tail + self.groups + 1

    @property
    def tail(self) -> int:
        """Where the groups begin, which the score follows."""
        return self.features + self.categories


class CellEncoder:
    """Codes of whole batches; immutable and safe to share between threads.

    One binary search finds the cells of all numbers of a batch: each number's column and rising bits make one integer,
    and so do the edges of all columns.
    """

    __slots__ = ("_categories", "_columns", "_edges", "_first", "_groups", "_time", "layout")

    def __init__(self, profile: ReferenceProfile, plan: FeaturePlan) -> None:
        if profile.scores is None:
            raise ValueError("the profile has no scores")
        columns = [*profile.features, profile.scores]
        self.layout: Final = CellLayout.of(profile)
        self._columns: Final = np.arange(len(columns), dtype=np.uint64)
        self._edges: Final = np.concatenate(
            [_keys(np.array(column.edges, np.float32), n) for n, column in zip(self._columns, columns, strict=True)]
        )
        self._first: Final = np.cumsum([0, *(len(column.edges) for column in columns[:-1])])
        types = {column.name: column.type for column in plan.inputs}
        self._categories: Final = [
            (c.name, _category(c, online_input("category", types[c.name]))) for c in profile.categories
        ]
        self._groups: Final = [(group.name, _group(group)) for group in profile.groups]
        time = plan.config.time_column if any(group.kind == "birth_dates" for group in profile.groups) else None
        self._time: Final = time

    @classmethod
    def of(cls, profile: ReferenceProfile, plan: FeaturePlan) -> "CellEncoder":
        """The encoder of a model's complete profile, see :func:`shared.training.artifacts.read_profile`.

        :raises ValueError: the profile has no scores.
        """
        return cls(profile, plan)

    def encode(
        self, transactions: Sequence[Mapping[str, Any]], matrix: NDArray[np.float32], scores: NDArray[np.floating[Any]]
    ) -> list[bytes]:
        """The cells of each row; never raises for what a transaction holds.

        :param transactions: as received, one a row.
        :param matrix: their vectors, shape (n, f), float32, NaN where missing.
        :param scores: shape (n,), as answered.
        """
        rows, tail = len(matrix), self.layout.tail
        codes = np.empty((rows, self.layout.width), dtype=np.uint8)
        numbers = np.empty((rows, matrix.shape[1] + 1), dtype=np.float32)
        numbers[:, :-1] = matrix
        numbers[:, -1] = scores
        found = self._edges.searchsorted(_keys(numbers, self._columns), side="right")
        found -= self._first
        found[np.isnan(numbers)] = MISSING_CODE
        codes[:, : self.layout.features] = found[:, :-1]
        codes[:, -1] = found[:, -1]
        for position, (name, code) in enumerate(self._categories, start=self.layout.features):
            codes[:, position] = [code(transaction.get(name)) for transaction in transactions]
        if self._groups:
            days = [self._day(transaction) for transaction in transactions]
            for position, (name, code_of_group) in enumerate(self._groups, start=tail):
                codes[:, position] = [
                    code_of_group(t.get(name), day) for t, day in zip(transactions, days, strict=True)
                ]
        whole, width = codes.tobytes(), self.layout.width
        return [whole[start : start + width] for start in range(0, rows * width, width)]

    def _day(self, transaction: Mapping[str, Any]) -> int | None:
        """The day of the transaction's time as one number, None where no group asks for it or there is none."""
        if self._time is None or (value := transaction.get(self._time)) is None:
            return None
        try:
            instant = _INSTANT(value)
        except ValueError:
            return None
        day = np.datetime64(instant // _MICROSECONDS_PER_DAY, "D").item()
        return int(day.year * 10_000 + day.month * 100 + day.day)


_INSTANT: Final = online_input("instant", "datetime")


def _keys(numbers: NDArray[np.float32], column: "NDArray[np.uint64] | np.uint64") -> NDArray[np.uint64]:
    """Integers that rise with the column, and within it with the number, in the shape of ``numbers``.

    Negative floats have all their bits turned, others the sign alone (Herf 2001, "Radix tricks"). -0.0 counts as 0.0.
    """
    bits = (numbers + np.float32(0)).view(np.uint32)
    rising = np.where(bits >= _SIGN, ~bits, bits | _SIGN).astype(np.uint64)
    return rising | (column << np.uint64(32))


def _category(profile: CategoryProfile, read: Callable[[Any], Any]) -> Callable[[Any], int]:
    get = profile.codes.get

    def code(value: Any) -> int:
        if value is None:
            return MISSING_CODE
        if value.__class__ is not str:
            try:
                value = read(value)
            except ValueError:
                return UNSEEN_CODE
        return get(value, UNSEEN_CODE)

    return code


def _group(profile: GroupProfile) -> Callable[[Any, int | None], int]:
    """No feature reads a protected column, so nothing has checked what a transaction holds there."""
    encode = profile.encoder()

    def code(value: Any, day: int | None) -> int:
        if value is None:
            return MISSING_CODE
        try:
            return encode(value, day)
        except (TypeError, ValueError, OverflowError):
            return UNSEEN_CODE

    return code
