"""Archiving and restoring months on a real database and a real blob store, interrupted wherever it can be."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg.types.json import Jsonb

from shared.alerts.model import AlertStatus
from shared.alerts.service import AlertService
from shared.archiving import files
from shared.archiving.model import ArchiveDamaged, Part, Step
from shared.archiving.months import ArchivedMonths
from shared.archiving.restoring import MonthRestorer
from shared.archiving.service import ArchiveService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, Unavailable
from shared.scoring.identifiers import prediction_id

NOW = datetime(2027, 9, 20, 3, tzinfo=UTC)
JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
ROWS = 230


class Archives:
    """Two months past retention, one that is kept, and the service with parts of a hundred rows."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self.database = database
        self.blobs = blobs
        self.now = NOW
        self.alerts = AlertService(database, utc_now)

    def service(self, blobs: BlobStore | None = None, database: Database | None = None) -> ArchiveService:
        """A worker that has just started."""
        return ArchiveService(
            database or self.database, blobs or self.blobs, self.alerts, lambda: self.now,
            retention_months=18, part_rows=100,
        )  # fmt: skip

    async def restore(self, month: date = JANUARY, *, days: int = 30) -> list[Part]:
        """Bring a month back; the parts that were loaded."""
        loaded: list[Part] = []
        restorer = MonthRestorer(self.database, self.blobs, lambda: self.now)
        await restorer.restore(month, keep=timedelta(days=days), report=loaded.append)
        return loaded

    async def rows(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Whatever is in the database."""
        async with self.database.connection() as conn:
            return await (await conn.execute(statement.encode(), parameters)).fetchall()

    async def content(self) -> dict[str, list[dict[str, Any]]]:
        """Every prediction and every label."""
        return {
            table: await self.rows(f"SELECT * FROM {table} ORDER BY id")
            for table in ("predictions", "prediction_labels")
        }

    async def insert(self, at: datetime, number: int = 0, *, labelled: bool = False) -> UUID:
        """One prediction, with a null here and there, and perhaps a label."""
        draws = random.Random(number)
        identifier = prediction_id(at)
        async with self.database.transaction() as conn:
            await conn.execute(
                "INSERT INTO predictions (id, model_id, transaction_id, input_features, fraud_score, is_fraud, "
                "confidence, explanation, actual_label, labeled_at, latency_ms, created_at, cells) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    identifier, UUID(int=9), draws.choice([None, "", f'o"{number},\n', "ß€"]),
                    Jsonb({"transaction": {"amount": draws.random(), "note": 'a "b", \\c'}, "features": {"x": None}}),
                    draws.random(), draws.random() < 0.5, draws.choice([None, draws.random()]),
                    draws.choice([None, Jsonb({"base_value": -3.5, "contributions": {"x": 1e-17}})]),
                    True if labelled else None, at if labelled else None, draws.choice([None, 12]), at,
                    draws.choice([None, b"\\x00\xff"]),
                ],
            )  # fmt: skip
            if labelled:
                await conn.execute(
                    "INSERT INTO prediction_labels (prediction_id, prediction_created_at, model_id, is_fraud, "
                    "labeled_at, source, recorded_by, previous) VALUES (%s, %s, %s, true, %s, %s, %s, NULL)",
                    [identifier, at, UUID(int=9), at, draws.choice([None, "bank"]), draws.choice([None, uuid4()])],
                )
        return identifier


@pytest.fixture
async def archives(database: Database, blobs: BlobStore) -> Archives:
    """January and February of 2026 are due in September of 2027; March is not."""
    archives = Archives(database, blobs)
    async with database.connection() as conn:
        await conn.execute("SELECT ensure_predictions_partitions('2026-01-01', 3)")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(ROWS):
        await archives.insert(start + timedelta(hours=3 * number), number, labelled=number % 2 == 0)
    await archives.insert(start, 1_000, labelled=True)
    await archives.insert(datetime(2026, 1, 31, 23, 59, 59, 999_000, tzinfo=UTC), 1_001, labelled=True)
    await archives.insert(datetime(2026, 2, 1, tzinfo=UTC), 1_002)
    await archives.insert(datetime(2026, 3, 1, tzinfo=UTC), 1_003, labelled=True)
    return archives


async def interrupted(steps: AsyncIterator[Step], after: int) -> list[Step]:
    """The first steps; then the worker dies."""
    done = []
    async for step in steps:
        done.append(step)
        if len(done) == after:
            break
    return done


async def test_months_past_retention_leave_and_come_back_as_they_were(archives: Archives) -> None:
    """Two months leave, with their labels and an audit entry each; one that is restored is what it was, bit for bit."""
    before = await archives.content()
    assert await archives.service().archive_due() == [JANUARY, FEBRUARY]
    left = await archives.content()
    assert len(left["predictions"]) == len(left["prediction_labels"]) == 1
    assert await ArchivedMonths(archives.database).before() == MARCH
    entries = await archives.rows("SELECT new_values FROM audit_logs WHERE action = 'ARCHIVE' ORDER BY created_at")
    assert [entry["new_values"]["month"] for entry in entries] == ["2026-01", "2026-02"]
    assert entries[0]["new_values"]["predictions"] + entries[1]["new_values"]["predictions"] == ROWS + 3

    for month in (JANUARY, FEBRUARY):
        await archives.restore(month)
    assert await archives.content() == before
    digests = await archives.rows("SELECT a.digest = d.digest AS same FROM predictions_archives AS a, "
                                  "digest_predictions_month(a.month) AS d")  # fmt: skip
    assert digests == [{"same": True}] * 2
    assert await ArchivedMonths(archives.database).before() is None


async def test_parts_are_bounded_described_and_readable_by_others(archives: Archives, tmp_path: Path) -> None:
    """No file has more rows than a part may have, and another library finds in it what the manifest says."""
    await archives.service().archive_due()
    parts = [Part.model_validate(part) for part in
             (await archives.rows("SELECT parts FROM predictions_archives ORDER BY month"))[0]["parts"]]  # fmt: skip
    assert [part.rows for part in parts if part.kind == "predictions"] == [100, 100, 32]
    assert sum(part.rows for part in parts if part.kind == "labels") == 117
    for part in parts:
        local = tmp_path / "part.parquet"
        await archives.blobs.download_file(part.path, local)
        table = pq.read_table(local)
        column = "created_at" if part.kind == "predictions" else "prediction_created_at"
        times = table.column(column).to_pylist()
        assert (table.num_rows, min(times), max(times)) == (part.rows, part.earliest, part.latest)
    assert parts[0].earliest == datetime(2026, 1, 1, tzinfo=UTC)


async def test_the_archive_keeps_every_column(archives: Archives) -> None:
    """A column that is added to a table is missed here."""
    for table, kind in (("predictions", "predictions"), ("prediction_labels", "labels")):
        found = await archives.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND table_schema = 'public'",
            table,
        )
        assert {row["column_name"] for row in found} == set(files.schema(kind))  # type: ignore[arg-type]


async def test_killed_after_any_step_it_goes_on(archives: Archives) -> None:
    """A worker that dies after each step, and one that starts anew each time: everything arrives, in the same parts."""
    before = await archives.content()
    done: list[str] = []
    while "archived" not in done and len(done) < 20:
        # Begun, and one step more than the worker before; a month that is detached is found so.
        steps = await interrupted(archives.service().archive(JANUARY), 3 if "detached" in done else 2)
        done.append(steps[-1].done)
    assert done == [*["exported"] * 5, "verified", "detached", "archived"]
    await archives.restore()
    assert await archives.content() == before


class Dying(BlobStore):
    """Blob storage of a worker that dies at its second file: as soon as it is written, or just before."""

    written = True
    _calls = 0

    async def upload_file(self, path: str, local: Path) -> None:
        """As ever, the first time."""
        await self._die_after(super().upload_file(path, local))

    async def upload_bytes(self, path: str, data: bytes) -> None:
        """As ever, the first time."""
        await self._die_after(super().upload_bytes(path, data))

    async def _die_after(self, writing: Coroutine[Any, Any, None]) -> None:
        self._calls += 1
        if self._calls < 2 or self.written:
            await writing
        else:
            writing.close()
        if self._calls == 2:
            raise Unavailable("killed", target="blob")


@pytest.mark.parametrize("written", [True, False])
async def test_killed_while_it_writes_it_goes_on(
    archives: Archives, blob_connection_string: str, *, written: bool
) -> None:
    """Between a file and the database's knowing of it, at each file in turn; the alert that was raised goes when it has
    worked.
    """
    archives.now = datetime(2027, 8, 31, tzinfo=UTC)  # only January is due
    before = await archives.content()
    deaths = 0
    while True:
        store = Dying(container=archives.blobs.container_name, connection_string=blob_connection_string)
        store.written = written
        archived = await archives.service(store).archive_due()
        await store.close()
        if archived:
            break
        deaths += 1
        assert [row["status"] for row in await archives.rows("SELECT status FROM alerts")] == [AlertStatus.ACTIVE.value]
    assert (deaths, archived) == (5, [JANUARY])
    assert [row["status"] for row in await archives.rows("SELECT status FROM alerts")] == [AlertStatus.RESOLVED.value]
    await archives.restore()
    assert await archives.content() == before


@pytest.mark.parametrize("late", ["prediction", "label"])
@pytest.mark.parametrize("after", ["exported", "verified"])
async def test_what_comes_late_is_not_lost(archives: Archives, after: str, late: str) -> None:
    """A row or a label that arrives while the month is exported, or once it was verified: it is exported anew."""
    at = datetime(2026, 1, 2, 5, tzinfo=UTC)
    async for step in archives.service().archive(JANUARY):
        if step.done == after:
            break
    if late == "prediction":
        await archives.insert(at, 7, labelled=True)
    else:
        async with archives.database.transaction() as conn:
            await conn.execute(
                "UPDATE predictions SET actual_label = false WHERE id IN (SELECT id FROM predictions "
                "WHERE actual_label IS NULL AND created_at < '2026-01-15' LIMIT 1)"
            )
    before = await archives.content()
    assert await archives.service().archive_due() == [JANUARY, FEBRUARY]
    await archives.restore()
    await archives.restore(FEBRUARY)
    assert await archives.content() == before


async def test_a_row_written_to_the_detached_table_is_not_lost(archives: Archives) -> None:
    """By hand, between detaching and dropping: nothing is dropped until an archive has it."""
    async for step in archives.service().archive(JANUARY):
        if step.done == "detached":
            break
    written = await archives.rows(
        "INSERT INTO predictions_2026_01 (model_id, input_features, fraud_score, is_fraud, created_at) "
        "VALUES (gen_random_uuid(), '{}', 0.5, false, '2026-01-20') RETURNING id"
    )
    assert JANUARY in await archives.service().archive_due()
    await archives.restore()
    assert await archives.rows("SELECT id FROM predictions WHERE id = %s", written[0]["id"]) == written


async def test_a_damaged_file_is_found_before_anything_is_dropped(archives: Archives) -> None:
    """A part that is not what was written is written again."""
    steps = archives.service().archive(JANUARY)
    async for step in steps:
        if step.done == "exported":
            await archives.blobs.upload_bytes(step.detail, b"not what was written")
            break
    before = await archives.content()
    assert JANUARY in await archives.service().archive_due()
    await archives.restore()
    assert (await archives.content())["prediction_labels"] == before["prediction_labels"]


@pytest.mark.parametrize("harm", ["part", "labels", "manifest"])
async def test_a_damaged_archive_is_not_restored(archives: Archives, harm: str) -> None:
    """Whichever of its files it is; the month stays archived, and comes back once the file is there again."""
    await archives.service().archive_due()
    parts = (await archives.rows("SELECT parts FROM predictions_archives WHERE month = %s", JANUARY))[0]["parts"]
    paths = {"manifest": "archive/predictions/2026-01/manifest.json",
             "part": parts[1]["path"], "labels": parts[-1]["path"]}  # fmt: skip
    content = await archives.blobs.read_bytes(paths[harm])
    await archives.blobs.upload_bytes(paths[harm], content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArchiveDamaged) as refusal:
        await archives.restore()
    assert refusal.value.target == paths[harm]
    assert await archives.rows("SELECT FROM predictions WHERE created_at < '2026-02-01'") == []
    assert await ArchivedMonths(archives.database).holds(datetime(2026, 1, 5, tzinfo=UTC))
    await archives.blobs.upload_bytes(paths[harm], content)
    assert len(await archives.restore()) == len(parts)


async def test_a_restored_month_is_archived_again_when_its_days_are_over(archives: Archives) -> None:
    """Not before; and what was there is there again."""
    before = await archives.content()
    await archives.service().archive_due()
    await archives.restore(days=3)
    assert await archives.service().archive_due() == []
    archives.now += timedelta(days=3, seconds=1)
    assert await archives.service().archive_due() == [JANUARY]
    for month in (JANUARY, FEBRUARY):
        await archives.restore(month)
    assert await archives.content() == before


async def test_an_archived_month_is_not_made_anew(archives: Archives) -> None:
    """A prediction that comes for it later is refused loudly, for it would be in no archive."""
    await archives.service().archive_due()
    with pytest.raises(Unavailable):
        await archives.rows("SELECT ensure_predictions_partitions('2026-01-01', 1)")
    with pytest.raises(Conflict):
        await archives.restore(MARCH)


async def test_an_interrupted_detaching_is_finished(archives: Archives, database_url: str) -> None:
    """DETACH CONCURRENTLY that was killed while it waited leaves the month half detached; the next night goes on."""
    async for step in archives.service().archive(JANUARY):
        if step.done == "verified":
            break
    with psycopg.connect(database_url) as reader, psycopg.connect(database_url, autocommit=True) as owner:
        reader.execute("SELECT count(*) FROM predictions")
        owner.execute("SET statement_timeout = '1s'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            owner.execute("ALTER TABLE predictions DETACH PARTITION predictions_2026_01 CONCURRENTLY")
    assert await archives.rows("SELECT predictions_month_state('2026-01-01') AS state") == [{"state": "detaching"}]
    assert JANUARY in await archives.service().archive_due()


async def test_readers_and_writers_go_on_while_a_month_leaves(archives: Archives) -> None:
    """A long reader holds the detaching up, and nobody else waits for it."""
    async with archives.database.transaction() as reader:
        await reader.execute("SELECT count(*) FROM predictions")
        leaving = asyncio.create_task(archives.service().archive_due())
        for _ in range(100):
            if (await archives.rows("SELECT predictions_month_state('2026-01-01') AS s"))[0]["s"] == "detaching":
                break
            await asyncio.sleep(0.1)
        async with asyncio.timeout(2):
            await archives.insert(datetime(2026, 3, 2, tzinfo=UTC), 5)
        assert not leaving.done()
    assert await leaving == [JANUARY, FEBRUARY]


async def test_the_app_s_role_may_archive(archives: Archives, database_url: str) -> None:
    """A role that owns no table and has only the documented rights."""
    role = f"app_{uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
        owner.execute(
            f"GRANT SELECT, INSERT, UPDATE ON predictions, prediction_labels, predictions_archives, alerts, "
            f"audit_logs TO {role}".encode()
        )
        try:
            address = psycopg.conninfo.make_conninfo(database_url, user=role, password="secret")
            database = Database(address, pool_size=3, max_overflow=0)
            await database.open()
            try:
                assert await archives.service(database=database).archive_due() == [JANUARY, FEBRUARY]
            finally:
                await database.close()
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())


async def test_a_command_restores_a_month(archives: Archives, database_url: str, blob_connection_string: str) -> None:
    """It names what it loaded and ends with 0; with 1 and the reason if it cannot; with 2 for what is no month."""
    before = await archives.content()
    await archives.service().archive_due()
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "BLOB_CONNECTION_STRING": blob_connection_string,
        "BLOB_CONTAINER": archives.blobs.container_name,
    }

    async def command(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sql.restore_month", *arguments,
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    status, said = await command("2026-01", "--days", "3")
    assert (status, said.splitlines()[-1]) == (0, "2026-01 is back for 3 days: 232 predictions, 117 labels")
    assert said.count("checked and loaded") == 5
    assert await command("2026-01") == (1, "not restored: the month is not archived (2026-01)\n")
    assert (await command("January"))[0] == 2
    await archives.restore(FEBRUARY)
    assert await archives.content() == before


WORKER = """
import asyncio, sys
from datetime import UTC, datetime
from shared.alerts.service import AlertService
from shared.archiving.service import ArchiveService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database

async def work(url, connection, container):
    database = Database(url, pool_size=3, max_overflow=0)
    await database.open()
    blobs = BlobStore(container=container, connection_string=connection)
    archives = ArchiveService(database, blobs, AlertService(database, utc_now),
                              lambda: datetime(2027, 9, 20, tzinfo=UTC), retention_months=18, part_rows=40)
    print("ready", flush=True)
    await archives.archive_due()

asyncio.run(work(*sys.argv[1:]))
"""


@pytest.mark.slow
async def test_killed_at_any_moment_nothing_is_lost(
    archives: Archives, database_url: str, blob_connection_string: str
) -> None:
    """A real process that is killed over and over, at moments of chance, until both months have left: what comes back
    is what there was, and the next run needs nobody's help.
    """
    before = await archives.content()
    draws = random.Random(5)
    command = [sys.executable, "-c", WORKER, database_url, blob_connection_string, archives.blobs.container_name]
    killed = 0
    for attempt in range(200):  # each with more time than the one before, for a machine may be slow
        worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert worker.stdout is not None
        assert b"ready" in await worker.stdout.readline()
        with suppress(TimeoutError):
            async with asyncio.timeout(draws.uniform(0, (1 + attempt) / 20)):
                await worker.wait()
        if worker.returncode is None:
            worker.kill()
            await worker.communicate()
            killed += 1
        if len(await archives.rows("SELECT FROM predictions_archives WHERE state = 'ARCHIVED'")) == 2:
            break
    else:
        raise AssertionError("it never came to an end")
    assert killed > 1
    for month in (JANUARY, FEBRUARY):
        await archives.restore(month)
    assert await archives.content() == before
