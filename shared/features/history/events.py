"""Events: what history keeps of a transaction, in integers only, and the two ways to encode one.

Numbers are fixed-point and categories are 64-bit hashes, so that sums are exact, order does not matter and the store
holds no clear text. :class:`EventEncoder` encodes one transaction, :func:`encode_frame` a whole file; both give the
same integers.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Entity = tuple[str, ...]
Ints = NDArray[np.int64]

#: In place of a number, code, key, id or time that is missing.
MISSING: Final = -(2**63)
#: Labels of an event: 1 fraud, 0 genuine, -1 unknown.
UNKNOWN: Final = -1
#: With sums of at most 1000 such numbers, int64 never overflows.
LARGEST_NUMBER: Final = 2**53
MAX_HISTORY: Final = 1000

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


class NumberColumn(NamedTuple):
    """A numeric column that events carry, as ``round(value * 10**decimals)``."""

    name: str
    decimals: int


@dataclass(frozen=True)
class EventLayout:
    """What events of a plan carry, and how far back the plan looks.

    ``entities`` are keys of one or two columns, ``codes`` are categorical columns. A transaction's history holds at
    most ``history_limit`` events, none older than ``span_us`` microseconds.
    """

    time_column: str
    id_column: str | None
    entities: tuple[Entity, ...]
    numbers: tuple[NumberColumn, ...]
    codes: tuple[str, ...]
    history_limit: int
    span_us: int
    uses_labels: bool

    @cached_property
    def fingerprint(self) -> str:
        """Equal for layouts whose stored events are interchangeable; 16 hexadecimal digits."""
        stored = [self.time_column, self.id_column, self.entities, self.numbers, self.codes]
        return hashlib.sha256(json.dumps(stored, separators=(",", ":")).encode()).hexdigest()[:16]

    @property
    def category_columns(self) -> tuple[str, ...]:
        """Columns read as categories, each once."""
        return tuple(dict.fromkeys([*(column for entity in self.entities for column in entity), *self.codes]))


class Event(NamedTuple):
    """One transaction as history keeps it; ``None`` is missing. ``keys``, ``numbers``, ``codes`` follow the layout."""

    time_us: int | None
    id_hash: int | None
    keys: tuple[int | None, ...]
    numbers: tuple[int | None, ...]
    codes: tuple[int | None, ...]


def hash_text(text: str) -> int:
    """BLAKE2b of the text's UTF-8, 8 bytes, as a signed integer that is never :data:`MISSING`."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return max(int.from_bytes(digest, "little", signed=True), MISSING + 1)


def pair_key(first: int, second: int) -> int:
    """The key of two hashes, order matters: the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    mixed = (first * _GOLDEN + second) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed ^= mixed >> 31
    return max(mixed - 2**64 if mixed >= 2**63 else mixed, MISSING + 1)


def _pair_keys(first: Ints, second: Ints) -> Ints:
    mixed = first.view(np.uint64) * np.uint64(_GOLDEN) + second.view(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    keys = np.maximum(mixed.view(np.int64), MISSING + 1)
    keys[(first == MISSING) | (second == MISSING)] = MISSING
    return keys


def fixed_point(value: float | None, decimals: int) -> int | None:
    """``value * 10**decimals`` rounded half to even; ``None`` when missing or beyond 2**53."""
    if value is None:
        return None
    scaled = value * 10.0**decimals
    if not math.isfinite(scaled):
        return None
    number = round(scaled)
    return number if -LARGEST_NUMBER <= number <= LARGEST_NUMBER else None


def id_text(value: Any) -> str | None:
    """The canonical text of a transaction's id: text, whole numbers and booleans have one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


class EventEncoder:
    """A layout made ready for single transactions.

    :param number: reads a column of a transaction as a number, or ``None``.
    :param category: the same as text.
    :param instant: the same as microseconds since 1970 UTC.
    """

    __slots__ = ("_category", "_instant", "_layout", "_number")

    def __init__(
        self,
        layout: EventLayout,
        number: Callable[[str, Mapping[str, Any]], float | None],
        category: Callable[[str, Mapping[str, Any]], str | None],
        instant: Callable[[str, Mapping[str, Any]], int | None],
    ) -> None:
        self._layout = layout
        self._number = number
        self._category = category
        self._instant = instant

    def encode(self, transaction: Mapping[str, Any], transaction_id: str | None = None) -> Event:
        """The event of ``transaction``; ``transaction_id`` stands in for a missing id.

        :raises ValueError: a value has the wrong type.
        """
        layout = self._layout
        codes: dict[str, int | None] = {}
        for column in layout.category_columns:
            text = self._category(column, transaction)
            codes[column] = None if text is None else hash_text(text)
        own = id_text(transaction.get(layout.id_column)) if layout.id_column is not None else None
        identity = transaction_id if own is None else own
        return Event(
            time_us=self._instant(layout.time_column, transaction),
            id_hash=None if identity is None else hash_text(identity),
            keys=tuple(_key([codes[column] for column in entity]) for entity in layout.entities),
            numbers=tuple(fixed_point(self._number(name, transaction), decimals) for name, decimals in layout.numbers),
            codes=tuple(codes[column] for column in layout.codes),
        )


