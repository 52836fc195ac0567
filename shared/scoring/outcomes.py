"""How many transactions were sent, and how many of them could not be scored for a reason of ours."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import DomainError, Unavailable
from shared.platform.telemetry import get_logger
from shared.scoring import repository

NOT_WRITTEN: Final = "scoring_outcomes_not_written"

_WRITE_EVERY: Final = timedelta(seconds=15)
_log = get_logger("scoring")
ResultT = TypeVar("ResultT")


class Outcomes:
    """Counts in memory, written a few times a minute behind the requests; while the database is away they are kept.

    What was counted since the last writing is lost with the worker: the counts are for watching, not for billing.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._counts: dict[datetime, list[int]] = {}
        self._written = clock()
        self._writing: asyncio.Task[None] | None = None

    async def watch(self, scoring: Awaitable[ResultT]) -> ResultT:
        """The result of ``scoring``, counted: failed is what ends as unavailable or in a way that nobody expected."""
        try:
            found = await scoring
        except Unavailable:
            self._note(failed=True)
            raise
        except DomainError:
            self._note(failed=False)
            raise
        except Exception:
            self._note(failed=True)
            raise
        self._note(failed=False)
        return found

    def _note(self, *, failed: bool) -> None:
        now = self._clock()
        counts = self._counts.setdefault(now.replace(minute=0, second=0, microsecond=0), [0, 0])
        counts[0] += 1
        counts[1] += failed
        if now - self._written >= _WRITE_EVERY and (self._writing is None or self._writing.done()):
            self._written = now
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        counts, self._counts = self._counts, {}
        try:
            async with self._database.connection() as conn:
                await repository.add_outcomes(conn, counts)
        except Exception as error:  # noqa: BLE001  # whatever it was, the counts wait for the next time
            for hour, (requests, failed) in counts.items():
                known = self._counts.setdefault(hour, [0, 0])
                known[0] += requests
                known[1] += failed
            _log.warning(NOT_WRITTEN, reason=type(error).__name__)
