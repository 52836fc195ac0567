"""History features online in figures: backfill, then transactions at 8 concurrent, with and without a hot merchant.

    python -m benchmarks.online_history --events 10000000

Starts a private PostgreSQL with production's durability settings. One event is one row: a transaction is an event of
each of its five entities. Half the transactions, a million at most, are of one merchant. A request is what scoring
does but for the model: encode, read the past of all five entities, compute the vector, store prediction and events in
one commit; batched as in scoring, two lanes. "no events" stores the predictions only.

What the machine itself takes is measured in the same run, as often: a bare round trip, and one row committed.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
import polars as pl

from benchmarks.private_database import private_database
from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan
from shared.features.config import FeatureConfig, HistoryFeature
from shared.features.fitting import column_type
from shared.features.history.backfill import backfill, dataset_events
from shared.features.history.events import MISSING, UNKNOWN
from shared.features.history.store import HistoryStore
from shared.features.history.window import EntityHistory
from shared.features.inference import infer_config
from shared.features.online import OnlinePlan, compile_plan
from shared.features.plan import FeaturePlan
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.scoring import repository as scoring
from shared.scoring.batching import MicroBatcher, Pending
from shared.scoring.identifiers import prediction_id
from shared.scoring.repository import NewPrediction

_DAYS = 60
_ENTITIES = ("customer_id", "card_id", "device_id", "ip_address", "merchant_id")
_POPULATION = {"customer_id": 200_000, "card_id": 300_000, "device_id": 150_000, "ip_address": 250_000}
_MERCHANTS = 5_000
_MOST_HOT = 1_000_000
_WARM_UP = 500
_WINDOWS = ("1h", "6h", "24h", "7d", "30d")
_HISTORY = tuple(
    HistoryFeature(entity=(entity,), function=function, window=window, column=column)
    for entity in _ENTITIES
    for function, window, column in [
        *(("count", window, None) for window in _WINDOWS),
        ("sum", "24h", "amount"),
        ("ratio_to_mean", "30d", "amount"),
        ("distinct", "7d", "country"),
    ]
)

Transaction = dict[str, Any]


def transactions(rows: int, seed: int) -> pl.DataFrame:
    """Transactions of the last 60 days in order of time; merchant 0 is the hot one."""
    draws = np.random.default_rng(seed)
    now = int(utc_now().timestamp()) * 1_000_000
    merchant = draws.integers(1, _MERCHANTS, rows)
    hot = min(rows // 2, _MOST_HOT)
    merchant[draws.choice(rows, hot, replace=False)] = 0
    times = np.sort(now - draws.integers(1, _DAYS * 86_400_000_000, rows))
    return pl.DataFrame(
        {
            "transaction_id": np.arange(rows) + seed * 10**9,
            "transaction_time": pl.Series(times).cast(pl.Datetime("us", "UTC")),
            **{name: _names(name, draws.integers(0, size, rows)) for name, size in _POPULATION.items()},
            "merchant_id": _names("merchant_id", merchant),
            "amount": np.round(draws.lognormal(3.5, 1.2, rows), 2),
            "country": _names("country", draws.integers(0, 40, rows)),
            "kind": _names("kind", draws.integers(0, 8, rows)),
            "is_fraud": (draws.random(rows) < 0.02).astype(np.int8),
        }
    )


def _names(column: str, numbers: "np.ndarray[Any, np.dtype[np.int64]]") -> pl.Series:
    return pl.Series(numbers).cast(pl.String).str.replace("^", f"{column[:2]}-")


def fitted_plan() -> FeaturePlan:
    """A plan of 40 history features and those of the transaction and its time."""
    frame = transactions(20_000, seed=7)
    columns = [
        Column(name=name, type=kind, nullable=False)
        for name, dtype in frame.schema.items()
        if (kind := column_type(dtype)) is not None
    ]
    config = FeatureConfig(
        groups=("transaction", "temporal", "behavioural"),
        time_column="transaction_time",
        id_column="transaction_id",
        amount_column="amount",
        label_column="is_fraud",
        entity_columns=_ENTITIES,
        history=_HISTORY,
    )
    return fit_plan(frame.lazy(), infer_config(DatasetSchema(columns=columns), config))


def time_vectors(plan: FeaturePlan, events: int, repeats: int = 2_000) -> float:
    """Median microseconds of a vector whose every key has ``events`` events within the plan's span."""
    layout, online = plan.layout, compile_plan(plan)
    assert layout is not None
    draws = np.random.default_rng(3)
    requests = transactions(50, seed=3).with_columns(pl.col("transaction_time").dt.to_string("iso")).to_dicts()
    pasts = []
    for request in requests:
        now = online.event(request).time_us
        assert now is not None
        pasts.append(
            {
                entity: EntityHistory(
                    time_us=np.sort(now - draws.integers(1, layout.span_us, events)),
                    numbers=draws.integers(100, 100_000, (len(layout.numbers), events)),
                    codes=draws.integers(0, 40, (len(layout.codes), events)),
                    label=np.full(events, UNKNOWN, np.int8),
                    known_at_us=np.full(events, MISSING),
                )
                for entity in layout.entities
            }
        )
    seconds = []
    for repeat in range(repeats):
        request, past = requests[repeat % 50], pasts[repeat % 50]
        started = time.perf_counter()
        online.vector(request, past)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) * 1e6