def _key(parts: Sequence[int | None]) -> int | None:
    first, second = parts[0], parts[-1]
    if first is None or second is None:
        return None
    return first if len(parts) == 1 else pair_key(first, second)


@dataclass(frozen=True)
class EncodedEvents:
    """Every row of a frame as an event, in the frame's order; :data:`MISSING` where there is nothing.

    ``time_us`` (n,), ``keys`` one (n,) an entity, ``numbers`` (n,) a number column, ``codes`` (n,) a code column,
    ``label`` int8 (n,), ``known_at_us`` (n,): when the label became known. All others int64.
    """

    time_us: Ints
    keys: tuple[Ints, ...]
    numbers: tuple[Ints, ...]
    codes: tuple[Ints, ...]
    label: NDArray[np.int8]
    known_at_us: Ints
    ids: "pl.Series | None"

    def id_hashes(self, rows: NDArray[np.intp] | None = None) -> Ints:
        """Hashes of the transaction ids, of all rows or of these; hashing is slow, so only on demand."""
        if self.ids is None:
            return np.full(len(self.time_us) if rows is None else len(rows), MISSING)
        return hash_series(self.ids if rows is None else self.ids.gather(rows))


def hash_series(values: "pl.Series") -> Ints:
    """:func:`hash_text` of the text of every value, String or integer; each distinct value is hashed once."""
    import polars as pl

    distinct = values.drop_nulls().unique()
    hashes = pl.Series([hash_text(text) for text in distinct.cast(pl.String).to_list()], dtype=pl.Int64)
    mapped = values.replace_strict(distinct, hashes, default=None, return_dtype=pl.Int64)
    found: Ints = mapped.fill_null(MISSING).to_numpy()
    return found


def encode_frame(layout: EventLayout, columns: "dict[str, pl.Series]") -> EncodedEvents:
    """Encode a whole frame.

    :param columns: ``number:<name>`` (Float64), ``category:<name>`` (String or integer), ``time`` (Int64 microseconds),
        and where they exist ``id`` (String or integer), ``label`` (Int8) and ``known_at`` (Int64 microseconds); null is
        missing. Emptied of categories and numbers.
    """
    time = _integers(columns["time"])
    # Taken out of the mapping, so that what is encoded does not stay in memory.
    hashed = {name: hash_series(columns.pop(f"category:{name}")) for name in layout.category_columns}
    label, known_at = columns.get("label"), columns.get("known_at")
    return EncodedEvents(
        time_us=time,
        keys=tuple(
            hashed[entity[0]] if len(entity) == 1 else _pair_keys(hashed[entity[0]], hashed[entity[1]])
            for entity in layout.entities
        ),
        numbers=tuple(_fixed_points(columns.pop(f"number:{name}"), decimals) for name, decimals in layout.numbers),
        codes=tuple(hashed[name] for name in layout.codes),
        # One number seen as many takes no memory.
        label=np.broadcast_to(np.int8(UNKNOWN), len(time)) if label is None else label.fill_null(UNKNOWN).to_numpy(),
        known_at_us=np.broadcast_to(np.int64(MISSING), len(time)) if known_at is None else _integers(known_at),
        ids=columns.get("id"),
    )


def _integers(series: "pl.Series") -> Ints:
    found: Ints = series.fill_null(MISSING).to_numpy()
    return found


def _fixed_points(series: "pl.Series", decimals: int) -> Ints:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(series.fill_null(float("nan")).to_numpy() * 10.0**decimals)
        known = np.abs(scaled) <= LARGEST_NUMBER
    numbers = np.full(len(scaled), MISSING)
    numbers[known] = scaled[known].astype(np.int64)
    return numbers
