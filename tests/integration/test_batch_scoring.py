"""Many transactions in one call: each by itself, in order, stored, and nobody else kept waiting."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.alerts.service import AlertService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, InvalidContent, NotFound
from shared.registry.service import RegistryService
from shared.scoring.prepared import Answer
from shared.scoring.service import ScoringService
from tests.fixtures.app import RunningApp
from tests.fixtures.artifacts import packed_model
from tests.fixtures.serving import registered


@pytest.fixture
def scoring(database: Database, blobs: BlobStore) -> ScoringService:
    """Scoring on an empty database."""
    return ScoringService(database, blobs, RegistryService(database), AlertService(database, utc_now), utc_now)


def transactions(count: int) -> list[dict[str, Any]]:
    """Transactions that the packed model takes."""
    return [{"transaction_id": f"order-{n}", "amount": 1.5 + n, "kind": "gift"} for n in range(count)]


async def test_order_is_kept_across_parts(scoring: ScoringService, database: Database, blobs: BlobStore) -> None:
    """A thousand results are in the order of their transactions, each as if sent by itself, and stored once."""
    model_id = await registered(database, blobs, packed_model())
    sent = transactions(1000)
    results = await scoring.score_many(sent, model_id=None)
    answers = [result for result in results if isinstance(result, Answer)]
    assert [answer.prediction.transaction_id for answer in answers] == [item["transaction_id"] for item in sent]
    assert {answer.model.id for answer in answers} == {model_id}
    alone = await scoring.score({**sent[731], "transaction_id": "alone"}, model_id=None, explain=False)
    assert alone.prediction.score == answers[731].prediction.score
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM predictions")
        assert await cursor.fetchone() == {"n": 1001, "ids": 1001}


async def test_a_refused_one_leaves_its_neighbours_alone(
    scoring: ScoringService, database: Database, blobs: BlobStore
) -> None:
    """In its place is the refusal that it would have had alone; the others are scored."""
    await registered(database, blobs, packed_model())
    sent = transactions(3)
    sent[1]["amount"] = "much"
    first, refused, last = await scoring.score_many(sent, model_id=None)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert isinstance(refused, InvalidContent)
    assert [detail.field for detail in refused.details] == ["transaction.amount"]


async def test_single_transactions_do_not_wait_for_the_whole(
    scoring: ScoringService, database: Database, blobs: BlobStore
) -> None:
    """One that comes while a thousand are on their way is answered before they all are."""
    await registered(database, blobs, packed_model())
    await scoring.score(transactions(1)[0], model_id=None, explain=False)
    many = asyncio.create_task(scoring.score_many(transactions(1000), model_id=None))
    await asyncio.sleep(0)
    await scoring.score({"transaction_id": "single", "amount": 3.0, "kind": "card"}, model_id=None, explain=False)
    assert not many.done()
    await many


async def test_repeats_are_dealt_with_as_for_single_ones(database: Database, blobs: BlobStore) -> None:
    """Within the window a transaction gets its first answer, in the same call, a later part or a later call; another
    under its id is refused.
    """
    await registered(database, blobs, packed_model())
    alerts, window = AlertService(database, utc_now), timedelta(hours=1)
    scoring = ScoringService(database, blobs, RegistryService(database), alerts, utc_now, duplicate_window=window)
    sent = transactions(300)
    results = await scoring.score_many([*sent, sent[0], {**sent[1], "amount": 7.0}, sent[299]], model_id=None)
    again = await scoring.score_many(sent[:2], model_id=None)
    ids = [result.prediction.id if isinstance(result, Answer) else None for result in [*results, *again]]
    assert (ids[300], ids[302], ids[303], ids[304]) == (ids[0], ids[299], ids[0], ids[1])
    assert isinstance(results[301], Conflict)
    assert len({*ids[:300]}) == 300


async def test_without_a_model_nothing_is_tried(scoring: ScoringService) -> None:
    """No model in production, or an id that no model has, is the answer to the whole call."""
    with pytest.raises(Conflict):
        await scoring.score_many(transactions(2), model_id=None)
    with pytest.raises(NotFound):
        await scoring.score_many(transactions(2), model_id=uuid4())


@pytest.fixture
async def serving(own_app: RunningApp, blob_connection_string: str, container: str) -> RunningApp:
    """The app with a model in production."""
    blobs = BlobStore(container=container, connection_string=blob_connection_string)
    database = Database(own_app.database_url)
    await database.open()
    await registered(database, blobs, packed_model())
    await database.close()
    await blobs.close()
    return own_app


def post(app: RunningApp, body: Any) -> httpx.Response:
    """predict/batch as a machine calls it."""
    with app.client("machine") as client:
        return client.post("predict/batch", json=body)


def test_over_http(serving: RunningApp) -> None:
    """Per-item status, answer or error with field names, counts; a fault of the whole call is its status."""
    sound = transactions(1)[0]
    sent = [sound, 7, {**sound, "amount": "much"}, {"kind": "a\x00b"}, {"transaction_id": "order-9", "amount": 900.0}]
    answer = post(serving, {"transactions": sent})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data["results"]] == [0, 1, 2, 3, 4]
    assert [item["status"] for item in data["results"]] == [200, 422, 422, 422, 200]
    assert data["results"][2]["error"]["details"] == [
        {"field": "transaction.amount", "message": "must be a number, not a string"}
    ]
    assert data["results"][1]["error"]["target"] == "transaction"
    assert {"transactions": 5, "scored": 2, "failed": 3}.items() <= data["counts"].items()
    with serving.client("analyst") as client:
        for item in data["results"]:
            if item["status"] == 200:
                stored = client.get(f"predictions/{item['data']['prediction_id']}").json()["data"]
                assert stored["fraud_score"] == item["data"]["fraud_score"]
    assert post(serving, {"transactions": []}).status_code == 422
    assert post(serving, {"transactions": [sound] * 1001}).status_code == 422
    assert post(serving, {"transactions": [{"note": "x" * 9_000}] * 1000}).status_code == 413
    assert post(serving, [sound]).status_code == 422
    large = post(
        serving, {"transactions": [{**sound, "transaction_id": f"l{n}", "note": "x" * 7_000} for n in range(1000)]}
    )
    assert large.json()["data"]["counts"]["scored"] == 1000
