"""Scoring while the database or Blob is in trouble: who waits is told in time, nothing is stored twice, and it ends by
itself."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from time import perf_counter
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from devhost.postgres import PostgresServer
from shared.alerts.model import AlertStatus, Severity, Source
from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.database import Database
from shared.platform.errors import Unavailable
from shared.scoring.prepared import Answer
from shared.scoring.service import ScoringService
from shared.training.artifact_store import write_artifact
from shared.users.model import Caller
from sql.migrate import migrate
from tests.fixtures.artifacts import packed_model
from tests.fixtures.gate import Gate
from tests.fixtures.postgres import running_server
from tests.fixtures.scoring import DEADLINE_SECONDS, TRANSACTION, Platform

SOON = 0.5  # seconds of a loaded machine


@pytest.fixture
async def line(database_url: str) -> AsyncIterator[Gate]:
    """What stands between a worker and the database."""
    port = urlsplit(database_url).port
    assert port is not None
    async with Gate(port) as gate:
        yield gate


@pytest.fixture
async def remote(database_url: str, line: Gate) -> AsyncIterator[Database]:
    """The database, at the other end of the line."""
    address = database_url.replace(f":{urlsplit(database_url).port}/", f":{line.port}/")
    database = Database(address, pool_size=4, max_overflow=0)
    await database.open()
    yield database
    line.open.set()
    line.answering.set()
    await database.close()


async def score(worker: ScoringService, name: str) -> Answer:
    """Score a transaction of this id."""
    return await worker.score({**TRANSACTION, "transaction_id": name}, model_id=None, explain=False)


async def score_many(worker: ScoringService, names: list[str]) -> tuple[dict[str, UUID], list[float]]:
    """Score all at once: the predictions of those that were answered, and how long the others waited to be refused."""
    answered: dict[str, UUID] = {}
    waits: list[float] = []

    async def one(name: str) -> None:
        begun = perf_counter()
        try:
            answered[name] = (await score(worker, name)).prediction.id
        except Unavailable as refused:
            told.add(refused.retry_after)
            waits.append(perf_counter() - begun)

    told: set[int] = set()
    await asyncio.gather(*(one(name) for name in names))
    assert min(told, default=1) >= 1, "everyone is told when to try again"
    return answered, waits


async def mended(worker: ScoringService, within: float) -> None:
    """Return when transactions are scored again."""
    deadline = perf_counter() + within
    while not (await score_many(worker, ["again"]))[0]:
        assert perf_counter() < deadline, "it does not mend itself"


async def stored(database: Database) -> dict[str, UUID]:
    """The stored predictions by their transactions; no transaction has two."""
    async with database.connection() as conn:
        rows = await (await conn.execute("SELECT transaction_id, id FROM predictions")).fetchall()
    found = {row["transaction_id"]: row["id"] for row in rows}
    assert len(found) == len(rows), "a transaction is stored twice"
    return found


async def test_a_silent_database_holds_no_request_beyond_its_deadline(
    platform: Platform, line: Gate, remote: Database
) -> None:
    """It takes connections and never answers; afterwards the lanes are free again and every request is answered."""
    await platform.promoted()
    worker = platform.worker(remote)
    await score(worker, "before")
    line.open.clear()
    answered, waits = await score_many(worker, [f"silent-{number}" for number in range(300)])
    assert (answered, len(waits)) == ({}, 300)
    assert max(waits) < DEADLINE_SECONDS + SOON
    line.open.set()
    await mended(worker, 10)
    answered, waits = await score_many(worker, [f"after-{number}" for number in range(300)])
    assert (len(answered), waits) == (300, [])
    assert answered.items() <= (await stored(platform.database)).items()


async def test_an_outage_under_load_is_told_at_once_and_mends_itself(
    platform: Platform, line: Gate, remote: Database
) -> None:
    """Connections are refused for some seconds: what was answered is stored, what is refused is refused quickly."""
    await platform.promoted()
    worker = platform.worker(remote)
    await score(worker, "before")
    await line.refuse()
    await score_many(worker, ["finds out"])
    _, waits = await score_many(worker, [f"away-{number}" for number in range(300)])
    assert len(waits) == 300
    assert max(waits) < SOON
    await asyncio.sleep(2)
    await line.accept()
    await mended(worker, 3)
    answered, waits = await score_many(worker, [f"after-{number}" for number in range(300)])
    assert (len(answered), waits) == (300, [])
    assert answered.items() <= (await stored(platform.database)).items()


async def test_a_session_that_is_ended_amid_a_batch_costs_that_batch_alone(
    platform: Platform, remote: Database
) -> None:
    """Its transactions are refused and not stored; those of the next batch are scored."""
    await platform.promoted()
    worker = platform.worker(remote)
    await score(worker, "before")
    async with platform.database.transaction() as blocker:
        await blocker.execute("LOCK TABLE predictions IN SHARE MODE")
        batch = asyncio.create_task(score_many(worker, ["amid-1", "amid-2", "amid-3"]))
        await _terminate_who_waits(platform.database)
        answered, waits = await batch
    assert (answered, len(waits)) == ({}, 3)
    await score(worker, "after")
    assert set(await stored(platform.database)) == {"before", "after"}


async def _terminate_who_waits(database: Database) -> None:
    async with database.connection() as conn:
        for _ in range(500):
            found = await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            if await found.fetchall():
                return
            await asyncio.sleep(0.02)
    raise AssertionError("nobody waits")


async def test_an_answer_that_is_lost_is_given_when_the_transaction_is_sent_again(
    platform: Platform, line: Gate, remote: Database
) -> None:
    """The commit arrived, its confirmation did not: 503, though the row exists; the retry gets that row's answer."""
    await platform.promoted()
    worker = platform.worker(remote, duplicate_window=timedelta(hours=1))
    await score(worker, "before")
    line.trip_after = re.compile(b"lost-1")
    answered, waits = await score_many(worker, ["lost-1"])
    assert (answered, len(waits)) == ({}, 1)
    assert waits[0] < DEADLINE_SECONDS + SOON
    line.answering.set()
    await mended(worker, 10)
    first = (await stored(platform.database))["lost-1"]
    assert (await score(worker, "lost-1")).prediction.id == first
    assert (await stored(platform.database))["lost-1"] == first


