"""Labels in figures: one call of ten thousand, corrections, single ones, and what a flood of them does to scoring.

    python -m benchmarks.labels --predictions 1000000

Starts a private PostgreSQL with production's durability settings and the blob emulator, and a model in production that
looks at the past by three entities. Predictions are spread over eighteen months, each with its rows of history; labels
name them by transaction. "read beside it" is what the machine does meanwhile: scoring of single transactions, eight at
a time, first alone, then while two clients send one batch of a thousand labels after the other.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import polars as pl
from psycopg.types.json import Jsonb

from benchmarks.batch_scoring import private_blobs
from benchmarks.private_database import private_database
from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.features.config import FeatureConfig, HistoryFeature
from shared.features.history.store import HistoryStore
from shared.labels.model import LabelBatch
from shared.labels.service import LabelService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.registry.service import RegistryService
from shared.scoring.identifiers import prediction_id, to_milliseconds
from shared.scoring.service import ScoringService
from shared.training.artifact_store import write_artifact
from shared.users.model import Caller, Role
from tests.fixtures.artifacts import packed_model

_ANALYST = Caller(Role.ANALYST)
_ORIGIN = Origin("benchmark")
_ENTITIES = ("card", "shop", "device")
_CALL = 10_000
_SECONDS = 8.0
_CONCURRENT = 8


def _config() -> FeatureConfig:
    return FeatureConfig(
        groups=("behavioural",), time_column="time", id_column="order_id", amount_column="amount",
        label_column="is_fraud",
        history=tuple(
            HistoryFeature(entity=(entity,), function="count", window=window, column=None)
            for entity in _ENTITIES for window in ("1h", "30d")
        ),
    )  # fmt: skip


def _transaction(number: int, at: Any) -> dict[str, Any]:
    return {
        "order_id": f"o{number}", "time": at.isoformat(), "card": f"c{number % 5000}", "shop": f"s{number % 300}",
        "device": f"d{number % 9000}", "amount": float(number % 977),
    }  # fmt: skip


async def _model(database: Database, blobs: BlobStore) -> UUID:
    rows = 300
    start = utc_now() - timedelta(days=2)
    frame = pl.DataFrame([_transaction(n, start + timedelta(minutes=n)) for n in range(rows)]).with_columns(
        time=pl.Series([start + timedelta(minutes=n) for n in range(rows)]).cast(pl.Datetime("us", "UTC")),
        is_fraud=pl.Series([int(n % 9 == 0) for n in range(rows)]),
    )
    model_id = uuid4()
    artifact = packed_model(frame, _config(), model_id=model_id)
    await write_artifact(blobs, model_id, artifact)
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO ml_models (id, name, version, algorithm, status, hyperparameters, storage_path, metrics, "
            "threshold, artifact_sha256) VALUES (%s, 'fraud', '1', 'xgboost', 'PRODUCTION', '{}', %s, %s, 0.25, %s)",
            (model_id, f"models/{model_id}/", Jsonb({"auc_roc": 0.9}), artifact.sha256),
        )
    return model_id


async def _fill(database: Database, scoring: ScoringService, model_id: UUID, predictions: int) -> None:
    """Predictions of eighteen months, and the history of the last ten thousand that a call is about."""
    now = utc_now()
    first = now - timedelta(days=540)
    async with database.connection() as conn:
        await conn.execute("SELECT ensure_predictions_partitions(%s::date, 20)", [first.date().replace(day=1)])
    step = timedelta(days=539) / predictions
    async with database.connection() as conn, conn.cursor() as cursor:
        async with cursor.copy(
            "COPY predictions (id, model_id, transaction_id, input_features, fraud_score, is_fraud, created_at) "
            "FROM STDIN"
        ) as stream:
            for number in range(predictions):
                at = first + number * step
                inputs = {"transaction": _transaction(number, at), "features": dict.fromkeys("abcdefghij", 1.5)}
                await stream.write_row(
                    (prediction_id(at), model_id, f"o{number}", Jsonb(inputs), 0.1, False, to_milliseconds(at))
                )
        await conn.execute("ANALYZE predictions")


async def _timed(call: Callable[[], Awaitable[Any]]) -> float:
    begun = time.perf_counter()
    await call()
    return time.perf_counter() - begun


async def _measured(name: str, labels: int, call: Callable[[], Awaitable[Any]]) -> None:
    begun, worked = time.perf_counter(), time.process_time()
    await call()
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    print(f"| {name} | {labels} | {1000 * seconds:.0f} ms | {labels / seconds:,.0f} | {1000 * worked:.0f} ms |")


def _batch(numbers: Any, *, is_fraud: bool) -> LabelBatch:
    at = (utc_now() - timedelta(hours=1)).isoformat()
    labels = [
        {"transaction_id": f"o{number}", "is_fraud": is_fraud, "labeled_at": at, "source": "chargeback"}
        for number in numbers
    ]
    return LabelBatch.model_validate({"labels": labels})


async def _score_for(scoring: ScoringService, seconds: float) -> list[float]:
    """Latencies in milliseconds of scoring, eight at a time."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        while time.perf_counter() < until:
            number += _CONCURRENT
            transaction = _transaction(number, utc_now())
            latencies.append(
                1000 * await _timed(lambda t=transaction: scoring.score(t, model_id=None, explain=False))  # type: ignore[misc]
            )

    await asyncio.gather(*(client(10**8 + n) for n in range(_CONCURRENT)))
    return latencies


