"""Labels on a real database: what becomes known, what is kept of it, and what history is told."""

import asyncio
import random
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from shared.alerts.service import AlertService
from shared.archiving.restoring import MonthRestorer
from shared.archiving.service import ArchiveService
from shared.audit.model import Origin
from shared.features.history.store import HistoryStore
from shared.labels.ledger import Ledger, Told
from shared.labels.model import LabelBatch, LabelOutcome, Outcome
from shared.labels.service import LabelService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import FieldError, InvalidContent, NotFound, Unavailable
from shared.platform.queries import queries
from shared.registry.lifecycle import ModelStatus
from shared.scoring.identifiers import prediction_id
from shared.users.model import Caller, Role
from tests.integration.test_history_scoring import as_request, transactions
from tests.integration.test_history_top_up import CANDIDATE, CHAMPION, Models, config

STAGING, PRODUCTION = ModelStatus.STAGING, ModelStatus.PRODUCTION
ANALYST = Caller(Role.ANALYST, UUID(int=42), "analyst@example.org")
FIRST = "order-0"


class Desk:
    """Where labels come in; several clients or workers are several desks on one database."""

    def __init__(self, database: Database, models: Models, origin: Origin) -> None:
        self.database = database
        self.models = models
        self.origin = origin
        self.service = LabelService(database, models.scoring, utc_now)

    async def send(self, *labels: dict[str, Any]) -> list[LabelOutcome]:
        """One call."""
        batch = LabelBatch.model_validate({"labels": list(labels)})
        return await self.service.record(batch, caller=ANALYST, origin=self.origin)

    async def outcomes(self, *labels: dict[str, Any]) -> list[Outcome]:
        """One call, and what came of each label."""
        return [one.outcome for one in await self.send(*labels)]

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        """Whatever is in the database."""
        async with self.database.connection() as conn:
            return await (await conn.execute(statement.encode())).fetchall()

    async def known(self, transaction_id: str = FIRST) -> list[bool | None]:
        """What is known of the predictions of a transaction, in the order in which they were made."""
        rows = await self.rows(
            f"SELECT actual_label FROM predictions WHERE transaction_id = '{transaction_id}' ORDER BY created_at, id"
        )
        return [row["actual_label"] for row in rows]

    async def events(self, label: int) -> int:
        """How many rows of history have this label."""
        return len(await self.rows(f"SELECT FROM entity_events WHERE label = {label}"))


@pytest.fixture
def models(database: Database, blobs: BlobStore, origin: Origin, system: Caller) -> Models:
    """Nothing registered yet."""
    return Models(database, blobs, origin, system)


@pytest.fixture
async def desk(database: Database, models: Models, origin: Origin) -> Desk:
    """A model in production that looks at cards, and the first ten transactions scored, each with a card."""
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO users (id, azure_ad_id, email) VALUES (%s, 'analyst', %s)", [ANALYST.user_id, ANALYST.email]
        )
    await models.trained(CHAMPION, STAGING, PRODUCTION)
    await models.score(transactions().with_columns(card=transactions()["card"].fill_null("a"))[:10])
    return Desk(database, models, origin)


def fraud(transaction_id: str = FIRST, *, hours_ago: float | None = None, **more: Any) -> dict[str, Any]:
    """A label that says fraud, or as ``more`` has it."""
    at = {} if hours_ago is None else {"labeled_at": NOW - timedelta(hours=hours_ago)}
    return {"transaction_id": transaction_id, "is_fraud": True, **at, **more}


NOW = utc_now()


async def test_a_transaction_is_labelled_in_every_prediction_of_it(desk: Desk) -> None:
    """Two models have scored it; by its own id, one prediction is labelled alone."""
    staged = await desk.models.trained(CANDIDATE, STAGING)
    frame = transactions()
    answer = await desk.models.scoring.score(as_request(frame.to_dicts()[0]), model_id=staged, explain=False)
    assert await desk.outcomes({"prediction_id": str(answer.prediction.id), "is_fraud": False}) == [Outcome.LABELLED]
    assert await desk.known() == [None, False]
    taken = await desk.send(fraud())
    assert [(one.outcome, one.predictions) for one in taken] == [(Outcome.CORRECTED, 2)]
    assert await desk.known() == [True, True]


