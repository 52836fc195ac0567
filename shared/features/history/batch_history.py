"""The batch executor of history features: every row of a dataset at once, in NumPy.

Rows are sorted by key and time once an entity. A window is then a range of positions that only moves forward, so every
function costs O(n) or O(n log n) whatever the window holds: differences of prefix sums for counts and sums, doubling
for extremes, and for what depends on the set of values the moments at which each event enters and leaves.

Sums wrap modulo 2**64; since every true result fits int64, differences of them are exact all the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.features.history.events import MISSING, UNKNOWN, EncodedEvents, Entity, EventLayout, Ints
from shared.features.history.specs import ENTROPY_TERMS, ENTROPY_UNIT, LOG2, HistoryFunction, HistorySpec
from shared.features.history.timeline import Positions, Timeline

Floats = NDArray[np.float64]
# Squares of differences within a column of this range, MAX_HISTORY of them, fit int64.
_NARROW: Final = 2**26


def history_columns(
    layout: EventLayout, events: EncodedEvents, specs: Sequence[HistorySpec]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each feature of every row, one after the other: its position in ``specs``, and (n,) float32; NaN is missing."""
    by_entity: dict[Entity, list[int]] = {}
    # Features of the same column and window follow each other, so that little has to be remembered.
    for position in sorted(range(len(specs)), key=lambda p: (specs[p].column, specs[p].function, specs[p].window_us)):
        by_entity.setdefault(specs[position].entity, []).append(position)
    for entity, positions in by_entity.items():
        pasts = EntityPasts(layout, events, layout.entities.index(entity))
        for position in positions:
            yield position, pasts.feature(specs[position])