async def _measure(database: Database, blobs: BlobStore, predictions: int) -> None:
    alerts = AlertService(database, utc_now)
    scoring = ScoringService(database, blobs, RegistryService(database), alerts, utc_now)
    labels = LabelService(database, scoring, utc_now)
    model_id = await _model(database, blobs)
    await _fill(database, scoring, model_id, predictions)
    added = await _history(database, scoring, predictions)
    print(f"{predictions} predictions in 18 months, {added} rows of history\n")
    print("| one call | labels | takes | labels/s | CPU of the worker |\n|---|--:|--:|--:|--:|")

    async def send(batch: LabelBatch) -> None:
        await labels.record(batch, caller=_ANALYST, origin=_ORIGIN)

    draws = np.random.default_rng(1)
    spread = draws.choice(predictions, _CALL, replace=False)
    recent = np.arange(predictions - _CALL, predictions)
    for name, numbers, is_fraud in (
        ("spread over all months", spread, True),
        ("the newest, each in history", recent, True),
        ("the same again", recent, True),
        ("corrected", recent, False),
        ("not scored yet", recent + 10**7, True),
    ):
        batch = _batch(numbers, is_fraud=is_fraud)
        await _measured(name, len(numbers), lambda b=batch: send(b))  # type: ignore[misc]
    singles = [_batch([number], is_fraud=True) for number in draws.choice(predictions, 300, replace=False)]
    await _measured(
        "single labels, 8 clients",
        len(singles),
        lambda: asyncio.gather(*(_in_turn(send, singles[n::8]) for n in range(8))),
    )

    await _score_for(scoring, 2)
    alone = await _score_for(scoring, _SECONDS)
    sent = 0
    stop = asyncio.Event()

    async def flood(client: int) -> None:
        nonlocal sent
        while not stop.is_set():
            await send(_batch(draws.choice(predictions, 1000, replace=False), is_fraud=bool(client)))
            sent += 1000

    floods = [asyncio.create_task(flood(n)) for n in range(2)]
    beside = await _score_for(scoring, _SECONDS)
    stop.set()
    await asyncio.gather(*floods)
    print("\n| scoring, 8 concurrent | requests/s | p50 | p99 |\n|---|--:|--:|--:|")
    for name, found in (("alone", alone), (f"beside {sent / _SECONDS:,.0f} labels/s", beside)):
        p50, p99 = np.percentile(found, [50, 99])
        print(f"| {name} | {len(found) / _SECONDS:,.0f} | {p50:.1f} ms | {p99:.1f} ms |")


async def _in_turn(send: Callable[[LabelBatch], Awaitable[None]], batches: list[LabelBatch]) -> None:
    for batch in batches:
        await send(batch)


async def _history(database: Database, scoring: ScoringService, predictions: int) -> int:
    """The events of the newest predictions."""
    store = HistoryStore(database, utc_now)
    plan = (await scoring.history_plans())[0]
    assert plan.layout is not None
    added = 0
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT id, input_features -> 'transaction' AS t FROM predictions ORDER BY created_at DESC LIMIT %s",
            [min(predictions, 2 * _CALL)],
        )
        rows = await cursor.fetchall()
        for first in range(0, len(rows), 1000):
            events = [plan.event(row["t"], str(row["id"])) for row in rows[first : first + 1000]]
            added += await store.add(conn, plan.layout, events)
    return added


async def _main(predictions: int) -> None:
    async with private_blobs() as blobs, private_database() as database:
        await _measure(database, blobs, predictions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    asyncio.run(_main(parser.parse_args().predictions))