async def test_the_same_call_again_changes_nothing(desk: Desk) -> None:
    """With a time or without, with an audit entry for the first and none for the second."""
    labels = [fraud(hours_ago=3, source="bank"), fraud("order-1"), fraud("never-scored")]
    assert await desk.outcomes(*labels) == [Outcome.LABELLED, Outcome.LABELLED, Outcome.PENDING]
    tables = "SELECT (SELECT count(*) FROM prediction_labels) AS told, (SELECT count(*) FROM pending_labels) AS waiting"
    before = await desk.rows(tables)
    assert await desk.outcomes(*labels[:2]) == [Outcome.UNCHANGED, Outcome.UNCHANGED]
    await desk.send(*labels)
    assert await desk.rows(tables) == before == [{"told": 2, "waiting": 1}]
    entries = await desk.rows("SELECT new_values, metadata FROM audit_logs WHERE action = 'LABEL' ORDER BY created_at")
    assert entries[0] == {
        "new_values": {"labelled": 2, "pending": 1},
        "metadata": {"labels": 3, "sources": ["bank"]},
    }


async def test_a_correction_keeps_what_was_known_before(desk: Desk) -> None:
    """Who said what, when it became known, when it was recorded, and what it replaced; newest first, page by page."""
    await desk.send(fraud(hours_ago=5, source="bank"))
    await desk.send(fraud(hours_ago=2, source="analyst", is_fraud=False))
    found = (await desk.rows(f"SELECT id FROM predictions WHERE transaction_id = '{FIRST}'"))[0]["id"]
    told = await desk.service.list_of_prediction(found, before=2**63 - 1, limit=10)
    assert [(one.is_fraud, one.previous, one.source, one.recorded_by) for one in told] == [
        (False, True, "analyst", ANALYST.user_id),
        (True, None, "bank", ANALYST.user_id),
    ]
    assert [one.labeled_at for one in told] == [NOW - timedelta(hours=2), NOW - timedelta(hours=5)]
    assert told[0].recorded_at > told[1].recorded_at
    assert await desk.service.list_of_prediction(found, before=told[0].id, limit=10) == told[1:]


async def test_an_older_label_is_kept_and_does_not_overwrite(desk: Desk) -> None:
    """The label that became known last counts, whatever arrived last."""
    await desk.send(fraud(hours_ago=1))
    assert await desk.outcomes(fraud(hours_ago=4, is_fraud=False)) == [Outcome.SUPERSEDED]
    assert await desk.known() == [True]
    assert [row["previous"] for row in await desk.rows("SELECT previous FROM prediction_labels ORDER BY id")] == [
        None,
        True,
    ]


async def test_a_label_that_is_confirmed_is_known_since_the_first(desk: Desk) -> None:
    """Also when the earlier one arrives later."""
    await desk.send(fraud(hours_ago=2))
    assert await desk.outcomes(fraud(hours_ago=1), fraud(hours_ago=3)) == [Outcome.CONFIRMED] * 2
    rows = await desk.rows("SELECT labeled_at FROM predictions WHERE actual_label")
    assert rows == [{"labeled_at": NOW - timedelta(hours=3)}]
    assert {row["known_at"] for row in await desk.rows("SELECT known_at FROM entity_events WHERE label = 1")} == {
        NOW - timedelta(hours=3)
    }


