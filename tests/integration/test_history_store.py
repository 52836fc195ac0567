"""The online store of history, on a real PostgreSQL."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import polars as pl
import pytest

from shared.audit.model import Origin
from shared.features.history.backfill import Backfilled, backfill
from shared.features.history.events import (
    MISSING,
    EncodedEvents,
    Entity,
    Event,
    EventLayout,
    NumberColumn,
    encode_frame,
    hash_text,
)
from shared.features.history.store import HistoryStore, ensure_months
from shared.features.history.window import EntityHistory
from shared.platform.database import Database
from shared.scoring import repository as scoring
from shared.scoring.identifiers import prediction_id
from shared.scoring.repository import NewPrediction

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
MINUTE = 60_000_000
DAY = 86_400_000_000
CARD, MERCHANT = ("card",), ("merchant",)
LAYOUT = EventLayout(
    time_column="time",
    id_column="id",
    entities=(CARD, MERCHANT, ("card", "merchant")),
    numbers=(NumberColumn("amount", 2),),
    codes=("country", "device"),
    history_limit=5,
    span_us=40 * DAY,
    uses_labels=True,
)


@pytest.fixture
async def store(database: Database) -> HistoryStore:
    """An empty store whose clock stands still, with partitions for the months of the tests."""
    store = HistoryStore(database, lambda: NOW)
    async with database.connection() as conn:
        await ensure_months(conn, [NOW - timedelta(days=61), NOW - timedelta(days=30), NOW])
    await store.make_partitions()
    return store


def event(
    at_us: int,
    name: str | None,
    keys: tuple[int | None, ...] = (1, 2, 3),
    amount: int | None = 100,
    codes: tuple[int | None, ...] = (7, None),
) -> Event:
    """An event with the id ``name``."""
    return Event(at_us, None if name is None else hash_text(name), keys, (amount,), codes)


async def remember(database: Database, store: HistoryStore, events: Sequence[Event]) -> None:
    """Store events as scoring does, with predictions that no model's promotion forbids."""
    async with database.connection() as conn:
        rows = await store.rows(conn, LAYOUT, events)
        await scoring.store(conn, uuid4(), [prediction() for _ in events], None, rows)


async def read(
    database: Database, store: HistoryStore, events: Sequence[Event], layout: EventLayout = LAYOUT
) -> list[dict[Entity, EntityHistory]]:
    """The past of each event, read in one go."""
    async with database.connection() as conn:
        return await store.read(conn, layout, events)


def prediction() -> NewPrediction:
    """A prediction of the present month."""
    now = datetime.now(UTC)
    return NewPrediction(prediction_id(now), "t", b"{}", 0.5, False, 0.5, None, 1, now)


async def count(database: Database) -> int:
    """Rows in the store."""
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM entity_events")).fetchone()
    assert row is not None
    return int(row["n"])


async def test_reads_what_was_remembered(database: Database, store: HistoryStore) -> None:
    """Every number, code and time comes back as it was, missing ones included, for each key that is not missing."""
    await remember(database, store, [event(NOW_US - 5, "a", (1, None, None), -(2**53), (-(2**63) + 1, 2**63 - 1))])
    await remember(database, store, [event(NOW_US - 1, "b", (1, 2, 3), None, (None, None))])
    [found] = await read(database, store, [event(NOW_US, "c", (1, None, 3))])
    assert set(found) == {CARD, ("card", "merchant")}
    card = found[CARD]
    assert card.time_us.tolist() == [NOW_US - 5, NOW_US - 1]
    assert card.numbers.tolist() == [[-(2**53), MISSING]]
    assert card.codes.tolist() == [[-(2**63) + 1, MISSING], [2**63 - 1, MISSING]]
    assert card.label.tolist() == [-1, -1]
    assert card.known_at_us.tolist() == [MISSING, MISSING]
    assert found["card", "merchant"].time_us.tolist() == [NOW_US - 1]