class Service:
    """Scoring without its model."""

    def __init__(self, database: Database, store: HistoryStore, plan: FeaturePlan) -> None:
        assert plan.layout is not None
        self._database = database
        self._store = store
        self._layout = plan.layout
        self._online: OnlinePlan = compile_plan(plan)
        self._model_id = uuid4()
        self.remembers = True
        self.vector_seconds: list[float] = []
        self.read_seconds: list[float] = []
        self.store_seconds: list[float] = []
        self.batcher: MicroBatcher[Transaction, None] = MicroBatcher(
            self._process, lanes=2, largest_batch=256, queue_size=2000
        )

    async def _process(self, batch: list[Pending[Transaction, None]]) -> None:
        events = [self._online.event(pending.item) for pending in batch]
        async with self._database.connection() as conn:
            started = time.perf_counter()
            pasts = await self._store.read(conn, self._layout, events)
            read = time.perf_counter()
            vectors = [self._online.vector(pending.item, past) for pending, past in zip(batch, pasts, strict=True)]
            self.read_seconds.append(read - started)
            self.vector_seconds.append((time.perf_counter() - read) / len(batch))
            rows = await self._store.rows(conn, self._layout, events)
            predictions = [
                self._prediction(pending.item, vector.tolist()) for pending, vector in zip(batch, vectors, strict=True)
            ]
            started = time.perf_counter()
            await scoring.store(conn, self._model_id, predictions, None, rows if self.remembers else None)
            self.store_seconds.append(time.perf_counter() - started)
        for pending in batch:
            pending.resolve(None)

    def _prediction(self, transaction: Transaction, vector: list[float]) -> NewPrediction:
        now = utc_now()
        values = dict(zip(self._online.feature_names, vector, strict=True))
        inputs = orjson.dumps({"transaction": transaction, "features": values})
        return NewPrediction(
            prediction_id(now), str(transaction["transaction_id"]), inputs, 0.1, False, 0.9, None, 1, now
        )


async def percentiles(
    request: Callable[[Transaction], Awaitable[object]], requests: list[Transaction], concurrent: int
) -> tuple[float, float, float]:
    """Run the requests; the milliseconds of half and of 99 % of them, and requests a second."""
    waiting = iter(requests)
    seconds: list[float] = []

    async def caller() -> None:
        for transaction in waiting:
            started = time.perf_counter()
            await request(transaction)
            seconds.append(time.perf_counter() - started)

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(concurrent)))
    rate = len(seconds) / (time.perf_counter() - begun)
    p50, p99 = (float(np.percentile(seconds, q)) * 1e3 for q in (50, 99))
    return p50, p99, rate


