"""The audit log: masked where it is written, read by filter and cursor."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from shared.audit.model import NEWEST, AuditFilter, Origin
from shared.audit.service import AuditService, record
from shared.platform.database import Database
from shared.users.model import Caller, Role
from tests.fixtures.audit import write_entries


async def test_secrets_are_masked_where_entries_are_written(
    database: Database, audit: AuditService, origin: Origin
) -> None:
    """Old and new values and metadata alike."""
    values = {"role": "admin", "email": "ann@example.com", "nested": {"api_key": "k"}}
    async with database.transaction() as conn:
        await record(
            conn,
            origin,
            None,
            action="UPDATE",
            resource_type="user",
            resource_id=None,
            old=values,
            new=values,
            metadata=values,
        )
    ([entry], _) = await audit.list_page(AuditFilter(), limit=1)
    expected = {"role": "admin", "email": "***", "nested": {"api_key": "***"}}
    assert [entry.old_values, entry.new_values, entry.metadata] == [expected] * 3


async def test_pages_are_complete_and_newest_first(database: Database, audit: AuditService, origin: Origin) -> None:
    """Also across entries of one transaction, which have the same time; the last page has no cursor."""
    async with database.transaction() as conn:
        for number in range(7):
            await record(
                conn, origin, None, action=f"A{number}", resource_type="model", resource_id=None, new={"number": number}
            )
    await write_entries(database, origin, 3)
    seen: list[UUID] = []
    position = NEWEST
    for length in (4, 4, 2):
        page, following = await audit.list_page(AuditFilter(), before=position, limit=4)
        assert (len(page), following is None) == (length, length == 2)
        seen += [entry.id for entry in page]
        position = following or position
    async with database.connection() as conn:
        rows = await conn.execute("SELECT id FROM audit_logs ORDER BY created_at DESC, id DESC")
        assert seen == [row["id"] async for row in rows]


async def test_each_filter_leaves_its_entries(database: Database, audit: AuditService) -> None:
    """By actor, action, resource, request and time, one by one and together."""
    async with database.transaction() as conn:
        inserted = await conn.execute(
            "INSERT INTO users (azure_ad_id, email, role) VALUES ('a', 'a@example.com', 'admin') RETURNING id"
        )
        row = await inserted.fetchone()
    assert row is not None
    ann, model = Caller(Role.ADMIN, row["id"], "a@example.com"), uuid4()
    await write_entries(database, Origin("other"), 2, action="CREATE", resource_type="dataset", resource_id=uuid4())
    async with database.transaction() as conn:
        await record(conn, Origin("wanted"), ann, action="PROMOTE", resource_type="model", resource_id=model)
    ([entry], _) = await audit.list_page(AuditFilter(action="PROMOTE"), limit=10)
    at = entry.created_at
    each: dict[str, Any] = {
        "user_id": ann.user_id,
        "action": "PROMOTE",
        "resource_type": "model",
        "resource_id": model,
        "request_id": "wanted",
        "since": at,
        "until": at + timedelta(microseconds=1),
    }
    for which in (
        *(AuditFilter(**{name: value}) for name, value in each.items() if name != "until"),
        AuditFilter(**each),
    ):
        found, _ = await audit.list_page(which, limit=10)
        assert [one.id for one in found] == [entry.id], which
    assert len((await audit.list_page(AuditFilter(until=at), limit=10))[0]) == 2
