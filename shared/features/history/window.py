"""The online executor of history features: one transaction, the events read for it, and what they come to.

Equal to ``batch_history`` to the last bit: both reduce a window to the same integers and combine those by the same
double-precision operations in the same order.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.features.history.events import MISSING, UNKNOWN, Ints
from shared.features.history.specs import ENTROPY_TERMS, ENTROPY_UNIT, LOG2, HistoryFunction, HistorySpec

NAN: Final = float("nan")
# Squares of smaller differences, a thousand of them, fit int64.
_SMALL: Final = 2**26


class EntityHistory(NamedTuple):
    """The newest events of one key before one moment, at most the plan's ``history_limit``, in ascending order of time.

    ``time_us`` (n,), ``numbers`` (k, n), ``codes`` (c, n), ``known_at_us`` (n,): int64, ``MISSING`` where there is
    nothing; ``label`` (n,): int8, -1 unknown. Events of equal time may stand in any order.
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
            numbers=np.empty((numbers, 0), np.int64),
            codes=np.empty((codes, 0), np.int64),
            label=np.empty(0, np.int8),
            known_at_us=np.empty(0, np.int64),
        )


class Past:
    """One entity's history as one transaction sees it; what several features need is worked out once.

    :param windows: those that the features of this entity ask for, in microseconds.
    :param numbers: the transaction's own, as the layout orders them.
    """

    __slots__ = ("_columns", "_history", "_known", "_length", "_now", "_starts", "numbers")

    def __init__(self, history: EntityHistory, now_us: int, windows: Ints, numbers: tuple[int | None, ...]) -> None:
        self._history: Final = history
        self._length: Final = len(history.time_us)
        self._now: Final = now_us
        self._starts: Final[dict[int, int]] = dict(
            zip(windows.tolist(), history.time_us.searchsorted(now_us - windows).tolist(), strict=True)
        )
        self._columns: dict[int, tuple[Ints | None, Ints]] = {}
        self._known: tuple[Ints, Ints] | None = None
        self.numbers: Final = numbers

    def count(self, window_us: int) -> int:
        """Events in the window."""
        return self._length - self._starts[window_us]

    def values(self, column: int, window_us: int) -> Ints:
        """Numbers in the window that are not missing."""
        inside: Ints = self._history.numbers[column, self._starts[window_us] :]
        return inside[inside != MISSING] if self._sums(column)[0] is not None else inside

    def total(self, column: int, window_us: int) -> tuple[int, int]:
        """How many numbers, and their sum."""
        start = self._starts[window_us]
        if start == self._length:
            return 0, 0
        present, sums = self._sums(column)
        return self._length - start if present is None else _from(present, start), _from(sums, start)

    def _sums(self, column: int) -> tuple[Ints | None, Ints]:
        """Running counts of the numbers, ``None`` where none is missing, and their running sums; both exact."""
        found = self._columns.get(column)
        if found is None:
            numbers = self._history.numbers[column]
            present = None
            if self._length and np.minimum.reduce(numbers) == MISSING:
                known = numbers != MISSING
                present = np.add.accumulate(known, dtype=np.int64)
                numbers = np.where(known, numbers, 0)
            found = self._columns[column] = present, np.add.accumulate(numbers)
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

    def categories(self, column: int, window_us: int) -> Ints:
        """Categories in the window, sorted, each as often as it occurs; missing ones left out."""
        found: Ints = np.sort(self._history.codes[column, self._starts[window_us] :])
        if len(found) and found.item(0) == MISSING:  # the least of all numbers
            return found[found.searchsorted(MISSING, "right") :]
        return found

    def labels(self, window_us: int) -> tuple[int, int]:
        """Labels in the window that are known by now, and how many of them are fraud."""
        start = self._starts[window_us]
        if start == self._length:
            return 0, 0
        if self._known is None:
            known_at, label = self._history.known_at_us, self._history.label
            known = (label != UNKNOWN) & (known_at != MISSING) & (known_at < self._now)
            fraud = known & (label == 1)
            self._known = np.add.accumulate(known, dtype=np.int64), np.add.accumulate(fraud, dtype=np.int64)
        return _from(self._known[0], start), _from(self._known[1], start)

    def since_last(self, window_us: int) -> float:
        """Seconds since the newest event of the window; NaN for none."""
        if self._starts[window_us] == self._length:
            return NAN
        return float(self._now - self._history.time_us.item(-1)) / 1e6


def _from(running: Ints, start: int) -> int:
    """What was added from ``start`` on, of running totals that are not empty."""
    return running.item(-1) - (running.item(start - 1) if start else 0)


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


def _distinct(past: Past, spec: HistorySpec) -> float:
    found = past.categories(spec.column, spec.window_us)
    return float(1 + np.count_nonzero(found[1:] != found[:-1])) if len(found) else 0.0


def _entropy(past: Past, spec: HistorySpec) -> float:
    found = past.categories(spec.column, spec.window_us)
    n = len(found)
    if not n:
        return NAN
    counts = np.diff(np.flatnonzero(found[1:] != found[:-1]), prepend=-1, append=n - 1)
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
    "distinct": _distinct,
    "entropy": _entropy,
    "time_since_last": lambda past, spec: past.since_last(spec.window_us),
    "first_time": lambda past, spec: 0.0 if past.count(spec.window_us) else 1.0,
    "acceleration": _acceleration,
    "known_count": lambda past, spec: float(past.labels(spec.window_us)[0]),
    "fraud_rate": _fraud_rate,
}