async def measure(service: Service, requests: list[Transaction], concurrent: int, what: str) -> float:
    """Run the requests; prints percentiles and returns the p99 in milliseconds."""

    async def score(transaction: Transaction) -> None:
        transaction["transaction_time"] = utc_now().isoformat()
        await service.batcher.submit(transaction, deadline_seconds=30)

    service.read_seconds.clear()
    service.vector_seconds.clear()
    service.store_seconds.clear()
    p50, p99, rate = await percentiles(score, requests, concurrent)
    read, store = (float(np.median(found)) * 1e3 for found in (service.read_seconds, service.store_seconds))
    vector = float(np.median(service.vector_seconds)) * 1e6
    print(
        f"{what:<10}{concurrent:>3} concurrent  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  {rate:7.0f}/s   "
        f"a batch: read {read:5.2f} ms, store {store:5.2f} ms; vector {vector:4.0f} µs"
    )
    return p99


async def calibrate(database: Database, requests: list[Transaction], concurrent: int) -> float:
    """What this machine takes, at this moment, for the least that a request can be; returns a commit's p99."""
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE IF NOT EXISTS calibration (number int)")

    async def bare(_: Transaction) -> None:
        async with database.connection() as conn:
            await conn.execute("SELECT 1")

    async def commit(_: Transaction) -> None:
        async with database.connection() as conn:
            await conn.execute("INSERT INTO calibration VALUES (1)")

    for what, request in (("SELECT 1", bare), ("a commit", commit)):
        p50, p99, rate = await percentiles(request, requests, concurrent)
        print(f"{what:<10}{concurrent:>3} concurrent  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  {rate:7.0f}/s")
    return p99


async def run(events: int, requests: int) -> None:
    """Every step."""
    plan = fitted_plan()
    assert plan.layout is not None
    print(f"{len(plan.features)} features, {len(plan.history_features)} of them of history")
    for number in (0, 50, plan.layout.history_limit):
        print(f"a vector with {number:>4} events a key: {time_vectors(plan, number):3.0f} µs")
    rows = events // len(_ENTITIES)
    async with private_database() as database:
        store = HistoryStore(database, utc_now, retention=timedelta(days=_DAYS + 1))
        frame = transactions(rows, seed=1)
        started = time.perf_counter()
        done = await backfill(database, store, plan.layout, dataset_events(plan, plan.layout, frame.lazy()), source="b")
        took = time.perf_counter() - started
        async with database.connection() as conn:
            await conn.execute("VACUUM ANALYZE entity_events")  # as autovacuum does after every 2 % of new rows
            await conn.execute("CHECKPOINT")
            cursor = await conn.execute(
                "SELECT sum(pg_total_relation_size(relid)) AS n FROM pg_partition_tree('entity_events')"
            )
            size = (await cursor.fetchone() or {})["n"]
        hot = frame.filter(pl.col("merchant_id") == "me-0").height
        print(
            f"backfill {done.changed:,} events of {rows:,} transactions in {took:.0f} s, {done.changed / took:,.0f}/s, "
            f"{size / done.changed:.0f} bytes an event on disk; the hot merchant has {hot:,}"
        )
        service = Service(database, store, plan)
        asked = transactions(4 * requests + _WARM_UP, seed=2).drop("is_fraud").to_dicts()
        for number, transaction in enumerate(asked):
            transaction["merchant_id"] = f"me-{number % (_MERCHANTS - 1) + 1}"
        await measure(service, asked[4 * requests :], 8, "warm-up")
        service.remembers = False
        await measure(service, asked[:requests], 8, "no events")
        service.remembers = True
        for concurrent, first in ((1, 0), (8, 2)):
            normal, hottest = (asked[n * requests : (n + 1) * requests] for n in (first, first + 1))
            usual = await measure(service, normal, concurrent, "normal")
            for transaction in hottest:
                transaction["merchant_id"] = "me-0"
            worst = await measure(service, hottest, concurrent, "hot")
            print(f"{'':<10}hot to normal, p99: {worst / usual:.2f}")
            print(f"{'':<10}normal to a commit, p99: {usual / await calibrate(database, normal, concurrent):.2f}")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--requests", type=int, default=2_000, help="requests a figure")
    options = parser.parse_args()
    asyncio.run(run(options.events, options.requests))


if __name__ == "__main__":
    main()
