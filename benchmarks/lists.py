"""Pages of the registries at size: the first and the last, in each order and with each filter.

    python -m benchmarks.lists --rows 100000

fills a PostgreSQL of its own with models, training jobs and feature sets. Pages are those of the domains' repositories,
rows and total, over one connection; ``--plans`` prints how PostgreSQL finds those of models.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np

from benchmarks.private_database import private_database
from shared.features import repository as features
from shared.features.model import ANY_FEATURE_SET, FeatureSetFilter, FeatureSetStatus
from shared.platform.database import Connection, Database
from shared.platform.listing import Page
from shared.registry import repository as registry
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import ANY_MODEL, ModelFilter
from shared.training import repository as training
from shared.training.model import ANY_JOB, JobFilter, JobStatus

PAGE = 20
RUNS = 40
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
SOMEBODY = UUID("0" * 31 + "7")

# Ten people, a thousand names; nine of ten models are archived, and the documents of a row have about two kilobytes.
FILL = """
INSERT INTO users (id, azure_ad_id, email, role)
SELECT lpad(n::text, 32, '0')::uuid, 'subject-' || n, 'user-' || n || '@example.com', 'scientist'
FROM generate_series(0, 9) n;
INSERT INTO datasets (id, name, version, storage_path, file_format, file_size_bytes, row_count, column_count, schema)
SELECT md5('dataset ' || n)::uuid, 'dataset ' || n, '1.0', 'datasets/x', 'parquet', 1, 1, 1, '{"columns": []}'
FROM generate_series(0, 99) n;
INSERT INTO feature_sets (id, dataset_id, name, config, status, created_by, created_at)
SELECT md5('set ' || n)::uuid, md5('dataset ' || n % 100)::uuid, 'features ' || n % 1000, '{}',
       CASE WHEN n % 10 = 0 THEN 'FAILED' ELSE 'COMPLETED' END, lpad((n % 10)::text, 32, '0')::uuid,
       timestamptz '2026-01-01' - n * interval '1 minute'
FROM generate_series(1, ROWS) n;
INSERT INTO training_jobs (id, name, feature_set_id, algorithm, hyperparameters, train_test_split, threshold_policy,
                           calibration, evaluation, status, progress, metrics, created_by, queued_at, created_at)
SELECT md5('job ' || n)::uuid, 'model ' || n % 1000, md5('set ' || n)::uuid,
       (ARRAY['xgboost', 'lightgbm', 'random_forest'])[1 + n % 3], '{"n_estimators": 300}', 0.8, '{"type": "max_f1"}',
       'auto', '{}', CASE WHEN n % 10 = 0 THEN 'FAILED' ELSE 'COMPLETED' END, 1,
       jsonb_build_object('curves', (SELECT jsonb_agg(md5((n * i)::text)) FROM generate_series(1, 40) i)),
       lpad((n % 10)::text, 32, '0')::uuid, timestamptz '2026-01-01' - n * interval '1 minute',
       timestamptz '2026-01-01' - n * interval '1 minute'
FROM generate_series(1, ROWS) n;
INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics, feature_names, status,
                       created_by, created_at)
SELECT md5('model ' || n)::uuid, 'model ' || n % 1000, n || '.0',
       (ARRAY['xgboost', 'lightgbm', 'random_forest'])[1 + n % 3], '{"n_estimators": 300}', 'models/x',
       jsonb_build_object('auc_roc', 0.95, 'recall', 0.8,
                          'by_month', (SELECT jsonb_agg(md5((n * i)::text)) FROM generate_series(1, 40) i)),
       (SELECT jsonb_agg('feature_' || i) FROM generate_series(1, 40) i),
       CASE WHEN n % 10 < 9 THEN 'ARCHIVED' WHEN n % 1000 = 9 THEN 'STAGING' ELSE 'TRAINED' END,
       lpad((n % 10)::text, 32, '0')::uuid, timestamptz '2026-01-01' - n * interval '1 minute'
