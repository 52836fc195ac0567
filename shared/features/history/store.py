"""The online store of history: what is read for a batch of transactions, and what they leave behind.

Two round trips a batch on one connection: one reads the past of all its transactions, the other stores their events
together with the predictions (``shared.scoring.repository.store``). An event counts from that commit on.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.features.history import repository
from shared.features.history.events import MISSING, UNKNOWN, Entity, Event, EventLayout
from shared.features.history.rows import EventRows, Labels
from shared.features.history.window import EntityHistory
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database

_MONTHS_AHEAD = 3
_CLOCK_SKEW = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Moments this near share a reading, made for this many events between them.
_NEARLY_US = 600_000_000
_EVENTS_BETWEEN = 64
_Pair = tuple[int, int, int]  # position of the entity, key, before which microsecond since 1970
#: From PostgreSQL's epoch, the year 2000, to Unix's: timestamps are sent as microseconds since then.
POSTGRES_EPOCH_US: Final = 946_684_800_000_000
INFINITY: Final = 2**63 - 1
RETENTION: Final = timedelta(days=400)


class HistoryStore:
    """Events of all layouts, in PostgreSQL.

    :param retention: how long events are kept; events older than that, or of a time to come, are not stored.
    """

    def __init__(self, database: Database, clock: Clock, *, retention: timedelta = RETENTION) -> None:
        self._database = database
        self._clock = clock
        self._retention = retention
        self._layouts: dict[str, int] = {}

    def kept(self) -> tuple[datetime, datetime]:
        """The first and the last moment whose events are stored now."""
        now = self._clock()
        return now - self._retention, now + _CLOCK_SKEW

    async def layout_id(self, conn: Connection, layout: EventLayout) -> int:
        """The number under which the layout's events are stored."""
        known = self._layouts.get(layout.fingerprint)
        if known is None:
            columns = {
                "time": layout.time_column,
                "id": layout.id_column,
                "entities": layout.entities,
                "numbers": [number._asdict() for number in layout.numbers],
                "codes": layout.codes,
            }
            known = await repository.register_layout(conn, layout.fingerprint, columns)
            self._layouts[layout.fingerprint] = known
        return known

    async def read(
        self, conn: Connection, layout: EventLayout, events: Sequence[Event]
    ) -> list[dict[Entity, EntityHistory]]:
        """What ``OnlinePlan.vector`` needs to know of each transaction's past, as a rule in one round trip.

        One entry for each key that is not missing.
        """
        times = [None if _moment(event.time_us) is None else event.time_us for event in events]
        pairs = {
            (entity, key, time)
            for event, time in zip(events, times, strict=True)
            if time is not None
            for entity, key in enumerate(event.keys)
            if key is not None
        }
        histories = await self._histories(conn, layout, pairs) if pairs else {}
        nothing = EntityHistory.empty(len(layout.numbers), len(layout.codes))
        return [
            {
                entity: nothing if time is None else histories[position, key, time]
                for position, (entity, key) in enumerate(zip(layout.entities, event.keys, strict=True))
                if key is not None
            }
            for event, time in zip(events, times, strict=True)
        ]

    async def _histories(self, conn: Connection, layout: EventLayout, pairs: set[_Pair]) -> dict[_Pair, EntityHistory]:
        """The past of each key before each moment.

        Transactions of one key at nearly the same time, as a hot merchant has in every batch, share one reading: a
        few events more than one of them needs. Should those be too few, the earlier ones are read by themselves.
        """
        newest: dict[tuple[int, int], int] = {}
        for entity, key, time in pairs:
            newest[entity, key] = max(time, newest.get((entity, key), time))
        readings: dict[_Pair, _Pair] = {}
        spread = 0
        for pair in pairs:
            entity, key, time = pair
            apart = newest[entity, key] - time
            readings[pair] = (entity, key, newest[entity, key]) if apart <= _NEARLY_US else pair
            spread = max(spread, apart) if apart <= _NEARLY_US else spread
        more = _EVENTS_BETWEEN if spread else 0
        read = await self._read(conn, layout, set(readings.values()), spread, more)
        if not spread:
            return read
        histories: dict[_Pair, EntityHistory] = {}
        too_few: set[_Pair] = set()
        for pair, reading in readings.items():
            found = _before(layout, read[reading], pair[2], layout.history_limit + more)
            if found is None:
                too_few.add(pair)
            else:
                histories[pair] = found
        if too_few:
            histories |= await self._read(conn, layout, too_few, 0, 0)
        return histories

    async def _read(
        self, conn: Connection, layout: EventLayout, pairs: set[_Pair], longer_us: int, more: int
    ) -> dict[_Pair, EntityHistory]:
        """The layout's span and ``longer_us`` before each moment, its limit and ``more`` events."""
        asked = list(pairs)
        layout_id = await self.layout_id(conn, layout)
        befores = {time: _EPOCH + time * _MICROSECOND for _, _, time in asked}
        found = await repository.read(
            conn,
            layout_id,
            [(entity, key, befores[time]) for entity, key, time in asked],
            span=timedelta(microseconds=layout.span_us + longer_us),
            history_limit=layout.history_limit + more,
        )
        packed = [found.get(position, b"") for position in range(len(asked))]
        return dict(zip(asked, _decoded(layout, packed), strict=True))

    async def rows(self, conn: Connection, layout: EventLayout, events: Sequence[Event]) -> EventRows:
        """The rows that these events add to history."""
        rows = EventRows(await self.layout_id(conn, layout))
        oldest, newest = self.kept()
        for position, event in enumerate(events):
            moment = _moment(event.time_us)
            if moment is None or not oldest <= moment <= newest:
                continue
            values = [MISSING if value is None else value for value in (*event.numbers, *event.codes)]
            payload = np.array(values, ">i8").tobytes()
            for entity, key in enumerate(event.keys):
                if key is not None:
                    rows.entities.append(entity)
                    rows.keys.append(key)
                    rows.occurred.append(moment)
                    rows.id_hashes.append(event.id_hash)
                    rows.payloads.append(payload)
                    rows.positions.append(position)
        return rows

    @staticmethod
    async def take_label_turn(conn: Connection) -> None:
        """Wait until nobody else records labels or tells history of them, and keep others waiting until the
        transaction of ``conn`` ends. So history never goes back to an older label, and labels deadlock with nobody.
        """
        await repository.take_label_turn(conn)

    async def labels_told(self, conn: Connection, layout: EventLayout) -> int:
        """The layout's events know the rows of ``prediction_labels`` up to this id."""
        return await repository.labels_told(conn, await self.layout_id(conn, layout))

    async def following(self, conn: Connection, layouts: Sequence[EventLayout]) -> list[bool]:
        """Which layouts know every row of ``prediction_labels``; the label turn must be held."""
        ids = [await self.layout_id(conn, layout) for layout in layouts]
        found = await repository.list_following(conn, ids) if ids else set()
        return [layout in found for layout in ids]

    async def told_labels(self, conn: Connection, layouts: Sequence[EventLayout], until: int | None = None) -> None:
        """The layouts' events know the rows of ``prediction_labels`` up to ``until``, or all of them, now."""
        await repository.advance_labels_told(conn, [await self.layout_id(conn, layout) for layout in layouts], until)

    async def set_labels(
        self,
        conn: Connection,
        layout: EventLayout,
        events: Sequence[Event],
        labels: Sequence[bool],
        known_at: Sequence[datetime],
    ) -> int:
        """Tell history what became known of events; returns how many of its rows changed.

        An event without an id cannot be told apart from others and is left as it is.
        """
        rows = Labels(await self.layout_id(conn, layout))
        for event, label, known in zip(events, labels, known_at, strict=True):
            moment = _moment(event.time_us)
            if moment is None or event.id_hash is None:
                continue
            for entity, key in enumerate(event.keys):
                if key is not None:
                    rows.entities.append(entity)
                    rows.keys.append(key)
                    rows.occurred.append(moment)
                    rows.id_hashes.append(event.id_hash)
                    rows.labels.append(int(label))
                    rows.known.append(known)
        return await repository.set_labels(conn, rows)

    async def begin(self, conn: Connection, layout: EventLayout, until: datetime | None) -> None:
        """The layout has the events of a dataset that ends at ``until``; one that was begun before stays as it is."""
        if until is not None:
            await repository.begin_complete_until(conn, await self.layout_id(conn, layout), min(until, self._clock()))

    async def complete_until(self, conn: Connection, layout: EventLayout) -> datetime:
        """Predictions made before this moment are events of the layout, or too old to be kept."""
        known = await repository.complete_until(conn, await self.layout_id(conn, layout))
        oldest, _ = self.kept()
        return oldest if known is None else max(known, oldest)

    async def add(self, conn: Connection, layout: EventLayout, events: Sequence[Event]) -> int:
        """Store the events that are not there yet; returns how many rows those are."""
        rows = await self.rows(conn, layout, events)
        if not rows.keys:
            return 0
        await ensure_months(conn, rows.occurred)
        return await repository.merge(conn, rows, [UNKNOWN] * len(rows.keys), [None] * len(rows.keys))

    async def completed(self, conn: Connection, layout: EventLayout, until: datetime) -> None:
        """Every prediction made before ``until`` is now among the layout's events."""
        await repository.advance_complete_until(conn, await self.layout_id(conn, layout), until)

    async def make_partitions(self) -> None:
        """Make the partitions of this month and the months ahead, where they are missing."""
        async with self._database.connection() as conn:
            await repository.ensure_partitions(conn, self._clock(), _MONTHS_AHEAD + 1)

    async def forget(self, origin: Origin) -> list[str]:
        """Drop the months that are older than the retention; returns the partitions' names.

        None while others use the table: the next night is early enough.
        """
        before = self._clock() - self._retention
        async with self._database.transaction() as conn:
            dropped = await repository.drop_partitions(conn, before)
            if dropped:
                await audit.record(
                    conn, origin, None, action="DELETE", resource_type="history_month", resource_id=None,
                    old={"partitions": dropped}, metadata={"before": before.isoformat()},
                )  # fmt: skip
        return dropped