async def test_what_nobody_knows_is_reported(desk: Desk) -> None:
    """Ids of no prediction, of any kind; and those of a prediction that are not there have no list of labels."""
    unknown = [uuid4(), prediction_id(NOW), UUID(int=2**128 - 1)]
    outcomes = await desk.outcomes(*({"prediction_id": str(one), "is_fraud": True} for one in unknown), fraud())
    assert outcomes == [Outcome.UNKNOWN] * 3 + [Outcome.LABELLED]
    with pytest.raises(NotFound):
        await desk.service.list_of_prediction(unknown[1], before=2**63 - 1, limit=10)


async def test_a_transaction_with_too_many_predictions_names_none(desk: Desk) -> None:
    """A test system that sends one id again and again; the rest of the call is recorded."""
    async with desk.database.connection() as conn:
        await conn.cursor().executemany(
            "INSERT INTO predictions (id, model_id, transaction_id, input_features, fraud_score, is_fraud, created_at) "
            "VALUES (%s, %s, 'again', %s, 0.1, false, %s)",
            [
                (prediction_id(at := NOW - timedelta(milliseconds=n)), uuid4(), Jsonb({"transaction": {}}), at)
                for n in range(101)
            ],
        )
    assert await desk.outcomes(fraud("again"), fraud()) == [Outcome.AMBIGUOUS, Outcome.LABELLED]
    assert set(await desk.known("again")) == {None}


async def test_a_label_that_came_first_is_applied_when_its_transaction_is_scored(desk: Desk) -> None:
    """By the timer, as it was told: its time, who sent it and when."""
    assert await desk.outcomes(fraud("order-10", hours_ago=1, source="bank")) == [Outcome.PENDING]
    assert await desk.service.settle_pending(desk.origin) == 1
    sent_at = (await desk.rows("SELECT recorded_at FROM pending_labels"))[0]["recorded_at"]
    await desk.models.score(transactions()[10:11])
    assert await desk.service.settle_pending(desk.origin) == 1
    assert await desk.known("order-10") == [True]
    assert await desk.rows("SELECT source, labeled_at, recorded_at, recorded_by FROM prediction_labels") == [
        {
            "source": "bank",
            "labeled_at": NOW - timedelta(hours=1),
            "recorded_at": sent_at,
            "recorded_by": ANALYST.user_id,
        }
    ]
    assert await desk.rows("SELECT FROM pending_labels") == []
    assert await desk.service.settle_pending(desk.origin) == 0


async def test_a_label_that_waits_counts_as_the_earlier_arrival(desk: Desk) -> None:
    """The next call about its transaction takes it along first: of equal times, the later call decides."""
    await desk.send(fraud("order-10", hours_ago=1))
    await desk.models.score(transactions()[10:11])
    assert await desk.outcomes(fraud("order-10", hours_ago=1, is_fraud=False)) == [Outcome.CORRECTED]
    assert await desk.known("order-10") == [False]
    assert await desk.rows("SELECT FROM pending_labels") == []


async def test_labels_that_have_waited_too_long_are_removed_with_an_entry(desk: Desk) -> None:
    """Only those recorded before the moment."""
    await desk.send(fraud("never-scored"))
    assert await desk.service.forget_pending(NOW - timedelta(days=1), desk.origin) == 0
    assert await desk.service.forget_pending(utc_now() + timedelta(minutes=1), desk.origin) == 1
    entries = await desk.rows("SELECT action, old_values FROM audit_logs WHERE resource_type = 'pending_label'")
    assert entries == [{"action": "DELETE", "old_values": {"labels": 1}}]


async def test_history_knows_when_the_call_returns(desk: Desk) -> None:
    """In the layout of every model that may serve, and corrections as well."""
    await desk.models.trained(CANDIDATE, STAGING)
    await desk.models.scoring.top_up_history()
    await desk.send(fraud())
    assert await desk.events(1) == 3
    await desk.send(fraud(is_fraud=False))
    assert (await desk.events(1), await desk.events(0)) == (0, 3)


