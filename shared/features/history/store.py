"""The online store of history: what is read for a batch of transactions, and what they leave behind.

Two round trips a batch: one reads the past of all its transactions, the other stores their events together with the
predictions (``shared.scoring.repository.store``). An event counts from that commit on.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from shared.features.history import repository
from shared.features.history.events import MISSING, Entity, Event, EventLayout
from shared.features.history.repository import EventRows, Labels
from shared.features.history.window import EntityHistory
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database

_MONTHS_AHEAD = 3
_CLOCK_SKEW = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: From PostgreSQL's epoch, the year 2000, to Unix's: timestamps are sent as microseconds since then.
POSTGRES_EPOCH_US: Final = 946_684_800_000_000
INFINITY: Final = 2**63 - 1


class HistoryStore:
    """Events of all layouts, in PostgreSQL.

    :param retention: how long events are kept; events older than that, or of a time to come, are not stored online.
    """

    def __init__(self, database: Database, clock: Clock, *, retention: timedelta = timedelta(days=400)) -> None:
        self._database = database
        self._clock = clock
        self._retention = retention
        self._layouts: dict[str, int] = {}

    def kept(self) -> tuple[datetime, datetime]:
        """The first and the last moment whose events are stored now."""
        now = self._clock()
        return now - self._retention, now + _CLOCK_SKEW

    async def layout_id(self, layout: EventLayout) -> int:
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
            async with self._database.connection() as conn:
                known = await repository.register_layout(conn, layout.fingerprint, columns)
            self._layouts[layout.fingerprint] = known
        return known

    async def read(self, layout: EventLayout, events: Sequence[Event]) -> list[dict[Entity, EntityHistory]]:
        """What ``OnlinePlan.vector`` needs to know of each transaction's past, in one round trip.

        One entry for each key that is not missing.
        """
        layout_id = await self.layout_id(layout)
        moments = [_moment(event.time_us) for event in events]
        asked: dict[tuple[int, int, datetime], int] = {}
        for event, moment in zip(events, moments, strict=True):
            if moment is not None:
                for entity, key in enumerate(event.keys):
                    if key is not None:
                        asked.setdefault((entity, key, moment), len(asked))
        found: dict[int, bytes] = {}
        if asked:
            span = timedelta(microseconds=layout.span_us)
            async with self._database.connection() as conn:
                found = await repository.read(
                    conn, layout_id, list(asked), span=span, history_limit=layout.history_limit
                )
        nothing = EntityHistory.empty(len(layout.numbers), len(layout.codes))
        record = _record(layout)
        histories = {
            pair: _history(found[position], record, len(layout.numbers)) if position in found else nothing
            for pair, position in asked.items()
        }
        return [
            {
                entity: nothing if moment is None else histories[position, key, moment]
                for position, (entity, key) in enumerate(zip(layout.entities, event.keys, strict=True))
                if key is not None
            }
            for event, moment in zip(events, moments, strict=True)
        ]

    async def rows(self, layout: EventLayout, events: Sequence[Event]) -> EventRows:
        """The rows that these events add to history."""
        rows = EventRows(await self.layout_id(layout))
        oldest, newest = self.kept()
        for event in events:
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
        return rows

    async def set_labels(
        self, layout: EventLayout, events: Sequence[Event], labels: Sequence[bool], known_at: Sequence[datetime]
    ) -> int:
        """Tell history what became known of events; returns how many of its rows changed.

        An event without an id cannot be told apart from others and is left as it is.
        """
        rows = Labels(await self.layout_id(layout))
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
        async with self._database.connection() as conn:
            return await repository.set_labels(conn, rows)

    async def make_partitions(self) -> None:
        """Make the partitions of this month and the months ahead, where they are missing."""
        async with self._database.connection() as conn:
            await repository.ensure_partitions(conn, self._clock(), _MONTHS_AHEAD + 1)

    async def forget(self) -> list[str]:
        """Drop the months that are older than the retention; returns the partitions' names.

        None while others use the table: the next night is early enough.
        """
        async with self._database.connection() as conn:
            return await repository.drop_partitions(conn, self._clock() - self._retention)


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


def _record(layout: EventLayout) -> "np.dtype[np.void]":
    """One event as ``read_entity_events`` packs it."""
    values = len(layout.numbers) + len(layout.codes)
    return np.dtype([("time", ">i8"), ("known_at", ">i8"), ("values", ">i8", (values,)), ("label", ">i2")])


def _history(packed: bytes, record: "np.dtype[np.void]", numbers: int) -> EntityHistory:
    """Records, newest first, as arrays in ascending order of time."""
    records = np.frombuffer(packed, record)[::-1]
    known_at = records["known_at"].astype(np.int64)
    values = records["values"].astype(np.int64)
    return EntityHistory(
        time_us=records["time"].astype(np.int64) + POSTGRES_EPOCH_US,
        numbers=values[:, :numbers],
        codes=values[:, numbers:],
        label=records["label"].astype(np.int8),
        known_at_us=np.where(known_at == INFINITY, MISSING, known_at + POSTGRES_EPOCH_US),
    )
