"""The catalogue of datasets at size: pages, searches and totals, first page and last.

    python -m benchmarks.dataset_catalogue --datasets 100000

fills a PostgreSQL of its own with rows as wide as real ones, schema, statistics and report included. Pages are the
service's own, with their totals; ``--plans`` prints how PostgreSQL finds them.
"""

import argparse
import asyncio
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from benchmarks.private_database import private_database
from shared.datasets.model import DatasetFilter, DatasetStatus
from shared.datasets.service import DatasetService
from shared.platform.database import Database
from shared.platform.listing import Page
from shared.platform.queries import queries

PAGE = 20
RUNS = 40

# Four hundred subjects, each with 250 versions; one dataset in ten is archived; each has 21 columns, three of them its
# own, and 4 KB of statistics, which PostgreSQL keeps beside the row.
FILL = """
INSERT INTO users (id, azure_ad_id, email, role)
SELECT md5('user ' || n)::uuid, 'subject-' || n, 'user-' || n || '@example.com', 'scientist'
FROM generate_series(0, 49) n;
INSERT INTO datasets (id, name, description, version, storage_path, file_size_bytes, row_count, column_count,
                      schema, statistics, quality, status, created_by, created_at)
SELECT md5('dataset ' || n)::uuid,
       (ARRAY['orders', 'payments', 'refunds', 'chargebacks'])[1 + n % 4] || '_' || (n % 400),
       'Transactions of region ' || n % 37 || ', exported by the nightly job',
       '1.' || n / 400, 'datasets/' || n || '/data.parquet', 1000 * n, (n * 7919::bigint) % 5000000, 21,
       jsonb_build_object('columns', (
           SELECT jsonb_agg(jsonb_build_object('name', name, 'type', 'float', 'nullable', false))
           FROM unnest(ARRAY['transaction_id', 'transaction_time', 'amount', 'currency', 'customer_id', 'card_number',
               'merchant_id', 'merchant_category', 'device_id', 'ip_address', 'billing_country', 'shipping_country',
               'customer_age', 'gender', 'email_domain', 'channel', 'hour', 'is_fraud',
               'signal_' || n % 1000, 'score_' || n % 97, 'partner_' || n % 13]) AS name
       )),
       jsonb_build_object('column_stats', jsonb_build_object('amount', (
           SELECT jsonb_object_agg('figure_' || figure, md5(n::text || figure)) FROM generate_series(1, 80) figure
       ))),
       jsonb_build_object('counts', '{}'::jsonb, 'findings', '[]'::jsonb),
       CASE WHEN n % 10 = 0 THEN 'ARCHIVED' ELSE 'ACTIVE' END, md5('user ' || n % 50)::uuid,
       timestamptz '2026-01-01' - n * interval '3 minutes'
FROM generate_series(1, DATASETS) n;
"""

FILTERS = {
    "all that are not archived": DatasetFilter(),
    "archived": DatasetFilter(statuses=(DatasetStatus.ARCHIVED,)),
    "a part of the name": DatasetFilter(name="back"),
    "a name that nobody has": DatasetFilter(name="nothing-like-it"),
    "of one user": DatasetFilter(created_by=None),  # set when the users are there
    "at least 4,000,000 rows": DatasetFilter(min_rows=4_000_000),
    "a word of all": DatasetFilter(search="amount"),
    "a word of a quarter": DatasetFilter(search="chargebacks"),
    "a column of a thousandth": DatasetFilter(search="signal 77 payments"),
    "the beginning of a word": DatasetFilter(search="charg region 12"),
    "a word that is nowhere": DatasetFilter(search="unobtainium"),
}
SORTS = ("-created_at", "name", "-row_count")


def asked(filters: dict[str, DatasetFilter]) -> Iterable[tuple[str, DatasetFilter, str]]:
    """Each filter newest first, and the two other orders without a filter."""
    for name, which in filters.items():
        yield name, which, SORTS[0]
    for sort in SORTS[1:]:
        yield "all that are not archived", DatasetFilter(), sort


async def plan(database: Database, which: DatasetFilter) -> str:
    """How PostgreSQL finds the first page, newest first."""
    statement = queries("datasets")["list_datasets"].replace("{order}", "d.created_at DESC, d.id DESC")
    filters: dict[str, Any] = {**asdict(which), "statuses": [status.value for status in which.statuses]}
    explain = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + statement
    async with database.transaction() as conn:
        if which.search is not None:
            await conn.execute(queries("datasets")["prefer_indexes"])
        rows = await conn.execute(explain.encode(), {**filters, "limit": PAGE, "offset": 0}, prepare=False)
        return "\n".join([row["QUERY PLAN"] async for row in rows])


async def measure(count: int, *, plans: bool) -> None:
    """Everything, on a database of its own."""
    async with private_database() as database:
        started = time.perf_counter()
        async with database.connection() as conn:
            for statement in FILL.replace("DATASETS", str(count)).split(";")[:-1]:
                await conn.execute(statement.encode())
            await conn.execute(b"VACUUM ANALYZE datasets")
            row = await (await conn.execute(b"SELECT id FROM users WHERE azure_ad_id = 'subject-1'")).fetchone()
        print(f"{count:,} datasets filled in {time.perf_counter() - started:.0f} s\n")
        assert row is not None
        filters = {**FILTERS, "of one user": DatasetFilter(created_by=row["id"])}
        service = DatasetService(database, cast(Any, None), cast(Any, None), cast(Any, None))  # lists read rows alone
        print(f"| {'filter':26} | sorted by   | page  |   total | median ms | p95 ms |\n|---|---|---|---:|---:|---:|")
        for name, which, sort in asked(filters):
            _, total = await service.list_page(which, Page(PAGE, 0, sort))
            for place, offset in (("first", 0), ("last", max(total - PAGE, 0))):
                times = []
                for _ in range(RUNS):
                    begun = time.perf_counter()
                    await service.list_page(which, Page(PAGE, offset, sort))
                    times.append((time.perf_counter() - begun) * 1000)
                figures = f"{total:7,} | {np.median(times):9.1f} | {np.percentile(times, 95):6.1f}"
                print(f"| {name:26} | {sort:11} | {place:5} | {figures} |")
        if plans:
            for name, which in filters.items():
                print(f"\n-- {name}\n{await plan(database, which)}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=100_000)
    parser.add_argument("--plans", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.datasets, plans=chosen.plans))


if __name__ == "__main__":
    main()