async def ensure_months(conn: Connection, times: Sequence[datetime]) -> None:
    """Make the partitions that events of these times need, month by month."""
    for month in sorted({moment.astimezone(UTC).replace(day=1, hour=0) for moment in times}):
        await repository.ensure_partitions(conn, month, 1)


def _moment(time_us: int | None) -> datetime | None:
    """The time as a datetime; ``None`` when missing or beyond the years 1 to 9999, where there is no history."""
    if time_us is None:
        return None
    try:
        return _EPOCH + time_us * _MICROSECOND
    except OverflowError:
        return None


def _before(layout: EventLayout, history: EntityHistory, now: int, limit: int) -> EntityHistory | None:
    """The part of ``history`` that a transaction of this moment sees; ``None`` where ``limit`` cut off some of it."""
    times = history.time_us
    end = int(times.searchsorted(now))
    if end < layout.history_limit and len(times) == limit:
        return None
    start = max(int(times.searchsorted(now - layout.span_us)), end - layout.history_limit)
    if start == 0 and end == len(times):
        return history
    seen = slice(start, end)
    return EntityHistory(
        time_us=times[seen],
        numbers=history.numbers[:, seen],
        codes=history.codes[:, seen],
        label=history.label[seen],
        known_at_us=history.known_at_us[seen],
    )


def _decoded(layout: EventLayout, packed: Sequence[bytes]) -> list[EntityHistory]:
    """Histories as ``read_entity_events`` packs them, newest event first; decoded in one go, then cut apart."""
    values = len(layout.numbers) + len(layout.codes)
    record = np.dtype([("time", ">i8"), ("known_at", ">i8"), ("values", ">i8", (values,)), ("label", ">i2")])
    # All of it backwards is the first history first, its oldest event first.
    records = np.frombuffer(b"".join(reversed(packed)), record)[::-1]
    time = records["time"] + POSTGRES_EPOCH_US
    known_at = records["known_at"].astype(np.int64)
    known_at = np.where(known_at == INFINITY, MISSING, known_at + POSTGRES_EPOCH_US)
    columns = records["values"].T.astype(np.int64, order="C")
    label = records["label"].astype(np.int8)
    histories = []
    end = 0
    for length in [len(history) // record.itemsize for history in packed]:
        part = slice(end, end := end + length)
        histories.append(
            EntityHistory(
                time_us=time[part],
                numbers=columns[: len(layout.numbers), part],
                codes=columns[len(layout.numbers) :, part],
                label=label[part],
                known_at_us=known_at[part],
            )
        )
    return histories
