"""Archiving in figures: a month of predictions out of the database and back, in time, bytes and memory.

    python -m benchmarks.archiving --predictions 1000000

Starts a private PostgreSQL with production's durability settings and the blob emulator. A prediction carries a
transaction of twelve fields and thirty features (about 1.4 kB of JSON); three in ten are labelled. "held up" is the
longest that anything else on the worker's event loop had to wait; memory is the process's peak beyond its start.
"""

import argparse
import asyncio
import resource
import time
from collections.abc import Awaitable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from benchmarks.batch_scoring import private_blobs
from benchmarks.private_database import private_database
from shared.alerts.service import AlertService
from shared.archiving.restoring import MonthRestorer
from shared.archiving.service import ArchiveService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database, scalar
from shared.platform.patience import answering_within

_MONTH = date(2026, 1, 1)
_NOW = datetime(2027, 8, 15, tzinfo=UTC)
# An id is a UUID of version 7 whose time is created_at.
_FILL = """
WITH made AS (
    SELECT n, '2026-01-01'::timestamptz + n * interval '30 days' / %(rows)s AS at
    FROM generate_series(0, %(rows)s - 1) AS n
),
timed AS (SELECT n, date_trunc('milliseconds', at) AS at FROM made)
INSERT INTO predictions (
    id, model_id, transaction_id, input_features, fraud_score, is_fraud, confidence, actual_label, labeled_at,
    latency_ms, created_at, cells
)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid,
    '00000000-0000-7000-8000-000000000001', 'order-' || n,
    jsonb_build_object(
        'transaction', (SELECT jsonb_object_agg('field_' || i, md5(n::text || i)) FROM generate_series(1, 12) AS i),
        'features', (SELECT jsonb_object_agg('feature_' || i, random()) FROM generate_series(1, 30) AS i)
    ),
    random(), n %% 33 = 0, random(), CASE WHEN n %% 10 < 3 THEN n %% 100 = 0 END,
    CASE WHEN n %% 10 < 3 THEN at + interval '20 days' END, 12, at, '\\x00010203'
FROM timed
"""
_LABELS = """
INSERT INTO prediction_labels (prediction_id, prediction_created_at, model_id, is_fraud, labeled_at, source)
SELECT id, created_at, model_id, actual_label, labeled_at, 'chargeback' FROM predictions WHERE actual_label IS NOT NULL
"""
_RESULT = """
SELECT jsonb_array_length(parts) AS files, (a.digest = d.digest)::int AS same,
    (SELECT sum((part ->> 'bytes')::bigint) FROM jsonb_array_elements(parts) AS part) AS bytes
FROM predictions_archives AS a, digest_predictions_month(a.month) AS d
"""


class Loop:
    """How long the event loop keeps others waiting."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Notice every millisecond, or later."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - begun - 0.001)


def _peak() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _row(name: str, rows: int, work: Awaitable[Any]) -> None:
    loop = Loop()
    watching = asyncio.create_task(loop.watch())
    before, begun = _peak(), time.perf_counter()
    await work
    seconds = time.perf_counter() - begun
    watching.cancel()
    grown = _peak() - before
    print(f"| {name} | {seconds:.1f} s | {rows / seconds:,.0f} | {1000 * loop.longest:.0f} ms | {grown:.0f} MB |")


async def _measure(database: Database, blobs: BlobStore, predictions: int) -> None:
    with answering_within(3600):
        async with database.connection() as conn:
            await conn.execute(_FILL.encode(), {"rows": predictions})
            await conn.execute(_LABELS.encode())
            await conn.execute("ANALYZE predictions")
            row = await (await conn.execute("SELECT pg_total_relation_size('predictions_2026_01') AS n")).fetchone()
    print(f"{predictions} predictions, {scalar(row, 'n') / 2**20:,.0f} MB in the database with indexes\n")
    print("| | takes | predictions/s | held up | memory |\n|---|--:|--:|--:|--:|")
    archives = ArchiveService(database, blobs, AlertService(database, utc_now), lambda: _NOW, retention_months=18)
    await _row("archive: export, verify, detach, drop", predictions, archives.archive_due())
    restorer = MonthRestorer(database, blobs, utc_now)
    await _row("restore", predictions, restorer.restore(_MONTH, keep=timedelta(days=1), report=lambda _: None))
    async with database.connection() as conn:
        row = await (await conn.execute(_RESULT.encode())).fetchone()
    print(f"\n{scalar(row, 'files')} files, {scalar(row, 'bytes') / 2**20:,.0f} MB; ", end="")
    print("what came back is what left" if scalar(row, "same") else "what came back is NOT what left")


async def _main(predictions: int) -> None:
    async with private_blobs() as blobs, private_database() as database:
        await _measure(database, blobs, predictions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    asyncio.run(_main(parser.parse_args().predictions))
