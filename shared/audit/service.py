"""Writing and reading the audit log."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.audit import repository
from shared.audit.chain import ChainCheck, Fault, Finding, Head
from shared.audit.masking import masked
from shared.audit.model import NEWEST, AuditEntry, AuditFilter, Origin, Position
from shared.idempotency import service as idempotency
from shared.platform.database import Connection, Database
from shared.users.model import Caller


async def record(
    conn: Connection,
    origin: Origin,
    caller: Caller | None,
    *,
    action: str,
    resource_type: str,
    resource_id: UUID | None,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    made: UUID | None = None,
) -> None:
    """Record a change in the transaction of ``conn``: it is in the log if and only if it happened, and if it came with
    an idempotency key, the key is settled if and only if it happened.

    Every entry is written here, and here secret and personal fields are masked (``masking``). The entry is sealed into
    the hash chain by the database when the transaction commits.

    :param caller: None for what the system does by itself (a timer, an orchestration).
    :param action: CREATE, UPDATE, DELETE, PROMOTE, ROLLBACK, ARCHIVE, RETRAIN …
    :param made: what the request's answer is about, where that is not the resource (the job that moves a model).
    :raises InProgress: another request with the same idempotency key has taken over; nothing must be committed.
    """
    await repository.insert(
        conn,
        {
            "user_id": caller.user_id if caller else None,
            "user_email": caller.email if caller else None,
            "action": action,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "old_values": None if old is None else Jsonb(masked(old)),
            "new_values": None if new is None else Jsonb(masked(new)),
            "metadata": None if metadata is None else Jsonb(masked(metadata)),
            "ip_address": origin.ip_address,
            "user_agent": origin.user_agent,
            "request_id": origin.request_id,
        },
    )
    if origin.claim is not None:
        await idempotency.settle(conn, origin.claim, made or resource_id)


class AuditService:
    """Reading the log, and proving that it is what was written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_page(
        self, which: AuditFilter, *, before: Position = NEWEST, limit: int
    ) -> tuple[list[AuditEntry], Position | None]:
        """One page, newest first, and where the next one begins (None after the last)."""
        async with self._database.connection() as conn:
            found = await repository.list_page(conn, which, before=before, limit=limit + 1)
        page = found[:limit]
        return page, (page[-1].created_at, page[-1].id) if len(found) > limit else None

    async def head(self) -> Head | None:
        """The newest seal, to be written down outside the database; None when nothing was ever recorded."""
        async with self._database.connection() as conn:
            return await repository.get_head(conn)

    async def verify(self, report: Callable[[Finding], None], *, noted: Head | None = None) -> ChainCheck:
        """Recompute every seal and ``report`` each fault; the answer says how many entries there are, and the head.

        :param noted: a head that was written down earlier. Without one, entries cut off the end are not missed, and an
            owner of the database who rewrote the whole chain is not found out.
        """
        check = ChainCheck(noted)
        async with self._database.transaction() as conn:
            async for link in repository.read_chain(conn):
                for finding in check.take(link):
                    report(finding)
            for finding in check.end():
                report(finding)
            for entry_id in await repository.read_unsealed(conn):
                report(Finding(Fault.UNSEALED, None, entry_id))
        return check
