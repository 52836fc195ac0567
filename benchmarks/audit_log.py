"""The audit log at size: entries a second, pages of the list, and the proof.

    python -m benchmarks.audit_log --rows 1000000

fills a PostgreSQL of its own. Appends are made by eight at a time, each in a transaction of its own, in turns with the
chain switched off for comparison. Pages are the service's own, the first and the last of each filter; ``--plans``
prints how PostgreSQL finds them. ``--verify`` also seals all rows and times the proof.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from benchmarks.private_database import private_database
from shared.audit.model import NEWEST, AuditFilter, Origin, Position
from shared.audit.service import AuditService, record
from shared.platform.database import Database
from shared.platform.patience import answering_within
from shared.platform.queries import queries

WRITERS = 8
_FILLING_SECONDS = 3600.0
PAGE = 20
RUNS = 40

# Two hundred users, the first of whom does a tenth of everything; one entry in ten thousand is a promotion.
FILL = """
INSERT INTO users (id, azure_ad_id, email, role)
SELECT md5('user ' || n)::uuid, 'subject-' || n, 'user-' || n || '@example.com', 'scientist'
FROM generate_series(0, 199) n;
SET session_replication_role = replica;
INSERT INTO audit_logs (id, user_id, user_email, action, resource_type, resource_id, old_values, new_values,
                        ip_address, user_agent, request_id, created_at)
SELECT gen_random_uuid(), md5('user ' || u)::uuid, 'user-' || u || '@example.com',
       CASE WHEN n % 10000 = 0 THEN 'PROMOTE' WHEN n % 3 = 0 THEN 'CREATE' ELSE 'UPDATE' END,
       (ARRAY['dataset', 'feature_set', 'training_job', 'model', 'endpoint'])[1 + n % 5],
       md5('resource ' || n % 50000)::uuid, '{"status": "STAGING"}', '{"status": "PRODUCTION"}',
       '192.0.2.1', 'Mozilla/5.0', md5(n::text), timestamptz '2026-01-01' - n * interval '6 seconds'
FROM (SELECT n, CASE WHEN n % 10 = 0 THEN 0 ELSE n % 200 END AS u FROM generate_series(1, ROWS) n) numbered;
RESET session_replication_role;
"""

SEAL = """
DO $do$
DECLARE
    entry audit_logs;
    head bytea := (SELECT hash FROM audit_chain ORDER BY sequence DESC LIMIT 1);
    number bigint := (SELECT coalesce(max(sequence), 0) FROM audit_chain);
BEGIN
    FOR entry IN
        SELECT * FROM audit_logs a WHERE NOT EXISTS (SELECT FROM audit_chain WHERE entry_id = a.id) ORDER BY created_at
    LOOP
        number := number + 1;
        head := audit_entry_hash(coalesce(head, ''), number, entry);
        INSERT INTO audit_chain (sequence, entry_id, hash) VALUES (number, entry.id, head);
    END LOOP;
