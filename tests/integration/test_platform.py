"""Database and Blob access on real parts: passwords from a token source, PgBouncer's needs, and dependencies away."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from devhost.daemons import free_port
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.database import Database
from shared.platform.errors import Unavailable


async def test_a_url_without_password_takes_one_from_the_token_source(database_url: str) -> None:
    """Each new connection asks for the password, as an Entra token would be."""
    parts = urlsplit(database_url)
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        return str(parts.password)

    database = Database(f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}", password=token)
    await database.open()
    try:
        async with database.connection() as first, database.connection() as second:
            await first.execute("SELECT 1")
            await second.execute("SELECT 1")
    finally:
        await database.close()
    assert asked >= 2


async def test_a_wrong_password_is_unavailable_and_names_no_secret(database_url: str) -> None:
    """The refusal says what is away, and nothing of how it was tried."""
    parts = urlsplit(database_url)
    url = f"postgresql://{parts.username}:wrong-password@{parts.hostname}:{parts.port}{parts.path}"
    database = Database(url, timeout_seconds=0.5)
    await database.open()
    try:
        with pytest.raises(Unavailable) as refused:
            async with database.connection():
                pass
    finally:
        await database.close()
    assert "wrong-password" not in str(refused.value)


@pytest.mark.parametrize("prepared", [True, False])
async def test_prepared_statements_can_be_switched_off(database_url: str, prepared: bool) -> None:
    """Behind a PgBouncer that tracks none, the server must hold none."""
    database = Database(database_url, prepared_statements=prepared)
    await database.open()
    try:
        async with database.connection() as conn:
            for _ in range(5):
                await conn.execute("SELECT %s::int", (1,))
            row = await (await conn.execute("SELECT count(*) AS held FROM pg_prepared_statements")).fetchone()
    finally:
        await database.close()
    assert row is not None
    assert (row["held"] > 0) is prepared


async def _add_column(database_url: str, name: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as migration:
        await migration.execute(sql.SQL("ALTER TABLE datasets ADD COLUMN {} integer").format(sql.Identifier(name)))


@pytest.mark.parametrize("password", [None, "from a source"])
async def test_statements_prepared_before_a_migration_go_on_working(database_url: str, password: str | None) -> None:
    """The reader of a table with a new column does not notice; later connections hold no prepared statement."""
    parts = urlsplit(database_url)

    async def source() -> str:
        return str(parts.password)

    without = f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}"
    url = without if password else database_url
    database = Database(url, pool_size=1, max_overflow=0, password=source)
    await database.open()
    try:
        for name in ("first", "second"):
            async with database.connection() as conn:
                for _ in range(4):
                    found = await conn.execute("SELECT * FROM datasets")
            await _add_column(database_url, name)
        async with database.connection() as conn:
            found = await conn.execute("SELECT * FROM datasets")
            assert "second" in [column.name for column in found.description or ()]
            row = await (await conn.execute("SELECT count(*) AS held FROM pg_prepared_statements")).fetchone()
            assert row == {"held": 0}
    finally:
        await database.close()


async def test_a_transaction_that_meets_a_migration_is_worth_another_try(database_url: str) -> None:
    """It is told as unavailable for a moment, and the next attempt succeeds."""
    database = Database(database_url, pool_size=1, max_overflow=0)
    await database.open()

    async def attempt() -> None:
        async with database.transaction() as conn:
            for _ in range(4):
                await conn.execute("UPDATE datasets SET name = 'x' RETURNING *")

    try:
        await attempt()
        await _add_column(database_url, "added")
        with pytest.raises(Unavailable) as refused:
            await attempt()
        assert refused.value.retry_after == 1
        await attempt()
    finally:
        await database.close()


@pytest.mark.skipif(sys.platform != "linux", reason="libpq's TCP_USER_TIMEOUT exists on Linux")
async def test_a_silent_server_is_noticed_within_seconds(database: Database) -> None:
    """The sockets give up on a server that no longer acknowledges."""
    async with database.connection() as conn:
        with socket.socket(fileno=os.dup(conn.fileno())) as line:
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10


async def test_the_pool_carries_the_specifications_figures(database_url: str) -> None:
    """20 and 10 more, replaced after an hour, checked when taken out."""
    database = Database(database_url)
    assert database.pool.max_size == 30
    assert database.pool.max_lifetime == 3600


async def test_a_dropped_connection_is_replaced_when_taken_out(database: Database) -> None:
    """The server ended every session; the next use does not notice."""
    async with database.connection() as conn:
        await conn.execute("SELECT 1")
        pid = conn.info.backend_pid
    async with database.connection() as other, database.connection() as second:
        killer = second if other.info.backend_pid == pid else other
        await killer.execute("SELECT pg_terminate_backend(%s)", (pid,))
    await asyncio.sleep(0.1)
    for _ in range(5):
        async with database.connection() as conn:
            await conn.execute("SELECT 1")


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """What was written before the exception is gone."""

    async def write_and_fail() -> None:
        async with database.transaction() as conn:
            await conn.execute("INSERT INTO users (azure_ad_id, email) VALUES ('x', 'x@example.com')")
            raise RuntimeError("after the insert")

    with pytest.raises(RuntimeError):
        await write_and_fail()
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT count(*) AS users FROM users")).fetchone()
    assert row == {"users": 0}


async def test_a_database_that_is_away_is_unavailable() -> None:
    """Within the pool's time limit, not after a minute."""
    database = Database(f"postgresql://nobody:x@127.0.0.1:{free_port()}/none", timeout_seconds=0.5)
    await database.open()
    try:
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                async with database.connection():
                    pass
    finally:
        await database.close()


