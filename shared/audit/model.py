"""What the audit log holds, and how it is asked."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from shared.users.model import Caller

Position = tuple[datetime, UUID]
"""Where a page ends: time and id of its last entry."""

NEWEST: Final[Position] = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))

DENY: Final = "DENY"
"""The action of an entry about an attempt that was refused."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The request behind a change. Timers and orchestrations have a request id of their own and no address.

    :ivar claim: of a request with an idempotency key; the change that it makes settles it.
    """

    request_id: str
    ip_address: str | None = None
    user_agent: str | None = None
    claim: UUID | None = None


class AuditEntry(BaseModel):
    """A row of ``audit_logs``."""

    id: UUID
    user_id: UUID | None
    user_email: str | None
    action: str
    resource_type: str
    resource_id: UUID | None
    old_values: dict[str, Any] | None
    new_values: dict[str, Any] | None
    metadata: dict[str, Any] | None
    ip_address: str | None
    user_agent: str | None
    request_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Denial:
    """Why somebody was refused. Attempts that are equal in this are of one kind.

    :ivar caller: None when nobody was proven; then it does not matter which ``function`` was tried.
    :ivar subject: whom a token names that was refused although its signature is right.
    """

    cause: str
    caller: Caller | None = None
    function: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; None is any. ``since`` is included, ``until`` is not."""

    user_id: UUID | None = None
    action: str | None = None
    resource_type: str | None = None
    resource_id: UUID | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
