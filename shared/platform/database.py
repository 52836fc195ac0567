"""PostgreSQL through one psycopg 3 async pool a worker.

The pool carries the specification's figures: up to ``pool_size + max_overflow`` connections, checked when taken out,
replaced after ``pool_recycle``. SQLAlchemy opens a pool's connections as they are needed; psycopg opens ``min_size`` at
once, so that is one here and a scaled-out worker holds no connection that it does not use. The check is a round trip;
a connection that has just been in use is only asked locally whether the server has closed it.

No session state is relied on (no SET, no LISTEN, no advisory lock beyond a transaction), so that PgBouncer in
transaction mode can stand between.

A migration that adds a column makes the server refuse statements that were prepared before it. The first such refusal
replaces the pool's connections, and those that follow prepare nothing (a migration is followed by a deployment, and
behind PgBouncer the stale statements would outlive our connections).

While the database is away nobody waits for it. As soon as the pool has no connection left and could make none, everyone
who waits is told so, and so is everyone who asks, at once; one task goes on knocking until the door is opened. A
connection that turns out broken, silent or connected to a standby replaces the pool's other ones as well.
"""

import asyncio
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from shared.platform.connection import Connection, PoolConnection, Row, away, translated
from shared.platform.patience import answering_within, patience
from shared.platform.telemetry import get_logger

if TYPE_CHECKING:
    from shared.platform.settings import Settings

__all__ = ["Connection", "Database", "PasswordSource", "Row", "scalar"]

PasswordSource: TypeAlias = Callable[[], Awaitable[str]]

DATABASE_AWAY: Final = "database_away"
DATABASE_BACK: Final = "database_back"

_CONNECT_TIMEOUT_SECONDS = 3
_CHECK_SECONDS = 2.0
_JUST_USED_SECONDS = 1.0
_RETRY_CONNECTING_SECONDS = 0.5  # a new connection is tried twice, this long apart, before it is given up
_KNOCK_SECONDS = 0.5
_UNPREPARED = None
_PREPARE_AFTER = 2  # runs of one statement on one connection before it is prepared
# After a failover the old server may just fall silent; without these a connection waits a quarter of an hour for it.
_DETECT_SILENCE = {
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}

_log = get_logger("database")


class Database:
    """Connections and transactions for the services of one worker.

    :param conninfo: libpq URL or keywords.
    :param password: called for each new connection when the conninfo carries none (an Entra token).
    """

    def __init__(
        self,
        conninfo: str,
        *,
        pool_size: int = 20,
        max_overflow: int = 10,
        recycle_seconds: float = 3600,
        timeout_seconds: float = 5,
        prepared_statements: bool = True,
        password: PasswordSource | None = None,
    ) -> None:
        self._kwargs: dict[str, Any] = {
            "autocommit": True,
            "row_factory": dict_row,
            "prepare_threshold": _PREPARE_AFTER if prepared_statements else _UNPREPARED,
            "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
            "application_name": "shadow-hubble",
            **_DETECT_SILENCE,
        }

        async def with_password() -> dict[str, Any]:
            assert password is not None
            return {**self._kwargs, "password": await password()}

        needs_password = password is not None and not conninfo_to_dict(conninfo).get("password")
        self._pool: AsyncConnectionPool[PoolConnection] = AsyncConnectionPool(
            make_conninfo(conninfo),
            connection_class=PoolConnection,
            kwargs=with_password if needs_password else self._kwargs,
            min_size=1,
            max_size=pool_size + max_overflow,
            max_lifetime=recycle_seconds,
            timeout=timeout_seconds,
            reconnect_timeout=_RETRY_CONNECTING_SECONDS,
            reconnect_failed=self._failed_to_connect,
            check=self._check,
            open=False,
            name="app",
        )
        self._renewed_at = float("-inf")
        self._waiting: set[asyncio.Timeout] = set()
        self._knocking: asyncio.Task[None] | None = None

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Database":
        """The pool that the settings describe; without a password in the URL, Entra tokens are the passwords."""
        from shared.platform.entra import postgres_token

        return cls(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_max_overflow,
            recycle_seconds=settings.database_pool_recycle_seconds,
            timeout_seconds=settings.database_pool_timeout_seconds,
            prepared_statements=settings.database_prepared_statements,
            password=postgres_token,
        )

    @property
    def pool(self) -> AsyncConnectionPool[PoolConnection]:
        """The pool itself, for its figures."""
        return self._pool

    async def open(self) -> None:
        """Start the pool's workers; connections follow when they are needed. Repeating it is harmless."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        if self._knocking is not None:
            self._knocking.cancel()
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode: each statement is its own transaction.

        :raises Unavailable: the database cannot be reached, takes no changes, or does not answer within the
            :func:`~shared.platform.patience.patience` of the caller; or no connection became free in time.
        """
        with translated():
            conn = await self._take()
            try:
                async with conn:
                    yield conn
            finally:
                await self._give_back(conn)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction, committed when the block ends without an exception.

        :raises Unavailable: as for :meth:`connection`, or the schema has just changed; nothing was committed, or the
            server died while committing.
        """
        async with self.connection() as conn, conn.transaction():
            yield conn

    async def _take(self) -> PoolConnection:
        if self._knocking is not None:
            raise away()
        try:
            async with asyncio.timeout(None) as wait:
                self._waiting.add(wait)
                return await self._pool.getconn()
        except TimeoutError as error:
            raise away() from error
        finally:
            self._waiting.discard(wait)

    async def _give_back(self, conn: PoolConnection) -> None:
        conn.used_at = monotonic()
        if conn.stale:
            self._kwargs["prepare_threshold"] = _UNPREPARED
        try:
            if conn.suspect or conn.broken:
                await self._renew(conn)
        finally:
            await self._pool.putconn(conn)

    async def _check(self, conn: PoolConnection) -> None:
        """Return when the connection works; one in use a moment ago works unless the server has said goodbye since."""
        line = select.poll()
        line.register(conn.fileno(), select.POLLIN)
        if monotonic() - conn.used_at <= _JUST_USED_SECONDS and not line.poll(0):
            return
        try:
            with answering_within(min(_CHECK_SECONDS, patience())):
                await self._pool.check_connection(conn)
        except psycopg.Error:
            await self._renew(conn)
            raise

    async def _renew(self, broken: PoolConnection) -> None:
        """Replace every connection that is as old as a broken one."""
        if broken.opened_at > self._renewed_at:
            self._renewed_at = monotonic()
            await self._pool.drain()

    async def _failed_to_connect(self, pool: AsyncConnectionPool[Any]) -> None:
        """Where connections are left they are used: the server may only have none to spare."""
        if self._knocking is None and pool.get_stats()["pool_size"] == 0:
            _log.error(DATABASE_AWAY)
            self._knocking = asyncio.create_task(self._knock())
            now = asyncio.get_running_loop().time()
            for wait in self._waiting:
                wait.reschedule(now)

    async def _knock(self) -> None:
        """Ask for a connection until there is one."""
        while True:
            with suppress(PoolTimeout, psycopg.Error):
                try:
                    conn = await self._pool.getconn(timeout=_KNOCK_SECONDS)
                except PoolClosed:
                    return
                await self._give_back(conn)
                break
        self._knocking = None
        _log.warning(DATABASE_BACK)


def scalar(row: Row | None, column: str) -> int:
    """The integer of a statement that always returns one row, such as a count."""
    assert row is not None
    return int(row[column])
