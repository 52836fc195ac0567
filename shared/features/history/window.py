"""The online executor of history features: one transaction, the events read for it, and what they come to.

Equal to ``batch_history`` to the last bit: both reduce a window to the same integers and combine those by the same
double-precision operations in the same order.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.features.history.events import MISSING, UNKNOWN, Ints
from shared.features.history.specs import ENTROPY_TERMS, ENTROPY_UNIT, LOG2, HistoryFunction, HistorySpec

NAN: Final = float("nan")
# Squares of smaller differences, a thousand of them, fit int64.
_SMALL: Final = 2**26


@dataclass(frozen=True, slots=True)
class EntityHistory:
    """The newest events of one key before one moment, at most the plan's ``history_limit``, in any order.

    ``time_us`` (n,), ``numbers`` (n, k), ``codes`` (n, c), ``known_at_us`` (n,): int64, ``MISSING`` where there is
    nothing; ``label`` (n,): int8, -1 unknown.
    """

    time_us: Ints
    numbers: Ints
    codes: Ints
    label: NDArray[np.int8]
    known_at_us: Ints

    @classmethod
    def empty(cls, numbers: int, codes: int) -> "EntityHistory":
        """No events."""
        return cls(
            time_us=np.empty(0, np.int64),
            numbers=np.empty((0, numbers), np.int64),
            codes=np.empty((0, codes), np.int64),
            label=np.empty(0, np.int8),
            known_at_us=np.empty(0, np.int64),
        )


class Past:
    """One entity's history as one transaction sees it; what several features need is worked out once."""

    __slots__ = ("_columns", "_history", "_known", "_now", "_starts", "_sums", "_times", "numbers")

    def __init__(self, history: EntityHistory, now_us: int, numbers: tuple[int | None, ...]) -> None:
        """:param numbers: the transaction's own, as the layout orders them."""
        times = history.time_us
        if len(times) > 1 and not (times[1:] >= times[:-1]).all():
            order = np.argsort(times, kind="stable")
            history = EntityHistory(
                times[order], history.numbers[order], history.codes[order], history.label[order],
                history.known_at_us[order],
            )  # fmt: skip
        self._history: Final = history
        self._times: Final[list[int]] = history.time_us.tolist()
        self._now: Final = now_us
        self.numbers: Final = numbers
        self._starts: dict[int, int] = {}
        self._columns: dict[int, tuple[Ints, bool]] = {}
        self._sums: dict[tuple[int, int], tuple[int, int]] = {}
        self._known: tuple[list[int], list[int]] | None = None

    def start(self, window_us: int) -> int:
        """Where the window begins; it ends with the last event."""
        found = self._starts.get(window_us)
        if found is None:
            found = self._starts[window_us] = bisect_left(self._times, self._now - window_us)
        return found

    def count(self, window_us: int) -> int:
        """Events in the window."""
        return len(self._times) - self.start(window_us)

    def values(self, column: int, window_us: int) -> Ints:
        """Numbers in the window that are not missing."""
        found = self._columns.get(column)
        if found is None:
            numbers = self._history.numbers[:, column]
            found = self._columns[column] = numbers, MISSING in numbers
        numbers, gaps = found
        inside = numbers[self.start(window_us) :]
        return inside[inside != MISSING] if gaps else inside

    def total(self, column: int, window_us: int) -> tuple[int, int]:
        """How many numbers, and their sum."""
        found = self._sums.get((column, window_us))
        if found is None:
            values = self.values(column, window_us)
            found = self._sums[column, window_us] = len(values), int(np.add.reduce(values))
        return found

    def centred(self, column: int, window_us: int) -> tuple[int, float, float]:
        """An integer near the window's mean, the mean less that integer, and the population standard deviation.

        All in units of the fixed point. Integers do the subtraction of what is large and nearly equal.
        """
        n, total = self.total(column, window_us)
        if not n:
            return 0, NAN, NAN
        count = float(n)
        centre = round(float(total) / count)
        from_centre = self.values(column, window_us) - centre
        if max(abs(int(from_centre.max())), abs(int(from_centre.min()))) < _SMALL:
            squares = int(from_centre @ from_centre)
        else:
            squares = sum(difference * difference for difference in from_centre.tolist())
        rest = float(total - n * centre) / count
        return centre, rest, math.sqrt(max(0.0, float(squares) / count - rest * rest))

    def distinct(self, column: int, window_us: int) -> int:
        """How many categories occur in the window."""
        found = set(self._history.codes[self.start(window_us) :, column].tolist())
        return len(found) - (MISSING in found)

    def occurrences(self, column: int, window_us: int) -> Ints:
        """How often each category occurs in the window, in no order."""
        inside = self._history.codes[self.start(window_us) :, column]
        counts: Ints = np.unique(inside[inside != MISSING], return_counts=True)[1]
        return counts

    def labels(self, window_us: int) -> tuple[int, int]:
        """Labels in the window that are known by now, and how many of them are fraud."""
        start = self.start(window_us)
        if self._known is None:
            known_at, label = self._history.known_at_us, self._history.label
            places = np.flatnonzero((label != UNKNOWN) & (known_at != MISSING) & (known_at < self._now))
            self._known = places.tolist(), places[label[places] == 1].tolist()
        known, fraud = self._known
        return len(known) - bisect_left(known, start), len(fraud) - bisect_left(fraud, start)

    def since_last(self, window_us: int) -> float:
        """Seconds since the newest event of the window; NaN for none."""
        if not self.count(window_us):
            return NAN
        return float(self._now - self._times[-1]) / 1e6


