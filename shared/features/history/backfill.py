"""Yesterday's history for a model promoted today: a dataset's events, by COPY in PostgreSQL's binary form.

A backfill may be interrupted and run again, or run beside scoring: what is stored already is stored once. A chunk that
is new goes in by COPY; one that meets events it knows is merged instead, and brings labels that were unknown.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from shared.features.history import repository
from shared.features.history.events import MISSING, UNKNOWN, EncodedEvents, EventLayout, Ints, hash_text
from shared.features.history.rows import EventRows
from shared.features.history.store import INFINITY, POSTGRES_EPOCH_US, HistoryStore, ensure_months
from shared.platform.database import Connection, Database

if TYPE_CHECKING:
    import polars as pl

    from shared.features.plan import FeaturePlan

CHUNK_ROWS: Final = 50_000
SLICE_ROWS: Final = 500_000  # of one activity: some ten seconds
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # odd, so that products with distinct numbers are distinct modulo 2**64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# PostgreSQL's documentation of COPY, "Binary Format": signature, flags, length of the header's extension; the trailer.
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What a backfill did: rows of the dataset it read, and rows of history it stored or gave a label."""

    rows: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Events of one entity, ready to store: int64 (n,) but for ``label`` int16 (n,) and ``values`` int64 (n, k + c)."""

    layout: int
    entity: int
    key: Ints
    time_us: Ints
    id_hash: Ints
    label: NDArray[np.int16]
    known_at_us: Ints
    values: Ints

    def records(self) -> bytes:
        """The chunk in COPY's binary format, in the order of the covering index."""
        order = np.lexsort((self.time_us, self.key))
        width = self.values.shape[1]
        integers = ("key", "time", "id_hash", "known_at")
        small = ("layout", "entity", "label")
        fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [("columns", ">i2")]
        for name in integers:
            fields += [(f"{name}_length", ">i4"), (name, ">i8")]
        for name in small:
            fields += [(f"{name}_length", ">i4"), (name, ">i2")]
        fields += [("payload_length", ">i4"), ("payload", ">i8", (width,))]
        records = np.empty(len(order), np.dtype(fields))
        records["columns"] = len(integers) + len(small) + 1
        for name in integers:
            records[f"{name}_length"] = 8
        for name in small:
            records[f"{name}_length"] = 2
        records["payload_length"] = 8 * width
        records["key"] = self.key[order]
        records["time"] = self.time_us[order] - POSTGRES_EPOCH_US
        records["id_hash"] = self.id_hash[order]
        known = self.known_at_us[order]
        records["known_at"] = np.where(known == MISSING, INFINITY, known - POSTGRES_EPOCH_US)
        records["layout"] = self.layout
        records["entity"] = self.entity
        records["label"] = self.label[order]
        records["payload"] = self.values[order]
        return _HEADER + records.tobytes() + _TRAILER

    async def merge(self, conn: Connection) -> int:
        """Store what is not there yet."""
        count = len(self.key)
        payloads = self.values.astype(">i8")
        rows = EventRows(
            layout=self.layout,
            entities=[self.entity] * count,
            keys=self.key.tolist(),
            occurred=_datetimes(self.time_us),
            id_hashes=self.id_hash.tolist(),
            payloads=[values.tobytes() for values in payloads],
        )
        known = [
            None if moment == MISSING else _EPOCH + timedelta(microseconds=moment)
            for moment in self.known_at_us.tolist()
        ]
        return await repository.merge(conn, rows, self.label.tolist(), known)


async def backfill(
    database: Database,
    store: HistoryStore,
    layout: EventLayout,
    chunks: Iterator[EncodedEvents],
    *,
    source: str,
    first_row: int = 0,
) -> Backfilled:
    """Store the events of a dataset that are within the store's retention.

    :param chunks: the dataset's rows in file order from ``first_row`` on, made in a thread as they are needed.
    :param source: names the dataset. A row without an id is known by it and its place in the file, so that a second
        run finds the row again.
    """
    async with database.connection() as conn:
        layout_id = await store.layout_id(conn, layout)
    oldest, newest = (_microseconds(moment) for moment in store.kept())
    rows = changed = 0
    while (encoded := await asyncio.to_thread(next, chunks, None)) is not None:
        ids = await asyncio.to_thread(_ids, encoded, source, first_row + rows)
        rows += len(encoded.time_us)
        for entity in range(len(layout.entities)):
            chunk = _chunk(encoded, ids, layout_id, entity, oldest, newest)
            if len(chunk.key):
                changed += await _store(database, chunk)
    return Backfilled(rows, changed)