async def test_equals_a_loop_over_all_events(database: Database, store: HistoryStore) -> None:
    """For a batch of transactions with ties, duplicates and two months the store finds what a plain loop finds."""
    draws = random.Random(5)
    moments = [NOW_US - draws.randrange(60) * DAY // 2 for _ in range(25)]
    events = [
        event(draws.choice(moments), f"e{draws.randrange(200)}", (draws.randrange(3), draws.randrange(2), 0), number)
        for number in range(300)
    ]
    for start in range(0, len(events), 50):
        await remember(database, store, events[start : start + 50])
    asked = [event(moment, None, (draws.randrange(4), draws.randrange(2), None)) for moment in moments]
    for transaction, found in zip(asked, await read(database, store, asked), strict=True):
        for position, entity in enumerate([CARD, MERCHANT]):
            history = found[entity]
            assert list(zip(history.time_us, history.numbers[0], strict=True)) == loop(events, transaction, position)


def loop(events: Sequence[Event], transaction: Event, entity: int) -> list[tuple[int, int | None]]:
    """Times and numbers of the history by its definition."""
    first: dict[tuple[int | None, int | None], Event] = {}
    for past in events:
        if past.keys[entity] == transaction.keys[entity]:
            first.setdefault((past.time_us, past.id_hash), past)
    assert transaction.time_us is not None
    inside = [
        (past.time_us, past.id_hash, past.numbers[0])
        for past in first.values()
        if past.time_us is not None
        and past.id_hash is not None
        and transaction.time_us - LAYOUT.span_us <= past.time_us < transaction.time_us
    ]
    return [(time, number) for time, _, number in sorted(inside)[-LAYOUT.history_limit :]]


@pytest.mark.parametrize("between", [3, 64, 65, 200])
async def test_neighbours_in_a_batch_see_what_each_would_alone(
    database: Database, store: HistoryStore, between: int
) -> None:
    """Transactions of one key some events apart see the same in one batch as one by one, however many those are."""
    await remember(
        database, store, [event(NOW_US - number * 1_000_000, f"e{number}") for number in range(between + 20)]
    )
    await remember(
        database, store, [event(NOW_US - 40 * DAY + number * 1_000_000, f"o{number}") for number in range(4)]
    )
    asked = [
        event(NOW_US - seconds * 1_000_000 + 1, None)
        for seconds in (0, 1, between - 5, between - 4, between, between + 18, 500, 7 * 86_400)
    ]
    together = await read(database, store, asked)
    for transaction, found in zip(asked, together, strict=True):
        [alone] = await read(database, store, [transaction])
        assert found[CARD].time_us.tolist() == alone[CARD].time_us.tolist()
        assert found[CARD].label.tolist() == alone[CARD].label.tolist()


async def test_a_hot_key_costs_no_more_than_the_limit(database: Database, store: HistoryStore) -> None:
    """Of a key with 20,000 events in two months the index yields history_limit entries and not one more."""
    async with database.transaction() as conn:
        layout_id = await store.layout_id(conn, LAYOUT)
        await conn.execute(
            "INSERT INTO entity_events (layout, entity, key, occurred_at, id_hash, payload) "
            "SELECT %s, 1, 2, %s::timestamptz - i * interval '3 minutes', i, '\\x' FROM generate_series(1, 20000) AS i",
            [layout_id, NOW],
        )
        parameters = [layout_id, [1], [2], [NOW], timedelta(days=40), 5]
        await conn.execute(
            "SELECT * FROM read_entity_events(%s::smallint, %s::smallint[], %s::bigint[], %s::timestamptz[], %s, %s)",
            parameters,
        )
        row = await (
            await conn.execute(
                "SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) AS entries FROM pg_index "
                "JOIN pg_inherits ON inhrelid = indexrelid WHERE inhparent = 'idx_entity_events_newest'::regclass"
            )
        ).fetchone()
    assert row is not None
    assert 5 <= row["entries"] <= 6


async def test_a_transaction_counts_once(database: Database, store: HistoryStore) -> None:
    """The same id, key and time again changes nothing; events without an id are all different."""
    await remember(database, store, [event(NOW_US - 1, "a", amount=1)])
    await remember(database, store, [event(NOW_US - 1, "a", amount=2), event(NOW_US - 1, None, amount=3)])
    await remember(database, store, [event(NOW_US - 1, None, amount=3)])
    [found] = await read(database, store, [event(NOW_US, "b")])
    assert sorted(found[CARD].numbers[0].tolist()) == [1, 3, 3]


async def test_nothing_is_remembered_without_its_prediction(database: Database, store: HistoryStore) -> None:
    """When another model is in production and no prediction is stored, no event is."""
    async with database.connection() as conn:
        rows = await store.rows(conn, LAYOUT, [event(NOW_US - 1, "a")])
        stored = await scoring.store(conn, uuid4(), [prediction()], UUID(int=1), rows)
        count_stored = await (await conn.execute("SELECT count(*) AS n FROM predictions")).fetchone()
    assert stored.production_id is None
    assert count_stored == {"n": 0}
    assert await count(database) == 0


@pytest.mark.parametrize("time_us", [None, 2**62, NOW_US - 500 * DAY, NOW_US + 2 * DAY])
async def test_times_that_make_no_history(database: Database, store: HistoryStore, time_us: int | None) -> None:
    """No time, a wild one, one beyond retention or to come: nothing is stored, and what is read is empty."""
    wild = Event(time_us, 1, (1, 2, 3), (1,), (1, 1))
    async with database.connection() as conn:
        assert (await store.rows(conn, LAYOUT, [wild])).keys == []
    [found] = await read(database, store, [wild])
    assert [len(history.time_us) for history in found.values()] == [0, 0, 0]


async def test_layouts_are_apart(database: Database, store: HistoryStore) -> None:
    """A layout has one id for all workers, and its events are not those of another layout."""
    other = replace(LAYOUT, codes=("country",))
    await remember(database, store, [event(NOW_US - 1, "a")])
    [found] = await read(database, store, [event(NOW_US, "b")], other)
    assert len(found[CARD].time_us) == 0
    async with database.connection() as conn:
        assert await HistoryStore(database, lambda: NOW).layout_id(conn, other) == await store.layout_id(conn, other)


async def test_labels_become_known(database: Database, store: HistoryStore) -> None:
    """A label reaches every key's row of its event, and no other event."""
    first, second = event(NOW_US - 2, "a"), event(NOW_US - 1, "b")
    await remember(database, store, [first, second])
    async with database.connection() as conn:
        assert await store.set_labels(conn, LAYOUT, [second], [True], [NOW]) == 3
        assert await store.set_labels(conn, LAYOUT, [second], [True], [NOW]) == 0
    [found] = await read(database, store, [event(NOW_US, "c")])
    for history in found.values():
        assert history.label.tolist() == [-1, 1]
        assert history.known_at_us.tolist() == [MISSING, NOW_US]


def dataset(rows: int, *, labelled: bool = True) -> dict[str, pl.Series]:
    """Encoder input with a duplicate, rows without an id, missing keys and times."""
    numbers = np.arange(rows)
    times = NOW_US - (numbers % 50) * DAY + numbers // 50
    ids = [None if n % 7 == 0 else f"id{n}" for n in range(rows)]
    ids[2], times[2] = ids[1], times[1]
    cards = [None if n % 11 == 0 else str(n % 2) for n in range(rows)]
    cards[2] = cards[1] = "1"
    return {
        "time": pl.Series(times.tolist(), dtype=pl.Int64).scatter([rows - 1], None),
        "id": pl.Series(ids, dtype=pl.String),
        "number:amount": pl.Series(numbers / 4.0),
        "category:card": pl.Series(cards, dtype=pl.String),
        "category:merchant": pl.Series([str(n % 3) for n in range(rows)]),
        "category:country": pl.Series(["DE"] * rows),
        "category:device": pl.Series([None] * rows, dtype=pl.String),
        "label": pl.Series([n % 2 if labelled else None for n in range(rows)], dtype=pl.Int8),
        "known_at": pl.Series(times + DAY if labelled else [None] * rows, dtype=pl.Int64),
    }


def chunks(columns: dict[str, pl.Series], size: int) -> Iterator[EncodedEvents]:
    """The dataset in pieces."""
    for start in range(0, len(columns["time"]), size):
        yield encode_frame(LAYOUT, {name: series[start : start + size] for name, series in columns.items()})


async def contents(database: Database) -> list[tuple[object, ...]]:
    """Every row of the store."""
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT entity, key, occurred_at, id_hash, label, known_at::text AS known_at, payload FROM entity_events "
            "ORDER BY entity, key, occurred_at, id_hash"
        )
        return [tuple(row.values()) for row in await cursor.fetchall()]