class EntityPasts:
    """What every row of a dataset has in its past, for one entity.

    *Rows* are those with a key and a time, sorted by key, time, id and place in the file. *Events* are the rows that
    are not duplicates, in the same order. ``_end`` is where each row's past ends among the events.
    Positions are 32-bit.
    """

    def __init__(self, layout: EventLayout, events: EncodedEvents, entity: int) -> None:
        self._limit = layout.history_limit
        self._source = events
        self._order, key = _sorted_rows(events, entity)
        time = events.time_us[self._order]
        self._time = time
        first = np.r_[True, key[1:] != key[:-1]] if len(key) else np.empty(0, bool)
        self._group = np.cumsum(first, dtype=np.int32) - np.int32(1)
        repeated = _duplicates(events, self._order, key, time)
        # A slice shares the memory of the rows.
        keep = ~repeated if repeated.any() else slice(None)
        self._rows = self._order[keep]
        self._event_group = self._group[keep]
        self._event_time = time[keep]
        self._starts: dict[int, Positions] = {}
        self._categories: tuple[int, tuple[Ints, Positions, Positions, Ints]] | None = None
        if len(key):
            self._timeline = Timeline(self._event_time, _bounds(self._event_group))
            self._end = self._timeline.search(self._group, time).astype(np.int32)
        else:
            self._end = np.empty(0, np.int32)

    def feature(self, spec: HistorySpec) -> NDArray[np.float32]:
        """The feature of every row of the dataset, (n,), in the dataset's order."""
        found = np.full(len(self._source.time_us), np.nan, np.float32)
        if len(self._order):
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                found[self._order] = BATCH[spec.function](self, spec).astype(np.float32)
        return found

    def start(self, window_us: int) -> Positions:
        """Where each row's window begins among the events."""
        found = self._starts.get(window_us)
        if found is None:
            found = self._timeline.search(self._group, self._time - window_us)
            found = self._starts[window_us] = np.maximum(found, self._end - self._limit).astype(self._end.dtype)
        return found

    def count(self, window_us: int) -> Ints:
        """Events in each row's window."""
        counts: Ints = (self._end - self.start(window_us)).astype(np.int64)
        return counts

    def since_last(self, window_us: int) -> Floats:
        """Seconds since the newest event of the window."""
        gap = self._time - self._event_time[np.maximum(self._end - 1, 0)]
        return np.where(self.count(window_us) > 0, gap.astype(np.float64) / 1e6, np.nan)

    def current(self, column: int) -> Floats:
        """Each row's own number; NaN where missing."""
        own = self._source.numbers[column][self._order]
        return np.where(own == MISSING, np.nan, own.astype(np.float64))

    def values(self, column: int) -> tuple[Ints, NDArray[np.bool_]]:
        """Each event's number, 0 where missing, and where it is present."""
        numbers = self._source.numbers[column][self._rows]
        present = numbers != MISSING
        return np.where(present, numbers, 0), present

    def total(self, column: int, window_us: int) -> tuple[Ints, Ints]:
        """How many numbers in each window, and their sum."""
        values, present = self.values(column)
        n = self.count(window_us) if present.all() else self._within(present.astype(np.int64), window_us)
        return n, self._within(values, window_us)

    def mean(self, column: int, window_us: int) -> Floats:
        """Mean of each window in units of the fixed point."""
        n, total = self.total(column, window_us)
        return np.where(n > 0, total.astype(np.float64) / n.astype(np.float64), np.nan)

    def centred(self, column: int, window_us: int) -> tuple[Ints, Floats, Floats]:
        """Of each window an integer near its mean, the mean less that integer, and the population standard deviation.

        All in units of the fixed point. Integers do the subtraction of what is large and nearly equal.
        """
        values, _ = self.values(column)
        n, total = self.total(column, window_us)
        count = n.astype(np.float64)
        centre = np.where(n > 0, np.rint(total.astype(np.float64) / count), 0.0).astype(np.int64)
        near = centre
        if int(values.max(initial=0)) - int(values.min(initial=0)) + 4 >= _NARROW:
            # Python's integers: exact at any size, and slow.
            values, n, total, near = (array.astype(object) for array in (values, n, total, near))
        squares = self._within(values * values, window_us)
        squares -= 2 * near * total
        squares += n * near * near
        rest = (total - n * near).astype(np.float64) / count
        variance = squares.astype(np.float64) / count - rest * rest
        return centre, rest, np.where(count > 0, np.sqrt(np.maximum(variance, 0.0)), np.nan)

    def extreme(self, column: int, window_us: int, sign: int) -> Floats:
        """Minimum (``sign`` 1) or maximum (-1) of each window, in units of the fixed point."""
        values, present = self.values(column)
        nothing = np.iinfo(np.int64).max
        table = np.where(present, sign * values, nothing)
        begin, length = self.start(window_us), self.count(window_us)
        found = np.full(len(begin), nothing)
        width = 1  # table[i] is the least of width values from i on
        while True:
            here = np.flatnonzero((length >= width) & (length < 2 * width))
            first = begin[here]
            found[here] = np.minimum(table[first], table[first + length[here] - width])
            if width * 2 > min(int(length.max()), len(values)):
                break
            table = np.minimum(table[:-width], table[width:])
            width *= 2
        return np.where(found == nothing, np.nan, sign * found.astype(np.float64))

    def distinct(self, column: int, window_us: int) -> Ints:
        """Different categories in each window: an event counts while it is the last of its category there."""
        _, follower, kept, _ = self._occurrences(column)
        leaves = self._leaves(window_us)[kept]
        enters = self._enters
        replaced = np.where(follower < len(enters), enters[np.minimum(follower, len(enters) - 1)], len(self._order))
        return self._while_inside(enters[kept], np.minimum(leaves, replaced), np.ones(len(kept), np.int64))

    def entropy(self, column: int, window_us: int) -> Floats:
        """Shannon entropy in bits of the categories in each window.

        The sum of c log2(c) over the categories changes only where an event enters or leaves, by a difference of two
        entries of a table of integers.
        """
        category, _, kept, rank = self._occurrences(column)
        members = np.zeros(len(self._rows), np.int64)
        members[kept] = 1
        total = len(self._rows)
        axis, begin = category * (total + 1) + kept, np.flatnonzero(rank == 0)
        enters, leaves = self._enters[kept], self._leaves(window_us)[kept]
        inside = enters < leaves
        category, kept, rank, enters, leaves = (a[inside] for a in (category, kept, rank, enters, leaves))

        def before(groups: Ints, positions: Positions) -> Ints:
            return np.searchsorted(axis, groups * (total + 1) + positions) - begin[groups]

        change = np.zeros(len(self._order) + 1, np.int64)
        joined = rank - before(category, self.start(window_us)[enters])
        np.add.at(change, enters, ENTROPY_TERMS[joined + 1] - ENTROPY_TERMS[joined])
        # An event that never leaves before the rows end leaves at position len(order), which nobody reads.
        left = before(category, self._end[np.maximum(leaves - 1, 0)]) - rank
        np.add.at(change, leaves, ENTROPY_TERMS[left - 1] - ENTROPY_TERMS[left])
        terms = np.cumsum(change[:-1])
        n = self._within(members, window_us)
        bits = LOG2[n] - terms.astype(np.float64) / ENTROPY_UNIT / n.astype(np.float64)
        return np.where(n > 0, np.maximum(bits, 0.0), np.nan)

    def labels(self, window_us: int) -> tuple[Ints, Ints]:
        """Labels in each window that are known by the row's time, and how many of them are fraud."""
        source, events = self._source, self._rows
        label, known_at = source.label[events], source.known_at_us[events]
        known = np.flatnonzero((label != UNKNOWN) & (known_at != MISSING))
        since = np.maximum(self._enters[known], self._learnt(known, known_at[known]))
        until = self._leaves(window_us)[known]
        fraud = (label[known] == 1).astype(np.int64)
        return self._while_inside(since, until, np.ones(len(known), np.int64)), self._while_inside(since, until, fraud)

    def _within(self, summands: Ints, window_us: int) -> Ints:
        """Sum of ``summands``, one an event, over each row's window."""
        sums = np.empty(len(summands) + 1, summands.dtype)
        sums[0] = 0
        np.cumsum(summands, out=sums[1:])
        found: Ints = sums[self._end]
        found -= sums[self.start(window_us)]
        return found

    def _while_inside(self, since: Positions, until: Positions, amounts: Ints) -> Ints:
        """Sum over the events whose rows ``[since, until)`` hold a row, for every row."""
        inside = since < until
        size, amounts = len(self._order) + 1, amounts[inside].astype(np.float64)
        change = np.bincount(since[inside], amounts, size) - np.bincount(until[inside], amounts, size)
        found: Ints = np.cumsum(change[:-1].astype(np.int64))
        return found

    @cached_property
    def _enters(self) -> Positions:
        """For each event the first row that has it in its past."""
        return np.searchsorted(self._end, np.arange(len(self._rows)), "right")

    def _leaves(self, window_us: int) -> Positions:
        """For each event the first row after it whose window begins later."""
        return np.searchsorted(self.start(window_us), np.arange(len(self._rows)), "right")

    def _learnt(self, events: Positions, known_at: Ints) -> Positions:
        """The first row of the event's key that is later than ``known_at``."""
        rows = Timeline(self._time, _bounds(self._group))
        return rows.search(self._event_group[events], known_at, after=True)

    def _occurrences(self, column: int) -> tuple[Ints, Positions, Positions, Ints]:
        """Events with a category, sorted by key, category and place.

        :returns: the category's number among all keys' categories, the event of the same that follows (or the number
            of events), the event, and its rank among its category's.
        """
        if self._categories is not None and self._categories[0] == column:
            return self._categories[1]
        codes = self._source.codes[column][self._rows]
        kept = np.flatnonzero(codes != MISSING)
        order = kept[np.lexsort((codes[kept], self._event_group[kept]))]
        code, group = codes[order], self._event_group[order]
        first = np.r_[True, (code[1:] != code[:-1]) | (group[1:] != group[:-1])] if len(order) else np.empty(0, bool)
        category = np.cumsum(first) - 1
        begin = np.flatnonzero(first)
        rank = (np.arange(len(order)) - begin[category]).astype(np.int32)
        follower = np.full(len(order), len(self._rows), np.int32)
        follower[:-1] = np.where(first[1:], len(self._rows), order[1:])
        self._categories = column, (category, follower, order.astype(np.int32), rank)
        return self._categories[1]