def _mean(past: Past, spec: HistorySpec) -> float:
    n, total = past.total(spec.column, spec.window_us)
    return float(total) / float(n) / spec.scale if n else NAN


def _ratio_to_mean(past: Past, spec: HistorySpec) -> float:
    current = past.numbers[spec.column]
    n, total = past.total(spec.column, spec.window_us)
    if current is None or not n or not total:
        return NAN
    return float(current) / (float(total) / float(n))


def _deviation(past: Past, spec: HistorySpec) -> float:
    current = past.numbers[spec.column]
    centre, rest, std = past.centred(spec.column, spec.window_us)
    if current is None or not std > 0.0:
        return NAN
    return (float(current) - float(centre) - rest) / std


def _extreme(pick: Callable[[Ints], np.int64]) -> Callable[[Past, HistorySpec], float]:
    def extreme(past: Past, spec: HistorySpec) -> float:
        values = past.values(spec.column, spec.window_us)
        return float(pick(values)) / spec.scale if len(values) else NAN

    return extreme


def _entropy(past: Past, spec: HistorySpec) -> float:
    counts = past.occurrences(spec.column, spec.window_us)
    n = int(counts.sum())
    if not n:
        return NAN
    return max(0.0, float(LOG2[n]) - float(int(ENTROPY_TERMS[counts].sum())) / ENTROPY_UNIT / float(n))


def _acceleration(past: Past, spec: HistorySpec) -> float:
    baseline = past.count(spec.baseline_us)
    if not baseline:
        return NAN
    return float(past.count(spec.window_us) * spec.baseline_us) / float(baseline * spec.window_us)


def _fraud_rate(past: Past, spec: HistorySpec) -> float:
    known, fraud = past.labels(spec.window_us)
    return float(fraud) / float(known) if known else NAN


ONLINE: Final[dict[HistoryFunction, Callable[[Past, HistorySpec], float]]] = {
    "count": lambda past, spec: float(past.count(spec.window_us)),
    "sum": lambda past, spec: float(past.total(spec.column, spec.window_us)[1]) / spec.scale,
    "mean": _mean,
    "std": lambda past, spec: past.centred(spec.column, spec.window_us)[2] / spec.scale,
    "min": _extreme(np.min),
    "max": _extreme(np.max),
    "ratio_to_mean": _ratio_to_mean,
    "deviation": _deviation,
    "distinct": lambda past, spec: float(past.distinct(spec.column, spec.window_us)),
    "entropy": _entropy,
    "time_since_last": lambda past, spec: past.since_last(spec.window_us),
    "first_time": lambda past, spec: 0.0 if past.count(spec.window_us) else 1.0,
    "acceleration": _acceleration,
    "known_count": lambda past, spec: float(past.labels(spec.window_us)[0]),
    "fraud_rate": _fraud_rate,
}