async def test_backfill_stores_every_event_once(database: Database, store: HistoryStore) -> None:
    """A dataset's events are there after a backfill, duplicates once, rows without a time or a key not at all."""
    done = await backfill(database, store, LAYOUT, chunks(dataset(500), 200), source="d1")
    stored = await contents(database)
    assert done == Backfilled(rows=500, changed=len(stored))
    merchants = [row for row in stored if row[0] == 1]
    assert len(merchants) == 500 - 2 + 1  # without the row that has no time; row 2 is another merchant's
    assert {row[4] for row in stored} == {0, 1}
    [found] = await read(database, store, [event(NOW_US + 1, "new", (None, hash_text("0"), None))])
    history: EntityHistory = found[MERCHANT]
    assert history.time_us.tolist() == sorted(history.time_us.tolist())
    assert (history.known_at_us - history.time_us == DAY).all()


async def test_an_interrupted_backfill_is_run_again(database: Database, store: HistoryStore) -> None:
    """Cut off after some chunks and repeated in chunks of another size, a backfill gives what one run gives."""

    def cut() -> Iterator[EncodedEvents]:
        yield from list(chunks(dataset(500), 100))[:3]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await backfill(database, store, LAYOUT, cut(), source="d1")
    assert await count(database) > 0
    await backfill(database, store, LAYOUT, chunks(dataset(500), 150), source="d1")
    twice = await contents(database)
    again = await backfill(database, store, LAYOUT, chunks(dataset(500), 500), source="d1")
    assert again.changed == 0
    async with database.connection() as conn:
        await conn.execute("TRUNCATE entity_events")
    await backfill(database, store, LAYOUT, chunks(dataset(500), 500), source="d1")
    assert await contents(database) == twice