async def load_dataset_slice(
    database: Database,
    store: HistoryStore,
    plan: "FeaturePlan",
    layout: EventLayout,
    dataset: Path,
    *,
    source: str,
    first_row: int,
) -> Backfilled:
    """Store the events of at most :data:`SLICE_ROWS` rows of a Parquet file, from ``first_row`` on.

    After the last of them the layout is complete up to the newest event of the file: what was scored since then is
    not in the dataset.

    :raises InvalidContent: the dataset does not fit the plan.
    """
    import polars as pl

    part = pl.scan_parquet(dataset).slice(first_row, SLICE_ROWS)
    chunks = dataset_events(plan, layout, part)
    done = await backfill(database, store, layout, chunks, source=source, first_row=first_row)
    if done.rows < SLICE_ROWS:
        async with database.connection() as conn:
            await store.begin(conn, layout, await asyncio.to_thread(_newest, layout, dataset))
    return done


def dataset_events(
    plan: "FeaturePlan", layout: EventLayout, frame: "pl.LazyFrame", rows: int = CHUNK_ROWS
) -> Iterator[EncodedEvents]:
    """The events of a dataset in file order, ``rows`` rows at a time.

    :raises InvalidContent: the dataset does not fit the plan.
    """
    from shared.features.batch import encode_events

    offset = 0
    while len((events := encode_events(plan, layout, frame.slice(offset, rows))).time_us):
        yield events
        offset += rows


def _newest(layout: EventLayout, dataset: Path) -> datetime | None:
    """The time of a dataset's last event."""
    import polars as pl

    from shared.features.inputs import utc_instant

    frame = pl.scan_parquet(dataset)
    found: datetime | None = frame.select(utc_instant(layout.time_column, frame).max()).collect().item()
    return found


async def _store(database: Database, chunk: _Chunk) -> int:
    records = await asyncio.to_thread(chunk.records)
    async with database.connection() as conn:
        months = np.unique(chunk.time_us.astype("datetime64[us]").astype("datetime64[M]"))
        await ensure_months(conn, [month.astype(datetime).replace(tzinfo=UTC) for month in months.astype("M8[us]")])
        try:
            await repository.copy(conn, records)
        except psycopg.errors.UniqueViolation:
            return await chunk.merge(conn)
    return len(chunk.key)


def _chunk(encoded: EncodedEvents, ids: Ints, layout_id: int, entity: int, oldest: int, newest: int) -> _Chunk:
    key, time = encoded.keys[entity], encoded.time_us
    kept = np.flatnonzero((key != MISSING) & (time >= oldest) & (time <= newest))  # MISSING is before any time
    unknown = (encoded.label == UNKNOWN) | (encoded.known_at_us == MISSING)
    values = np.empty((len(kept), len(encoded.numbers) + len(encoded.codes)), np.int64)
    for position, column in enumerate((*encoded.numbers, *encoded.codes)):
        values[:, position] = column[kept]
    return _Chunk(
        layout=layout_id,
        entity=entity,
        key=key[kept],
        time_us=time[kept],
        id_hash=ids[kept],
        label=np.where(unknown, UNKNOWN, encoded.label)[kept].astype(np.int16),
        known_at_us=np.where(unknown, MISSING, encoded.known_at_us)[kept],
        values=values,
    )


def _ids(encoded: EncodedEvents, source: str, first_row: int) -> Ints:
    """Hashes of the rows' ids; a row without one gets the hash of its place in the dataset."""
    hashes = encoded.id_hashes()
    places = np.arange(first_row, first_row + len(hashes), dtype=np.uint64)
    with np.errstate(over="ignore"):
        of_places = places * _GOLDEN + np.uint64(hash_text(source) % 2**64)
    return np.where(hashes == MISSING, of_places.view(np.int64), hashes)


def _datetimes(times_us: Ints) -> list[datetime]:
    return [_EPOCH + timedelta(microseconds=time) for time in times_us.tolist()]


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
