"""The database goes away, falls silent, fails over or forgets: those who ask are told in time, and it mends itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from time import perf_counter
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from devhost.postgres import PostgresServer
from shared.platform.database import Database
from shared.platform.errors import Unavailable
from shared.platform.patience import answering_within
from tests.fixtures.gate import Gate
from tests.fixtures.postgres import running_server

PATIENCE = 1.0


@pytest.fixture
async def gate(database_url: str) -> AsyncIterator[Gate]:
    """What stands between the pool and the server."""
    port = urlsplit(database_url).port
    assert port is not None
    async with Gate(port) as gate:
        yield gate


@pytest.fixture
async def behind(database_url: str, gate: Gate) -> AsyncIterator[Database]:
    """A pool of four connections through the gate."""
    parts = urlsplit(database_url)
    database = Database(database_url.replace(f":{parts.port}/", f":{gate.port}/"), pool_size=4, max_overflow=0)
    await database.open()
    yield database
    gate.open.set()
    gate.answering.set()
    await database.close()


async def ask(database: Database) -> None:
    """A statement that a user with little patience sends."""
    with answering_within(PATIENCE):
        async with database.connection() as conn:
            await conn.execute("SELECT 1")


async def refused(database: Database) -> float:
    """The seconds after which somebody who asks is told that the database is away."""
    begun = perf_counter()
    with pytest.raises(Unavailable) as told:
        await ask(database)
    assert told.value.target == "database"
    return perf_counter() - begun


async def mended(database: Database, within: float) -> None:
    """Return when a statement is answered again."""
    deadline = perf_counter() + within
    while True:
        try:
            return await ask(database)
        except Unavailable:
            assert perf_counter() < deadline, "the pool does not recover"
            await asyncio.sleep(0.05)


async def everyone_at_once(database: Database) -> None:
    """Every connection of the pool can be had at the same time: none has leaked."""
    async with asyncio.timeout(10):
        barrier = asyncio.Barrier(database.pool.max_size)

        async def hold() -> None:
            async with database.connection() as conn:
                await barrier.wait()
                await conn.execute("SELECT 1")

        await asyncio.gather(*(hold() for _ in range(database.pool.max_size)))


async def test_a_silent_database_holds_nobody_longer_than_their_patience(behind: Database, gate: Gate) -> None:
    """It takes connections and never answers; whoever waits is told in time, and no connection is lost over it."""
    await everyone_at_once(behind)
    gate.open.clear()
    waits = await asyncio.gather(*(refused(behind) for _ in range(12)))
    assert max(waits) < PATIENCE + behind.pool.timeout + 1
    gate.open.set()
    await mended(behind, 10)
    await everyone_at_once(behind)


async def test_a_statement_that_hangs_is_hung_up_on(behind: Database, gate: Gate) -> None:
    """The answer to a statement under way never comes: the connection is closed, and its work is not waited for."""
    with answering_within(PATIENCE):
        async with behind.connection() as conn:
            await conn.execute("SELECT 1")
            gate.open.clear()
            begun = perf_counter()
            with pytest.raises(psycopg.OperationalError):
                await conn.execute("SELECT 2")
            assert PATIENCE <= perf_counter() - begun < PATIENCE + 1
            assert conn.broken


async def test_a_user_who_gives_up_is_let_go(behind: Database, gate: Gate) -> None:
    """A probe with a time limit of its own ends, though the server never consents to the cancellation."""
    await ask(behind)
    gate.open.clear()
    begun = perf_counter()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE / 2):
            await ask(behind)
    assert perf_counter() - begun < PATIENCE + 1.5
    gate.open.set()
    await mended(behind, 10)
    await everyone_at_once(behind)


async def test_nobody_waits_for_a_database_that_is_known_to_be_away(behind: Database, gate: Gate) -> None:
    """Those who wait when it is found out are told then, those who come later at once, until it is back."""
    await everyone_at_once(behind)
    await gate.refuse()
    await refused(behind)
    waits = [await refused(behind) for _ in range(50)]
    assert sorted(waits)[-2] < 0.1, "all but the one that finds it out"
    await asyncio.sleep(3)  # as long as it takes: no growing pauses between attempts
    await gate.accept()
    await mended(behind, 2)
    await everyone_at_once(behind)


async def test_a_server_that_has_no_connection_to_spare_is_not_away(
    database_url: str, postgres_server: PostgresServer
) -> None:
    """The connections that there are go on working."""
    name = sql.Identifier(urlsplit(database_url).path[1:])
    database = Database(database_url, pool_size=4, max_overflow=0, timeout_seconds=1)
    with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        parts = urlsplit(database_url)
        plain = f"postgresql://plain:plain@{parts.hostname}:{parts.port}{parts.path}"
        database = Database(plain, pool_size=4, max_overflow=0, timeout_seconds=1)
        try:
            admin.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 1").format(name))
            await database.open()
            await mended(database, 5)

            async def hold() -> None:
                async with database.connection() as conn:
                    await conn.execute("SELECT pg_sleep(0.05)")

            results = await asyncio.gather(*(hold() for _ in range(8)), return_exceptions=True)
            assert results == [None] * 8
            await asyncio.sleep(1.5)  # the attempts to connect have been given up by now
            await ask(database)
        finally:
            await database.close()
            admin.execute("DROP ROLE plain")


async def _terminate_who_waits(database: Database) -> None:
    """End every session of this database that waits for a lock."""
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


async def test_a_session_that_is_ended_amid_a_statement_fails_that_statement_alone(database: Database) -> None:
    """The next one has another connection."""
    async with database.transaction() as conn:
        await conn.execute("LOCK TABLE users")
        waiting = asyncio.create_task(_add_user(database))
        await _terminate_who_waits(database)
        with pytest.raises(Unavailable):
            await waiting
    await _add_user(database)
    await everyone_at_once(database)


async def _add_user(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO users (azure_ad_id, email) SELECT id, id FROM (SELECT gen_random_uuid()::text AS id) AS new"
        )


async def test_a_statement_timeout_of_the_server_is_told_as_unavailable(database_url: str, database: Database) -> None:
    """And the connection is as good as before."""
    name = sql.Identifier(urlsplit(database_url).path[1:])
    async with database.connection() as conn:
        await conn.execute(sql.SQL("ALTER DATABASE {} SET statement_timeout = '200ms'").format(name))
    limited = Database(database_url, pool_size=1, max_overflow=0)
    await limited.open()
    try:
        async with database.transaction() as conn:
            await conn.execute("LOCK TABLE users")
            with pytest.raises(Unavailable, match="too long"):
                await _add_user(limited)
        await _add_user(limited)
    finally:
        await limited.close()


async def test_connections_to_a_standby_are_left_for_the_primary(database_url: str, database: Database) -> None:
    """After a failover the old sessions refuse every change (25006); they are not used again."""
    name = sql.Identifier(urlsplit(database_url).path[1:])
    with psycopg.connect(database_url, autocommit=True) as primary:
        primary.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        await everyone_at_once(database)  # every session is read-only now
        primary.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
    with pytest.raises(Unavailable, match="no changes"):
        await _add_user(database)
    for _ in range(database.pool.max_size):
        await _add_user(database)


async def test_prepared_statements_that_the_server_has_forgotten_are_not_missed(database: Database) -> None:
    """A session behind a pooler may be another one, or have been discarded: the statement is sent anew."""
    await everyone_at_once(database)
    async with database.connection() as conn:
        for _ in range(4):
            await conn.execute("SELECT 1 AS one")
        conn.pgconn.exec_(b"DEALLOCATE ALL")  # as somebody else, so that psycopg does not know
        found = await (await conn.execute("SELECT 1 AS one")).fetchone()
    assert found == {"one": 1}
    async with database.connection() as conn:
        for _ in range(4):
            await conn.execute("SELECT 1 AS one")
        held = await (await conn.execute("SELECT count(*) AS held FROM pg_prepared_statements")).fetchone()
    assert held == {"held": 0}


@pytest.fixture(scope="module")
def own_server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that may be stopped."""
    with running_server(postgres_server.binaries) as server:
        yield server


async def test_a_restart_of_the_server_is_survived_by_the_pool(own_server: PostgresServer) -> None:
    """Requests that come while it is down are told within a fraction of a second; afterwards every connection works."""
    database = Database(own_server.url, pool_size=8, max_overflow=0)
    await database.open()
    try:
        await everyone_at_once(database)
        await asyncio.to_thread(own_server.stop)
        assert await refused(database) < 2
        waits = [await refused(database) for _ in range(20)]
        assert max(waits) < 0.5
        await asyncio.to_thread(own_server.start)
        await mended(database, 3)
        await everyone_at_once(database)
    finally:
        await database.close()