END
$do$
"""


async def appends(database: Database, count: int) -> float:
    """Entries a second, by eight writers at a time."""
    origin = Origin("benchmark", "192.0.2.1", "benchmark")

    async def write() -> None:
        for number in range(count // WRITERS):
            async with database.transaction() as conn:
                await record(
                    conn,
                    origin,
                    None,
                    action="UPDATE",
                    resource_type="model",
                    resource_id=None,
                    old={"status": "STAGING"},
                    new={"status": "PRODUCTION", "number": number},
                )

    started = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return count / (time.perf_counter() - started)


async def appends_in_turns(database: Database, count: int) -> dict[str, list[float]]:
    """Entries a second with the chain and without it, three times each."""
    found: dict[str, list[float]] = {"chained": [], "not chained": []}
    async with database.connection() as conn:
        for _ in range(3):
            for switch, kind in (("ENABLE", "chained"), ("DISABLE", "not chained")):
                await conn.execute(f"ALTER TABLE audit_logs {switch} TRIGGER audit_logs_chained".encode())
                found[kind].append(await appends(database, count))
        await conn.execute(b"ALTER TABLE audit_logs ENABLE TRIGGER audit_logs_chained")
    return found


async def last_page(database: Database, which: AuditFilter) -> Position:
    """Where the last page of a filter begins."""
    given = {name: value for name, value in asdict(which).items() if value is not None}
    columns = {"since": "created_at >=", "until": "created_at <"}
    where = " AND ".join(f"{columns.get(name, f'{name} =')} %({name})s" for name in given) or "true"
    statement = f"SELECT created_at, id FROM audit_logs WHERE {where} ORDER BY created_at, id OFFSET {PAGE} LIMIT 1"
    async with database.connection() as conn:
        row = await (await conn.execute(statement.encode(), given)).fetchone()
    return NEWEST if row is None else (row["created_at"], row["id"])


async def plan(database: Database, which: AuditFilter, before: Position) -> str:
    """How PostgreSQL finds a page."""
    before = before if which.until is None else min(before, (which.until, UUID(int=0)))
    parameters = {**asdict(which), "before_at": before[0], "before_id": before[1], "limit": PAGE + 1}
    statement = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + queries("audit")["list_audit_logs"]
    async with database.connection() as conn:
        rows = await conn.execute(statement.encode(), parameters, prepare=False)
        return "\n".join([row["QUERY PLAN"] async for row in rows])


async def filters(database: Database) -> Mapping[str, AuditFilter]:
    """What is asked of the log, common and rare."""
    async with database.connection() as conn:
        rows = await conn.execute(
            b"SELECT user_id, resource_id, request_id, created_at FROM audit_logs"
            b" WHERE user_id = md5('user 0')::uuid ORDER BY created_at LIMIT 1"
        )
        row = await rows.fetchone()
        middle = await (
            await conn.execute(b"SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY created_at) FROM audit_logs")
        ).fetchone()
    assert row is not None
    assert middle is not None
    half: datetime = middle["percentile_disc"]
    busy: UUID = row["user_id"]
    return {
        "everything": AuditFilter(),
        "a user": AuditFilter(user_id=busy),
        "a common action": AuditFilter(action="UPDATE"),
        "a rare action": AuditFilter(action="PROMOTE"),
        "a type": AuditFilter(resource_type="model"),
        "a resource": AuditFilter(resource_id=row["resource_id"], resource_type="dataset"),
        "a request": AuditFilter(request_id=row["request_id"]),
        "until a time": AuditFilter(until=half),
        "from a time": AuditFilter(since=half),
        "an hour": AuditFilter(since=half, until=half + timedelta(hours=1)),
        "a user's hour": AuditFilter(user_id=busy, since=half, until=half + timedelta(hours=1)),
        "a user's common action": AuditFilter(user_id=busy, action="UPDATE"),
        "a user's rare action": AuditFilter(user_id=busy, action="PROMOTE"),
        "what a user never did": AuditFilter(user_id=busy, action="ROLLBACK"),
        "two filters that never meet": AuditFilter(action="PROMOTE", resource_type="model"),
    }


async def pages(database: Database, *, plans: bool) -> None:
    """Times of the first and the last page of each filter, as the service answers them."""
    audit = AuditService(database)
    asked = await filters(database)
    places = {
        (name, place): NEWEST if place == "first" else await last_page(database, which)
        for name, which in asked.items()
        for place in ("first", "last")
    }
    times: dict[tuple[str, str], list[float]] = {place: [] for place in places}
    for _ in range(RUNS):
        for (name, place), before in places.items():
            started = time.perf_counter()
            await audit.list_page(asked[name], before=before, limit=PAGE)
            times[name, place].append((time.perf_counter() - started) * 1000)
    print(f"| {'filter':28} | page  | median ms | p95 ms |\n|---|---|---:|---:|")
    for (name, place), taken in times.items():
        print(f"| {name:28} | {place:5} | {np.median(taken):9.2f} | {np.percentile(taken, 95):6.2f} |")
    if plans:
        for (name, place), before in places.items():
            print(f"\n-- {name}, {place} page\n{await plan(database, asked[name], before)}")


async def verification(database: Database) -> None:
    """Seal what was filled in, and time the proof."""
    async with database.connection() as conn:
        await conn.execute(SEAL.encode())
    faults: list[Any] = []
    started = time.perf_counter()
    check = await AuditService(database).verify(faults.append)
    elapsed = time.perf_counter() - started
    speed = f"{elapsed:.1f} s, {check.checked / elapsed:,.0f} a second"
    print(f"\nverified {check.checked:,} entries in {speed}, {len(faults)} faults")


async def measure(rows: int, entries: int, *, plans: bool, verify: bool) -> None:
    """Everything, on a database of its own."""
    async with private_database() as database:
        for kind, rates in (await appends_in_turns(database, entries)).items():
            print(f"{kind}: {np.median(rates):,.0f} entries a second ({', '.join(f'{rate:,.0f}' for rate in rates)})")
        started = time.perf_counter()
        with answering_within(_FILLING_SECONDS):
            async with database.connection() as conn:
                for statement in FILL.replace("ROWS", str(rows)).split(";")[:-1]:
                    await conn.execute(statement.encode())
                await conn.execute(b"VACUUM ANALYZE audit_logs")
        print(f"{rows:,} rows filled in {time.perf_counter() - started:.0f} s\n")
        await pages(database, plans=plans)
        if verify:
            await verification(database)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, default=800, help="appended in each of the six turns")
    parser.add_argument("--plans", action="store_true")
    parser.add_argument("--verify", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.rows, chosen.entries, plans=chosen.plans, verify=chosen.verify))


if __name__ == "__main__":
    main()
