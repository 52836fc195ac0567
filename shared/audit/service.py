"""Writing the audit log."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.audit import repository
from shared.audit.model import Origin
from shared.platform.database import Connection
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
) -> None:
    """Record a change in the transaction of ``conn``: it is in the log if and only if it happened.

    :param caller: None for what the system does by itself (a timer, an orchestration).
    :param action: CREATE, UPDATE, DELETE, PROMOTE, ROLLBACK, ARCHIVE, RETRAIN …
    """
    await repository.insert(
        conn,
        {
            "user_id": caller.user_id if caller else None,
            "user_email": caller.email if caller else None,
            "action": action,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "old_values": None if old is None else Jsonb(dict(old)),
            "new_values": None if new is None else Jsonb(dict(new)),
            "metadata": None if metadata is None else Jsonb(dict(metadata)),
            "ip_address": origin.ip_address,
            "user_agent": origin.user_agent,
            "request_id": origin.request_id,
        },
    )