def _bounds(groups: Positions) -> Positions:
    """Where each of the consecutive groups begins, and the end."""
    bounds: Positions = np.r_[np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]), len(groups)]
    return bounds


def _sorted_rows(events: EncodedEvents, entity: int) -> tuple[Positions, Ints]:
    """Rows with a key and a time by key, time, id hash and place in the file; and their keys."""
    keys, times = events.keys[entity], events.time_us
    rows = np.flatnonzero((keys != MISSING) & (times != MISSING))
    key, time = keys[rows], times[rows]
    in_order = bool((time[1:] >= time[:-1]).all())
    order = np.argsort(key, kind="stable") if in_order else np.lexsort((time, key))
    rows, key, time = rows[order], key[order], time[order]
    same = (key[1:] == key[:-1]) & (time[1:] == time[:-1])
    tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same]) if len(key) else np.empty(0, np.intp)
    if len(tied) and events.ids is not None:
        identity = events.id_hashes(rows[tied])
        rows[tied] = rows[tied][np.lexsort((identity, time[tied], key[tied]))]
    return rows, key


def _duplicates(events: EncodedEvents, rows: Positions, key: Ints, time: Ints) -> NDArray[np.bool_]:
    """Rows, sorted, that repeat the key, time and id of the row before."""
    repeated = np.zeros(len(rows), bool)
    if events.ids is None or not len(rows):
        return repeated
    same = np.flatnonzero((key[1:] == key[:-1]) & (time[1:] == time[:-1]))
    here, there = events.id_hashes(rows[same]), events.id_hashes(rows[same + 1])
    repeated[same + 1] = (here == there) & (here != MISSING)
    return repeated


