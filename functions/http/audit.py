"""The audit log."""

from typing import Annotated
from uuid import UUID

import azure.durable_functions as df
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from functions.cursor import read_cursor, write_cursor
from functions.endpoint import Call, Reply, endpoint
from shared.audit.model import NEWEST, AuditEntry, AuditFilter

bp = df.Blueprint()

Word = Annotated[str, Field(min_length=1, max_length=100)]


class AuditQuery(BaseModel):
    """Which entries; filters that are left out let everything through."""

    model_config = ConfigDict(extra="forbid")

    user_id: UUID | None = Field(None, description="Who did it.")
    action: Word | None = Field(None, description="CREATE, UPDATE, PROMOTE, DENY ...")
    resource_type: Word | None = Field(None, description="What it was done to: model, dataset, user, endpoint ...")
    resource_id: UUID | None = None
    request_id: str | None = Field(None, min_length=1, max_length=255)
    since: AwareDatetime | None = Field(None, description="From this time on.")
    until: AwareDatetime | None = Field(None, description="Before this time.")
    page_size: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=200)

    def filter(self) -> AuditFilter:
        """The filters alone."""
        return AuditFilter(**self.model_dump(exclude={"page_size", "cursor"}))


@endpoint(bp, "GET", "audit-logs", summary="The audit log, newest first", query=AuditQuery, response=list[AuditEntry])
async def list_audit_logs(call: Call) -> Reply:
    """One page by cursor."""
    query: AuditQuery = call.query or AuditQuery()
    before = NEWEST if query.cursor is None else read_cursor(query.cursor)
    entries, position = await call.services.audit.list_page(query.filter(), before=before, limit=query.page_size)
    pagination = {"page_size": query.page_size, "next_cursor": write_cursor(position)}
    return Reply(entries, pagination=pagination)