@pytest.fixture(scope="module")
def own_server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that may be stopped, with a migrated database."""
    with running_server(postgres_server.binaries) as server:
        migrate(server.url)
        yield server


async def test_a_restart_of_the_server_under_load_loses_and_doubles_nothing(
    own_server: PostgresServer, blobs: BlobStore, origin: Origin, system: Caller
) -> None:
    """Eight clients go on through it: what they were answered is stored once, and nobody waits beyond the deadline."""
    database = Database(own_server.url, pool_size=8, max_overflow=0)
    await database.open()
    ended = asyncio.Event()
    answered: dict[str, UUID] = {}
    waits: list[float] = []

    async def client(number: int) -> None:
        count = 0
        while not ended.is_set():
            count += 1
            found, refused = await score_many(worker, [f"client-{number}-{count}"])
            answered.update(found)
            waits.extend(refused)
            await asyncio.sleep(0.2 if refused else 0)

    async with Gate(1) as gate:
        platform = Platform(database, blobs, gate, origin, system)
        await platform.promoted()
        worker = platform.scoring
        clients = [asyncio.create_task(client(number)) for number in range(8)]
        await asyncio.sleep(0.5)
        before = len(answered)
        await asyncio.to_thread(own_server.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(own_server.start)
        amid = len(answered)
        await mended(worker, 5)
        await asyncio.sleep(0.5)
        ended.set()
        await asyncio.gather(*clients)
    try:
        assert 0 < before <= amid < len(answered)
        assert waits
        assert max(waits) < DEADLINE_SECONDS + SOON
        assert answered.items() <= (await stored(database)).items()
    finally:
        await database.close()


@pytest.mark.parametrize("fault", ["refused", "silent"])
async def test_a_cold_worker_without_blob_says_so_and_becomes_well_by_itself(platform: Platform, fault: str) -> None:
    """No model can be read: 503 within the deadline, as often as anybody asks; then the first request is answered."""
    live = await platform.promoted()
    worker = platform.worker()
    if fault == "silent":
        platform.gate.open.clear()
    else:
        await platform.gate.refuse()
    for _ in range(2):
        answered, waits = await score_many(worker, ["cold-1", "cold-2"])
        assert (answered, len(waits)) == ({}, 2)
        assert max(waits) < DEADLINE_SECONDS + SOON
    if fault == "silent":
        platform.gate.open.set()
    else:
        await platform.gate.accept()
    await mended(worker, 10)
    assert (await worker.readiness())["model_id"] == live


async def test_a_cold_worker_whose_model_is_damaged_tells_everyone_and_serves_when_it_is_mended(
    platform: Platform,
) -> None:
    """Without a predecessor there is nothing to serve: 503, a critical alert, and no storm of reads over it."""
    live = await platform.promoted()
    path = f"models/{live}/model.ubj"
    content = await platform.blobs.read_bytes(path)
    await platform.blobs.upload_bytes(path, content[:-1])
    worker = platform.worker()
    for number in range(20):
        answered, _ = await score_many(worker, [f"cold-{number}"])
        assert answered == {}
    alert = await platform.alert(AlertStatus.ACTIVE)
    assert (alert.source_type, alert.severity, alert.model_id) == (Source.SYSTEM, Severity.CRITICAL, live)
    assert alert.occurrences < 20
    await write_artifact(platform.blobs, live, packed_model(model_id=live))
    await platform.blobs.upload_bytes(path, content)
    await mended(worker, 10)
    assert (await platform.alert(AlertStatus.RESOLVED)).id == alert.id


async def test_an_alert_is_cleared_though_the_database_was_away_when_the_model_was_mended(
    platform: Platform, line: Gate, remote: Database
) -> None:
    """The worker remembers what it could not say, and says it with the next look at its models."""
    live = await platform.promoted()
    path = f"models/{live}/model.ubj"
    content = await platform.blobs.read_bytes(path)
    await platform.blobs.upload_bytes(path, content[:-1])
    assert (await score_many(platform.worker(), ["cold"]))[0] == {}
    alert = await platform.alert(AlertStatus.ACTIVE)
    await platform.blobs.upload_bytes(path, content)
    worker = platform.worker(remote)
    line.trip = re.compile(f"model_artifact:{live}".encode())  # the clearing itself does not get through
    assert (await score_many(worker, ["cold"]))[0] == {}
    await line.refuse()  # what was held back is lost
    line.open.set()
    await line.accept()
    await mended(worker, 10)
    assert (await platform.alert(AlertStatus.ACTIVE)).id == alert.id
    await worker.top_up_history()
    assert (await platform.alert(AlertStatus.RESOLVED)).id == alert.id
