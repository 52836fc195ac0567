"""Refused attempts in the audit log, in bounded number."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from shared.audit.denials import DenialLog
from shared.audit.model import DENY, AuditFilter, Denial, Origin
from shared.audit.service import AuditService
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.users.model import Caller, Role


async def test_repeated_refusals_are_counted(database: Database, audit: AuditService, origin: Origin) -> None:
    """A thousand of one kind are two entries: the first, and how many followed."""
    denials = DenialLog(database, utc_now)
    denial = Denial("token_expired", subject="ann")
    model = uuid4()
    await denials.note(denial, origin, resource_id=model)
    for _ in range(999):
        await denials.note(denial, Origin("last", "192.0.2.9"))
    await denials.close()
    latest, first = (await audit.list_page(AuditFilter(action=DENY), limit=10))[0]
    assert first.metadata == {"cause": "token_expired", "subject": "ann"}
    assert (first.resource_id, first.request_id, first.ip_address) == (model, "test-request", "192.0.2.1")
    assert latest.metadata is not None
    assert (latest.metadata["repeated"], latest.request_id, latest.ip_address) == (999, "last", "192.0.2.9")


async def test_kinds_of_refusals_are_bounded(database: Database, audit: AuditService, origin: Origin) -> None:
    """Who invents subjects without end is counted by cause."""
    denials = DenialLog(database, utc_now)
    for number in range(300):
        await denials.note(Denial("token_audience", subject=f"subject-{number}"), origin)
    await denials.close()
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM audit_logs")).fetchone()
    latest = (await audit.list_page(AuditFilter(), limit=1))[0][0]
    assert row == {"n": 256 + 2}
    assert latest.metadata is not None
    assert latest.metadata["repeated"] == 300 - 256 - 1


async def test_counts_are_written_when_their_minute_is_over(
    database: Database, audit: AuditService, origin: Origin
) -> None:
    """Without another attempt; afterwards the next one is recorded at once again."""
    denials = DenialLog(database, utc_now, window=timedelta(milliseconds=50))
    denial = Denial("role", Caller(Role.ANALYST), "promote_model")
    await asyncio.gather(denials.note(denial, origin), denials.note(denial, origin))
    async with asyncio.timeout(20):
        while len((await audit.list_page(AuditFilter(), limit=10))[0]) < 2:  # noqa: ASYNC110 - rows, not an event
            await asyncio.sleep(0.02)
    await denials.note(denial, origin)
    assert len((await audit.list_page(AuditFilter(), limit=10))[0]) == 3
    await denials.close()


async def test_a_refusal_stands_when_it_cannot_be_recorded(origin: Origin) -> None:
    """A database that is away turns no 403 into an error."""
    away = Database("postgresql://nobody:x@127.0.0.1:1/none", pool_size=1, max_overflow=0, timeout_seconds=0.1)
    await away.open()
    denials = DenialLog(away, utc_now)
    await denials.note(Denial("role"), origin)
    await denials.close()
    await away.close()
