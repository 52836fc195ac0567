"""One connection to PostgreSQL: what it does about silence, failovers, and statements that the server has forgotten."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg.abc import Params, PQGen, QueryNoTemplate
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from shared.platform.errors import Unavailable
from shared.platform.patience import patience

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = psycopg.AsyncConnection[Row]
ResultT = TypeVar("ResultT")

_CANCEL_SECONDS: Final = 1.0
_UNREACHABLE: Final = "the database is not reachable"


class PoolConnection(psycopg.AsyncConnection[Row]):
    """A connection that hangs up on a server that is silent for longer than its user is patient, and that repeats,
    unprepared, what the server refuses because it has forgotten, or must not use, what was prepared.

    A cancelled query would wait for the server's consent, which a server that is gone never gives. ``stale`` means that
    nothing must be prepared any more, ``suspect`` that the pool's other connections are likely to be as useless.
    """

    stale = False
    suspect = False
    used_at = float("-inf")  # by the monotonic clock, when it was last given back

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened_at = monotonic()

    async def wait(self, gen: PQGen[ResultT], *args: Any, **kwargs: Any) -> ResultT:
        """As psycopg's, which every exchange with the server goes through.

        :raises psycopg.OperationalError: no answer in time; the connection is closed.
        """
        alarm = asyncio.get_running_loop().call_later(patience(), self._hang_up)
        try:
            return await super().wait(gen, *args, **kwargs)
        finally:
            alarm.cancel()

    async def cancel_safe(self, *, timeout: float = _CANCEL_SECONDS) -> None:  # noqa: ASYNC109  # psycopg's signature
        """As psycopg's, which calls it when a task is cancelled amid a query; a server that is gone is left alone."""
        await super().cancel_safe(timeout=min(timeout, _CANCEL_SECONDS))

    def _hang_up(self) -> None:
        """To libpq it is as if the server had closed the connection."""
        self.suspect = True
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    async def execute(  # type: ignore[override]  # without the overload of template strings, which no query here is
        self, query: QueryNoTemplate, params: Params | None = None, *, prepare: bool | None = None, binary: bool = False
    ) -> psycopg.AsyncCursor[Row]:
        """As psycopg's. Inside a transaction the refusal has ended it, and is raised."""
        try:
            return await super().execute(query, params, prepare=prepare, binary=binary)
        except psycopg.errors.ReadOnlySqlTransaction:
            self.suspect = True  # a standby: the primary is somewhere else by now
            raise
        except psycopg.Error as error:
            if not _is_lost_plan(error):
                raise
            self.stale = self.suspect = True
            if self.info.transaction_status is not TransactionStatus.IDLE:
                raise
            return await super().execute(query, params, prepare=False, binary=binary)


def _is_lost_plan(error: psycopg.Error) -> bool:
    if isinstance(error, psycopg.errors.FeatureNotSupported):
        return error.diag.source_function == "RevalidateCachedQuery"
    # The session behind a pooler is another one, or somebody has discarded what it held.
    return isinstance(error, psycopg.errors.InvalidSqlStatementName | psycopg.errors.DuplicatePreparedStatement)


@contextmanager
def translated() -> Iterator[None]:
    """The one place where a driver's failure becomes the domain's word for it."""
    try:
        yield
    except TooManyRequests as error:
        raise Unavailable("too many requests wait for the database", retry_after=1, target="database") from error
    except (PoolTimeout, PoolClosed) as error:
        raise Unavailable(_UNREACHABLE, target="database") from error
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise Unavailable("the database takes no changes at the moment", target="database") from error
    except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
        raise Unavailable("another change was under way", retry_after=1, target="database") from error
    except psycopg.errors.QueryCanceled as error:
        raise Unavailable("the database took too long", target="database") from error
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.errors.IdleInTransactionSessionTimeout,
    ) as error:
        raise Unavailable(_UNREACHABLE, target="database") from error
    except psycopg.Error as error:
        if not _is_lost_plan(error):
            raise
        raise Unavailable("the database's schema has just changed", retry_after=1, target="database") from error


def away() -> Unavailable:
    """What is told while no connection can be made."""
    return Unavailable(_UNREACHABLE, target="database")
