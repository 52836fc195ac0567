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
"""

import select
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg.abc import Params, QueryNoTemplate
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from shared.platform.errors import Unavailable

if TYPE_CHECKING:
    from shared.platform.settings import Settings

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = psycopg.AsyncConnection[Row]
PasswordSource: TypeAlias = Callable[[], Awaitable[str]]

_CONNECT_TIMEOUT_SECONDS = 5
_JUST_USED_SECONDS = 1.0
_UNPREPARED = None
_PREPARE_AFTER = 2  # runs of one statement on one connection before it is prepared
# After a failover the old server may just fall silent; without these a connection waits a quarter of an hour for it.
_DETECT_SILENCE = {
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


class PoolConnection(psycopg.AsyncConnection[Row]):
    """A connection that repeats, unprepared, what the server refuses because the schema has changed under it."""

    stale = False
    used_at = float("-inf")  # by the monotonic clock, when it was last given back

    async def execute(  # type: ignore[override]  # without the overload of template strings, which no query here is
        self, query: QueryNoTemplate, params: Params | None = None, *, prepare: bool | None = None, binary: bool = False
    ) -> psycopg.AsyncCursor[Row]:
        """As psycopg's. Inside a transaction the refusal has ended it, and is raised."""
        try:
            return await super().execute(query, params, prepare=prepare, binary=binary)
        except psycopg.errors.FeatureNotSupported as error:
            if not _is_stale_plan(error):
                raise
            self.stale = True
            if self.info.transaction_status is not TransactionStatus.IDLE:
                raise
            return await super().execute(query, params, prepare=False, binary=binary)


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
            check=_check,
            open=False,
            name="app",
        )

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
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode: each statement is its own transaction.

        :raises Unavailable: the database cannot be reached, or no connection became free in time.
        """
        with _translated():
            async with self._pool.connection() as conn, self._watched(conn):
                yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction, committed when the block ends without an exception.

        :raises Unavailable: as for :meth:`connection`, or the schema has just changed; nothing was committed, or the
            server died while committing.
        """
        with _translated():
            async with self._pool.connection() as conn, self._watched(conn), conn.transaction():
                yield conn

    @asynccontextmanager
    async def _watched(self, conn: PoolConnection) -> AsyncIterator[None]:
        """Leave every prepared statement behind once the server has refused one."""
        try:
            yield
        finally:
            conn.used_at = monotonic()
            if conn.stale:
                self._kwargs["prepare_threshold"] = _UNPREPARED
                await self._pool.drain()


async def _check(conn: PoolConnection) -> None:
    """Return when the connection works; one in use a moment ago works unless the server has said goodbye since."""
    line = select.poll()
    line.register(conn.fileno(), select.POLLIN)
    if monotonic() - conn.used_at > _JUST_USED_SECONDS or line.poll(0):
        await AsyncConnectionPool.check_connection(conn)


def scalar(row: Row | None, column: str) -> int:
    """The integer of a statement that always returns one row, such as a count."""
    assert row is not None
    return int(row[column])


def _is_stale_plan(error: psycopg.errors.FeatureNotSupported) -> bool:
    return error.diag.source_function == "RevalidateCachedQuery"


@contextmanager
def _translated() -> Iterator[None]:
    """The one place where a driver's failure becomes the domain's word for it."""
    try:
        yield
    except TooManyRequests as error:
        raise Unavailable("too many requests wait for the database", retry_after=1, target="database") from error
    except (PoolTimeout, PoolClosed) as error:
        raise Unavailable("the database is not reachable", target="database") from error
    except psycopg.errors.FeatureNotSupported as error:
        if not _is_stale_plan(error):
            raise
        raise Unavailable("the database's schema has just changed", retry_after=1, target="database") from error
    except psycopg.errors.QueryCanceled as error:
        raise Unavailable("the database took too long", target="database") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unavailable("the database is not reachable", target="database") from error
