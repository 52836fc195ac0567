"""Requests are counted, and those that failed for a reason of ours."""

import asyncio
from datetime import datetime, timedelta

import pytest

from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import InvalidContent, Unavailable
from shared.scoring.outcomes import Outcomes


async def _ends(error: Exception | None) -> str:
    await asyncio.sleep(0)
    if error is not None:
        raise error
    return "scored"


async def _stored(database: Database) -> tuple[int, int]:
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT coalesce(sum(requests), 0)::int AS requests, coalesce(sum(failed), 0)::int AS failed"
            " FROM scoring_outcomes"
        )
        row = await cursor.fetchone()
    assert row is not None
    return row["requests"], row["failed"]


class Time:
    """A clock that is set by hand."""

    passed = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.passed


async def test_only_what_is_not_the_callers_fault_has_failed(database: Database) -> None:
    """Results and errors go through unchanged; counts are written behind a later request, and add up over workers."""
    clock = Time()
    workers = [Outcomes(database, clock) for _ in range(2)]
    for worker in workers:
        assert await worker.watch(_ends(None)) == "scored"
        for error in (InvalidContent("no amount"), Unavailable("the database is away"), ZeroDivisionError()):
            with pytest.raises(type(error)):
                await worker.watch(_ends(error))
    assert await _stored(database) == (0, 0)
    clock.passed += timedelta(seconds=20)
    for worker in workers:
        await worker.watch(_ends(None))
        assert worker._writing is not None
        await worker._writing
    assert await _stored(database) == (10, 4)


async def test_counts_wait_while_the_database_is_away(database: Database, database_url: str) -> None:
    """They are written once it is back."""
    clock = Time()
    away = Database(database_url, pool_size=1, max_overflow=0)
    outcomes = Outcomes(away, clock)
    with pytest.raises(Unavailable):
        await outcomes.watch(_ends(Unavailable("away")))
    clock.passed += timedelta(seconds=20)
    await outcomes.watch(_ends(None))
    assert outcomes._writing is not None
    await outcomes._writing
    assert await _stored(database) == (0, 0)
    await away.open()
    clock.passed += timedelta(seconds=20)
    await outcomes.watch(_ends(None))
    await outcomes._writing
    assert await _stored(database) == (3, 1)
    await away.close()