async def test_blobs_are_written_read_and_replaced(blobs: BlobStore, tmp_path: Path) -> None:
    """By bytes and by file, also when larger than one block."""
    large = bytes(range(256)) * 12_000
    (tmp_path / "in").write_bytes(large)
    await blobs.upload_file("a/large", tmp_path / "in")
    await blobs.download_file("a/large", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == large
    await blobs.upload_bytes("a/large", b"small")
    assert await blobs.read_bytes("a/large") == b"small"
    assert await blobs.size("a/large") == 5
    assert await blobs.exists("a/large")
    assert await blobs.delete_prefix("a/") == 1
    assert not await blobs.exists("a/large")


async def test_a_missing_blob_is_told_apart_and_leaves_no_file(blobs: BlobStore, tmp_path: Path) -> None:
    """Neither the file nor a partial one appears."""
    with pytest.raises(BlobMissing):
        await blobs.read_bytes("nothing")
    with pytest.raises(BlobMissing):
        await blobs.download_file("nothing", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


async def test_blob_storage_that_is_away_is_unavailable_in_seconds() -> None:
    """A refused connection is tried again, and told as such while somebody still waits for the answer."""
    connection = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm90IGEga2V5;"
        f"BlobEndpoint=http://127.0.0.1:{free_port()}/devstoreaccount1;"
    )
    store = BlobStore(container="test", connection_string=connection)
    try:
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable):
                await store.read_bytes("x")
    finally:
        await store.close()


def test_a_connection_string_turns_opentelemetry_on() -> None:
    """Log records of the app then reach OpenTelemetry's handler with their fields; nothing is exported here."""
    program = """
import logging
from shared.platform.telemetry import configure_logging, get_logger, start_exporting
configure_logging("INFO")
start_exporting("InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=http://127.0.0.1:9/")
handlers = logging.getLogger("shadow_hubble").handlers
assert any("opentelemetry" in type(handler).__module__ for handler in handlers), handlers
seen = []
handlers[0].emit = seen.append
get_logger("test").info("event_name", dataset_id="abc")
assert seen[0].getMessage() == "event_name" and seen[0].dataset_id == "abc"
import os; os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