def _deviation(pasts: EntityPasts, spec: HistorySpec) -> Floats:
    centre, rest, std = pasts.centred(spec.column, spec.window_us)
    current = pasts.current(spec.column)
    return np.where(std > 0.0, (current - centre - rest) / std, np.nan)


def _ratio_to_mean(pasts: EntityPasts, spec: HistorySpec) -> Floats:
    mean = pasts.mean(spec.column, spec.window_us)
    return np.where(mean != 0.0, pasts.current(spec.column) / mean, np.nan)


def _acceleration(pasts: EntityPasts, spec: HistorySpec) -> Floats:
    baseline = pasts.count(spec.baseline_us)
    recent = (pasts.count(spec.window_us) * spec.baseline_us).astype(np.float64)
    return np.where(baseline > 0, recent / (baseline * spec.window_us).astype(np.float64), np.nan)


def _fraud_rate(pasts: EntityPasts, spec: HistorySpec) -> Floats:
    known, fraud = pasts.labels(spec.window_us)
    return np.where(known > 0, fraud.astype(np.float64) / known.astype(np.float64), np.nan)


BATCH: Final[Mapping[HistoryFunction, Callable[[EntityPasts, HistorySpec], Floats]]] = {
    "count": lambda pasts, spec: pasts.count(spec.window_us).astype(np.float64),
    "sum": lambda pasts, spec: pasts.total(spec.column, spec.window_us)[1].astype(np.float64) / spec.scale,
    "mean": lambda pasts, spec: pasts.mean(spec.column, spec.window_us) / spec.scale,
    "std": lambda pasts, spec: pasts.centred(spec.column, spec.window_us)[2] / spec.scale,
    "min": lambda pasts, spec: pasts.extreme(spec.column, spec.window_us, 1) / spec.scale,
    "max": lambda pasts, spec: pasts.extreme(spec.column, spec.window_us, -1) / spec.scale,
    "ratio_to_mean": _ratio_to_mean,
    "deviation": _deviation,
    "distinct": lambda pasts, spec: pasts.distinct(spec.column, spec.window_us).astype(np.float64),
    "entropy": lambda pasts, spec: pasts.entropy(spec.column, spec.window_us),
    "time_since_last": lambda pasts, spec: pasts.since_last(spec.window_us),
    "first_time": lambda pasts, spec: (pasts.count(spec.window_us) == 0).astype(np.float64),
    "acceleration": _acceleration,
    "known_count": lambda pasts, spec: pasts.labels(spec.window_us)[0].astype(np.float64),
    "fraud_rate": _fraud_rate,
}