async def test_history_that_was_out_of_use_catches_up(desk: Desk) -> None:
    """A model that was archived when labels came knows them after it has returned; nothing is told twice."""
    former = (await desk.rows("SELECT id FROM ml_models"))[0]["id"]
    for successor in (CANDIDATE, config(("shop",))):
        await desk.models.trained(successor, STAGING, PRODUCTION)
    layout = desk.models.plans[former].layout
    assert layout is not None
    labels = f"""
        SELECT FROM entity_events AS e JOIN history_layouts AS l ON l.id = e.layout
        WHERE label = 1 AND fingerprint = '{layout.fingerprint}'
    """
    await desk.send(fraud())
    assert await desk.rows(labels) == []
    async with desk.database.connection() as conn:
        await conn.execute("UPDATE ml_models SET status = 'STAGING' WHERE id = %s", [former])
    await desk.send(fraud("order-1"))
    assert await desk.rows(labels) == []
    assert await desk.service.catch_up() == 2
    assert len(await desk.rows(labels)) == 2
    assert await desk.service.catch_up() == 0
    await desk.send(fraud("order-2"))
    assert len(await desk.rows(labels)) == 3


async def test_impossible_times_refuse_the_whole_call(desk: Desk) -> None:
    """Nothing of it is recorded."""
    with pytest.raises(InvalidContent):
        await desk.send(fraud(), fraud("order-1", hours_ago=-1))
    assert await desk.known() == [None]


async def test_more_calls_than_may_wait_are_told_to_come_back(desk: Desk) -> None:
    """While one call is held up, a bounded number waits for it, without connections that scoring needs."""
    async with desk.database.transaction() as conn:
        await conn.execute("SELECT pg_advisory_xact_lock(7311842028)")
        calls = [asyncio.create_task(desk.send(fraud())) for _ in range(40)]
        _, waiting = await asyncio.wait(calls, timeout=1)
        assert len(waiting) == 32
        assert len(await desk.models.score(transactions()[11:12])) == 1
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(one, Unavailable) for one in results) == 8


async def test_many_workers_and_overlapping_ids_come_to_what_a_replay_comes_to(desk: Desk) -> None:
    """Four workers label the same transactions in opposite orders, some before they are scored: nobody fails, and each
    prediction is what all labels together say, as is its row of history."""
    draws = random.Random(11)
    names = [f"order-{n}" for n in range(14)]
    workers = [Desk(desk.database, desk.models, desk.origin) for _ in range(4)]
    sent = []

    async def client(worker: Desk, order: list[str]) -> None:
        for _ in range(6):
            labels = [
                fraud(name, hours_ago=draws.randrange(8), is_fraud=draws.random() < 0.5, source=draws.choice("ab"))
                for name in order
            ]
            sent.extend(labels)
            await worker.send(*labels)

    frame = transactions()
    frame = frame.with_columns(card=frame["card"].fill_null("a"))
    await asyncio.gather(
        *(client(worker, names if n % 2 else names[::-1]) for n, worker in enumerate(workers)),
        desk.models.score(frame[10:14]),
    )
    await desk.service.settle_pending(desk.origin)
    told: dict[str, list[Told]] = {}
    for row in await desk.rows(
        "SELECT p.transaction_id, l.* FROM prediction_labels AS l JOIN predictions AS p ON p.id = l.prediction_id "
        "ORDER BY l.id"
    ):
        label = Told(row["is_fraud"], row["labeled_at"], row["source"], row["recorded_at"], row["recorded_by"])
        told.setdefault(row["transaction_id"], []).append(label)
    kept = {(name, one.is_fraud, one.labeled_at, one.source) for name, labels in told.items() for one in labels}
    assert kept == {(one["transaction_id"], one["is_fraud"], one["labeled_at"], one["source"]) for one in sent}
    for row in await desk.rows("SELECT transaction_id, actual_label, labeled_at FROM predictions"):
        known = Ledger(told[row["transaction_id"]]).known
        assert (row["actual_label"], row["labeled_at"]) == (known.is_fraud, known.since)
    frauds = sum(Ledger(labels).is_fraud is True for labels in told.values())
    assert (await desk.events(1), await desk.events(0)) == (frauds, 14 - frauds)