async def test_a_backfill_brings_labels_that_were_unknown(database: Database, store: HistoryStore) -> None:
    """Events that were stored without a label get it from a later dataset, and keep the one they have."""
    await backfill(database, store, LAYOUT, chunks(dataset(100, labelled=False), 100), source="d1")
    assert {(row[4], row[5]) for row in await contents(database)} == {(-1, "infinity")}
    await backfill(database, store, LAYOUT, chunks(dataset(100), 100), source="d1")
    labelled = await contents(database)
    assert {row[4] for row in labelled} == {0, 1}
    await backfill(database, store, LAYOUT, chunks(dataset(100, labelled=False), 100), source="d1")
    assert await contents(database) == labelled


async def test_retention_drops_whole_months(database: Database, store: HistoryStore, origin: Origin) -> None:
    """Months that ended before the retention are dropped with their events and an audit entry, the others stay."""
    await remember(database, store, [event(NOW_US - 1, "a"), event(NOW_US - 61 * DAY, "b")])
    forgetful = HistoryStore(database, lambda: NOW, retention=timedelta(days=40))
    assert await forgetful.forget(origin) == ["entity_events_2026_09"]
    assert await count(database) == 3
    assert await forgetful.forget(origin) == []
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT action, resource_type, old_values FROM audit_logs")
        assert await cursor.fetchall() == [
            {
                "action": "DELETE",
                "resource_type": "history_month",
                "old_values": {"partitions": ["entity_events_2026_09"]},
            }
        ]


async def test_retention_waits_for_another_night_when_the_table_is_in_use(
    database: Database, store: HistoryStore, origin: Origin
) -> None:
    """A long reader is not disturbed: nothing is dropped while it goes on."""
    forgetful = HistoryStore(database, lambda: NOW, retention=timedelta(days=40))
    async with database.transaction() as conn:
        await conn.execute("SELECT FROM entity_events")
        assert await forgetful.forget(origin) == []
    assert await forgetful.forget(origin) == ["entity_events_2026_09"]
