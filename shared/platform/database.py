"""PostgreSQL through one psycopg 3 async pool a worker.

The pool carries the specification's figures: up to ``pool_size + max_overflow`` connections, checked when taken out,
replaced after ``pool_recycle``. SQLAlchemy opens a pool's connections as they are needed; psycopg opens ``min_size`` at
once, so that is one here and a scaled-out worker holds no connection that it does not use.

No session state is relied on (no SET, no LISTEN, no advisory lock beyond a transaction), so that PgBouncer in
transaction mode can stand between.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from shared.platform.errors import Unavailable

if TYPE_CHECKING:
    from shared.platform.settings import Settings

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = psycopg.AsyncConnection[Row]
PasswordSource: TypeAlias = Callable[[], Awaitable[str]]

_CONNECT_TIMEOUT_SECONDS = 5
_UNPREPARED = None
_PREPARE_AFTER = 2  # runs of one statement on one connection before it is prepared


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
        base = {
            "autocommit": True,
            "row_factory": dict_row,
            "prepare_threshold": _PREPARE_AFTER if prepared_statements else _UNPREPARED,
            "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
            "application_name": "shadow-hubble",
        }

        async def with_password() -> dict[str, Any]:
            assert password is not None
            return {**base, "password": await password()}

        needs_password = password is not None and not conninfo_to_dict(conninfo).get("password")
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            make_conninfo(conninfo),
            connection_class=psycopg.AsyncConnection[Row],
            kwargs=with_password if needs_password else base,
            min_size=1,
            max_size=pool_size + max_overflow,
            max_lifetime=recycle_seconds,
            timeout=timeout_seconds,
            check=AsyncConnectionPool.check_connection,
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
    def pool(self) -> AsyncConnectionPool[Connection]:
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
            async with self._pool.connection() as conn:
                yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction, committed when the block ends without an exception.

        :raises Unavailable: as for :meth:`connection`; nothing was committed, or the server died while committing.
        """
        with _translated():
            async with self._pool.connection() as conn, conn.transaction():
                yield conn


def scalar(row: Row | None, column: str) -> int:
    """The integer of a statement that always returns one row, such as a count."""
    assert row is not None
    return int(row[column])


@contextmanager
def _translated() -> Iterator[None]:
    """The one place where a driver's failure becomes the domain's word for it."""
    try:
        yield
    except TooManyRequests as error:
        raise Unavailable("too many requests wait for the database", retry_after=1, target="database") from error
    except (PoolTimeout, PoolClosed) as error:
        raise Unavailable("the database is not reachable", target="database") from error
    except psycopg.errors.QueryCanceled as error:
        raise Unavailable("the database took too long", target="database") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unavailable("the database is not reachable", target="database") from error