async def test_a_label_of_an_archived_prediction_waits_until_its_month_is_back(desk: Desk, blobs: BlobStore) -> None:
    """It is told so, it is not lost, and asking for the prediction says where it is."""
    at = datetime(2026, 1, 15, tzinfo=UTC)
    old = prediction_id(at)
    async with desk.database.connection() as conn:
        await conn.execute(
            "INSERT INTO predictions (id, model_id, input_features, fraud_score, is_fraud, created_at) "
            "VALUES (%s, %s, '{}', 0.1, false, %s)",
            [old, uuid4(), at],
        )
    archives = ArchiveService(
        desk.database, blobs, AlertService(desk.database, utc_now), lambda: datetime(2027, 8, 1, tzinfo=UTC),
        retention_months=18,
    )  # fmt: skip
    await archives.archive_due()
    assert await desk.outcomes({"prediction_id": str(old), "is_fraud": True}) == [Outcome.PENDING]
    for asking in (desk.models.scoring.get(old), desk.service.list_of_prediction(old, before=9, limit=9)):
        with pytest.raises(NotFound, match="2026-01") as refusal:
            await asking
        assert refusal.value.details == (FieldError("prediction_id", "archived"),)
    await desk.service.settle_pending(desk.origin)
    restorer = MonthRestorer(desk.database, blobs, utc_now)
    await restorer.restore(date(2026, 1, 1), keep=timedelta(days=1), report=lambda _: None)
    await desk.service.settle_pending(desk.origin)
    assert await desk.rows(f"SELECT actual_label FROM predictions WHERE id = '{old}'") == [{"actual_label": True}]


async def test_rows_are_found_one_by_one_however_many_there_are(desk: Desk) -> None:
    """Reading and setting what is known opens, for each prediction, the one partition of its month, by its key; no
    partition is read as a whole, although the planner would for a table of this size.
    """
    async with desk.database.connection() as conn:
        await conn.execute("SELECT ensure_predictions_partitions('2026-01-01', 6)")
        await conn.execute(
            "INSERT INTO predictions (model_id, input_features, fraud_score, is_fraud, created_at) SELECT "
            "gen_random_uuid(), '{}', 0.5, false, '2026-01-01'::timestamptz + n * interval '1 hour' "
            "FROM generate_series(1, 4000) AS n"
        )
        await conn.execute("ANALYZE predictions")
        cursor = await conn.execute("SELECT id, created_at FROM predictions WHERE created_at < '2026-03-01'")
        some = await cursor.fetchall()
    ids, created = [row["id"] for row in some], [row["created_at"] for row in some]
    nothing = ("prediction_ids", "model_ids", "labels", "labeled", "sources", "recorded", "recorded_by", "previous")
    known = {"known_ids": ids, "known_created": created, "known_labels": [True] * len(ids), "known_since": created}
    asked = {
        "read_known": {"ids": ids, "created": created},
        "record_labels": {**{name: [] for name in (*nothing, "created")}, **known},
    }
    async with desk.database.transaction() as conn:
        await HistoryStore.take_label_turn(conn)
        for name, parameters in asked.items():
            cursor = await conn.execute("EXPLAIN (ANALYZE, TIMING OFF) " + queries("labels")[name], parameters)
            plan = "\n".join(row["QUERY PLAN"] for row in await cursor.fetchall())
            assert re.findall(r"Seq Scan on predictions_2026_0[1-6] .*loops=[1-9]", plan) == []
            assert len(re.findall(r"Index Scan .* on predictions_2026_0[12] .*loops=[1-9]", plan)) == 2
            assert len(re.findall(r"predictions_2026_0[3-6] .*never executed", plan)) == 4