FROM generate_series(1, ROWS) n;
VACUUM ANALYZE ml_models;
VACUUM ANALYZE training_jobs;
VACUUM ANALYZE feature_sets
"""


@dataclass(frozen=True)
class Listed:
    """One list: how to read a page, what it can be sorted by, and filters by what they say."""

    read: Callable[[Connection, Any, Page], Awaitable[tuple[list[Any], int]]]
    everything: Any
    sorts: tuple[str, ...]
    filters: dict[str, Any] = field(default_factory=dict)

    def cases(self) -> dict[str, tuple[Any, str]]:
        """Every order without a filter, and every filter in the usual order and by name."""
        found = {f"by {sort}": (self.everything, sort) for sort in self.sorts}
        for name, which in self.filters.items():
            found |= {f"{name}, {sort}": (which, sort) for sort in ("-created_at", "name")}
        return found


LISTS = {
    "models": Listed(
        registry.list_page,
        ANY_MODEL,
        ("-created_at", "created_at", "name", "-name", "algorithm", "status"),
        {
            "a common status": ModelFilter(status=ModelStatus.ARCHIVED),
            "a rare status": ModelFilter(status=ModelStatus.STAGING),
            "an algorithm": ModelFilter(algorithm="xgboost"),
            "a part of the name": ModelFilter(name="del 77"),
            "a name that is nowhere": ModelFilter(name="nowhere"),
            "a person": ModelFilter(created_by=SOMEBODY),
            "before a time": ModelFilter(created_until=MOMENT.replace(year=2025, month=12)),
            "a person's archived xgboost": ModelFilter(
                status=ModelStatus.ARCHIVED, algorithm="xgboost", created_by=SOMEBODY
            ),
        },
    ),
    "training jobs": Listed(
        training.list_jobs,
        ANY_JOB,
        ("-created_at", "created_at", "name", "algorithm", "status"),
        {"a status": JobFilter(status=JobStatus.COMPLETED), "a part of the name": JobFilter(name="del 77")},
    ),
    "feature sets": Listed(
        features.list_page,
        ANY_FEATURE_SET,
        ("-created_at", "created_at", "name", "status"),
        {
            "a status": FeatureSetFilter(status=FeatureSetStatus.COMPLETED),
            "a part of the name": FeatureSetFilter(name="res 77"),
        },
    ),
}


async def measure(listed: Listed, conn: Connection) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of each page, all in turns."""
    pages: dict[tuple[str, str], tuple[Any, Page]] = {}
    for name, (which, sort) in listed.cases().items():
        _, total = await listed.read(conn, which, Page(PAGE, 0, sort))
        last = max(0, (total - 1) // PAGE * PAGE)
        places = {"first": 0, "middle": last // PAGE // 2 * PAGE, "last": last}
        pages |= {(name, place): (which, Page(PAGE, offset, sort)) for place, offset in places.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in pages}
    for _ in range(RUNS):
        for key, (which, page) in pages.items():
            started = time.perf_counter()
            await listed.read(conn, which, page)
            times[key].append((time.perf_counter() - started) * 1000)
    return times


async def plans(conn: Connection) -> None:
    """How PostgreSQL finds the first and the last page of models."""
    for name, (which, sort) in LISTS["models"].cases().items():
        for reverse in (False, True):
            statement = registry.MODELS.statement(sort, reverse=reverse).as_string(conn)
            parameters = {**asdict(which), "limit": PAGE, "offset": 0}
            rows = await conn.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {statement}".encode(), parameters)
            print(f"\n-- {name}, {'last' if reverse else 'first'} page")
            print("\n".join([row["QUERY PLAN"] async for row in rows]))


async def fill(database: Database, rows: int) -> None:
    """As many rows in each table."""
    started = time.perf_counter()
    async with database.connection() as conn:
        for statement in FILL.replace("ROWS", str(rows)).split(";"):
            await conn.execute(statement.encode())
    print(f"{rows:,} rows of each filled in {time.perf_counter() - started:.0f} s\n")


async def run(rows: int, only: str | None, *, show_plans: bool) -> None:
    """Everything, on a database of its own."""
    async with private_database() as database:
        await fill(database, rows)
        async with database.connection() as conn:
            for title, listed in LISTS.items():
                if only not in {None, title}:
                    continue
                print(f"| {title:40} | page   | median ms | p95 ms |\n|---|---|---:|---:|")
                for (name, place), taken in (await measure(listed, conn)).items():
                    print(f"| {name:40} | {place:6} | {np.median(taken):9.2f} | {np.percentile(taken, 95):6.2f} |")
                print()
            if show_plans:
                await plans(conn)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", choices=list(LISTS))
    parser.add_argument("--plans", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(run(chosen.rows, chosen.only, show_plans=chosen.plans))


if __name__ == "__main__":
    main()
