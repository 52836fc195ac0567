"""The chain over the audit log: sealed in order, nothing changed unnoticed."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from shared.audit.chain import Fault, Finding, Head
from shared.audit.model import Origin
from shared.audit.service import AuditService, record
from shared.platform.database import Database
from sql.migrate import migrate
from tests.fixtures.audit import write_entries

ROOT = Path(__file__).resolve().parents[2]


async def _faults(audit: AuditService, noted: Head | None = None) -> list[tuple[Fault, int | None]]:
    found: list[Finding] = []
    await audit.verify(found.append, noted=noted)
    return [(finding.fault, finding.sequence) for finding in found]


async def _tamper(database: Database, *statements: str) -> None:
    """What an owner of the database can do: switch the triggers and foreign keys off."""
    async with database.transaction() as conn:
        await conn.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await conn.execute(statement.encode())


async def test_an_untouched_log_is_intact(database: Database, audit: AuditService, origin: Origin) -> None:
    """Whatever the entries hold: NULL, objects, letters beyond ASCII, numbers of any form."""
    await write_entries(database, Origin("r"), 1)
    async with database.transaction() as conn:
        values = {"é\n": [1, 1.50, 1e300, None, {"b": "-", "a": "1:x"}], "text": "naïve — 10:abc"}
        await record(
            conn, origin, None, action="ÄNDERN", resource_type="x", resource_id=uuid4(), old=values, metadata=values
        )
    found: list[Finding] = []
    check = await audit.verify(found.append)
    assert (found, check.checked, check.head) == ([], 2, await audit.head())


async def test_entries_of_one_transaction_are_sealed_together_or_not_at_all(
    database: Database, audit: AuditService, origin: Origin
) -> None:
    """Two entries of one change follow each other; a change that fails leaves neither entry nor seal."""
    async with database.transaction() as conn:
        for action in ("ARCHIVE", "PROMOTE"):
            await record(conn, origin, None, action=action, resource_type="model", resource_id=None)
    with suppress(RuntimeError):
        async with database.transaction() as conn:
            await record(conn, origin, None, action="PROMOTE", resource_type="model", resource_id=None)
            raise RuntimeError
    head = await audit.head()
    assert head is not None
    assert (head.sequence, await _faults(audit)) == (2, [])


async def test_writers_at_once_make_one_chain(database: Database, audit: AuditService, origin: Origin) -> None:
    """Eight at a time, each with the entry early in its transaction."""

    async def change() -> None:
        for _ in range(10):
            async with database.transaction() as conn:
                await record(conn, origin, None, action="UPDATE", resource_type="model", resource_id=None)
                await asyncio.sleep(0)
                await conn.execute("SELECT 1")

    await asyncio.gather(*(change() for _ in range(8)))
    check = await audit.verify(lambda finding: pytest.fail(str(finding)))
    assert check.checked == 80


async def test_an_open_change_does_not_hold_up_the_others(
    database: Database, audit: AuditService, origin: Origin
) -> None:
    """The order is that of the commits: who recorded first and commits last comes last."""
    async with database.transaction() as slow:
        await record(slow, origin, None, action="SLOW", resource_type="model", resource_id=None)
        async with asyncio.timeout(5):
            await write_entries(database, origin, 1, action="QUICK")
    async with database.connection() as conn:
        rows = await conn.execute("SELECT action FROM audit_chain JOIN audit_logs ON id = entry_id ORDER BY sequence")
        assert [row["action"] async for row in rows] == ["QUICK", "SLOW"]


@pytest.mark.parametrize("table", ["audit_logs", "audit_chain"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = NULL", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_the_log_is_append_only(database: Database, origin: Origin, table: str, statement: str) -> None:
    """The database itself refuses every other statement, from whomever."""
    await write_entries(database, origin, 1)
    column = "user_email" if table == "audit_logs" else "hash"
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        async with database.connection() as conn:
            await conn.execute(statement.format(table, column).encode())


ENTRY = "(SELECT entry_id FROM audit_chain WHERE sequence = {})"
TAMPERINGS: dict[str, tuple[list[str], list[tuple[Fault, int | None]]]] = {
    "an entry is changed": (
        [f"UPDATE audit_logs SET user_email = 'eve@example.com' WHERE id = {ENTRY.format(3)}"],
        [(Fault.ALTERED, 3)],
    ),
    "a value becomes NULL": (
        [f"UPDATE audit_logs SET new_values = NULL WHERE id = {ENTRY.format(3)}"],
        [(Fault.ALTERED, 3)],
    ),
    "a time is moved by a microsecond": (
        [f"UPDATE audit_logs SET created_at = created_at + interval '1 microsecond' WHERE id = {ENTRY.format(3)}"],
        [(Fault.ALTERED, 3)],
    ),
    "an entry is changed and sealed anew": (
        [
            f"UPDATE audit_logs SET action = 'NOTHING' WHERE id = {ENTRY.format(3)}",
            """UPDATE audit_chain c SET hash = audit_entry_hash(p.hash, c.sequence, a)
               FROM audit_chain p, audit_logs a WHERE c.sequence = 3 AND p.sequence = 2 AND a.id = c.entry_id""",
        ],
        [(Fault.ALTERED, 4)],
    ),
    "an entry is deleted": (
        [f"DELETE FROM audit_logs WHERE id = {ENTRY.format(3)}"],
        [(Fault.MISSING, 3)],
    ),
    "an entry is deleted with its seal": (
        [f"DELETE FROM audit_logs WHERE id = {ENTRY.format(3)}", "DELETE FROM audit_chain WHERE sequence = 3"],
        [(Fault.GAP, 4)],
    ),
    "the first entry is deleted with its seal": (
        [f"DELETE FROM audit_logs WHERE id = {ENTRY.format(1)}", "DELETE FROM audit_chain WHERE sequence = 1"],
        [(Fault.GAP, 2)],
    ),
    "later seals are moved up over a deleted one": (
        [
            f"DELETE FROM audit_logs WHERE id = {ENTRY.format(3)}",
            "DELETE FROM audit_chain WHERE sequence = 3",
            "UPDATE audit_chain SET sequence = 3 WHERE sequence = 4",
            "UPDATE audit_chain SET sequence = 4 WHERE sequence = 5",
        ],
        [(Fault.ALTERED, 3), (Fault.ALTERED, 4)],
    ),
    "an entry is inserted without a seal": (
        ["INSERT INTO audit_logs (action, resource_type) VALUES ('CREATE', 'model')"],
        [(Fault.UNSEALED, None)],
    ),
    "an entry is inserted in the middle": (
        [
            "UPDATE audit_chain SET sequence = 6 WHERE sequence = 5",
            "UPDATE audit_chain SET sequence = 5 WHERE sequence = 4",
            """WITH e AS (INSERT INTO audit_logs (action, resource_type) VALUES ('CREATE', 'model') RETURNING *)
               INSERT INTO audit_chain SELECT 4, e.id, sha256('x') FROM e""",
        ],
        [(Fault.ALTERED, 4), (Fault.ALTERED, 5), (Fault.ALTERED, 6)],
    ),
    "two entries change places": (
        [
            "UPDATE audit_chain SET entry_id = gen_random_uuid() WHERE sequence = 3",
            """UPDATE audit_chain SET entry_id = (
                   SELECT id FROM audit_logs WHERE NOT EXISTS (SELECT FROM audit_chain WHERE entry_id = id)
               ), sequence = 13 WHERE sequence = 4""",
            """UPDATE audit_chain SET entry_id = (
                   SELECT id FROM audit_logs WHERE NOT EXISTS (SELECT FROM audit_chain WHERE entry_id = id)
               ) WHERE sequence = 3""",
            "UPDATE audit_chain SET sequence = 4 WHERE sequence = 13",
        ],
        [(Fault.ALTERED, 3), (Fault.ALTERED, 4)],
    ),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_tampering_is_found(database: Database, audit: AuditService, origin: Origin, tampering: str) -> None:
    """By an owner of the database who switched the triggers off; the fault is told where it is, and only there."""
    await write_entries(database, origin, 5)
    statements, faults = TAMPERINGS[tampering]
    await _tamper(database, *statements)
    assert await _faults(audit) == faults


async def test_a_cut_off_end_is_found_by_the_noted_head(
    database: Database, audit: AuditService, origin: Origin
) -> None:
    """The chain alone cannot tell that it was longer; the head that was written down can."""
    await write_entries(database, origin, 5)
    noted = await audit.head()
    await _tamper(
        database,
        f"DELETE FROM audit_logs WHERE id = {ENTRY.format(5)}",
        "DELETE FROM audit_chain WHERE sequence = 5",
    )
    assert await _faults(audit) == []
    assert await _faults(audit, noted) == [(Fault.CUT_OFF, 5)]


async def test_a_chain_written_anew_is_found_by_the_noted_head(
    database: Database, audit: AuditService, origin: Origin
) -> None:
    """Whoever owns the database can seal everything again, but not to the same head."""
    await write_entries(database, origin, 5)
    noted = await audit.head()
    await _tamper(
        database,
        f"UPDATE audit_logs SET action = 'NOTHING' WHERE id = {ENTRY.format(5)}",
        """UPDATE audit_chain c SET hash = audit_entry_hash(p.hash, c.sequence, a)
           FROM audit_chain p, audit_logs a WHERE c.sequence = 5 AND p.sequence = 4 AND a.id = c.entry_id""",
    )
    assert await _faults(audit) == []
    assert await _faults(audit, noted) == [(Fault.REWRITTEN, 5)]


async def test_the_log_goes_on_after_a_noted_head(database: Database, audit: AuditService, origin: Origin) -> None:
    """A head that was noted stays a proof when entries follow."""
    await write_entries(database, origin, 2)
    noted = await audit.head()
    await write_entries(database, origin, 2)
    assert await _faults(audit, noted) == []


async def test_the_command_tells_intact_from_tampered(
    database: Database, database_url: str, audit: AuditService, origin: Origin
) -> None:
    """By its exit status, and it prints the head and each fault."""
    await write_entries(database, origin, 3)

    async def verify() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sql.audit", "verify"),
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": database_url},
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    assert await verify() == (0, f"3 sealed entries, no faults, head {await audit.head()}\n")
    await _tamper(database, f"DELETE FROM audit_logs WHERE id = {ENTRY.format(2)}")
    status, output = await verify()
    assert (status, "MISSING" in output, "seal 2" in output) == (1, True, True)


async def test_entries_from_before_the_chain_are_sealed_by_the_migration(
    empty_database_url: str, origin: Origin
) -> None:
    """In the order of their time, and the chain goes on after them."""
    await asyncio.to_thread(migrate, empty_database_url, "0015")
    database = Database(empty_database_url, pool_size=2, max_overflow=0)
    await database.open()
    await write_entries(database, origin, 3)
    await asyncio.to_thread(migrate, empty_database_url)
    await write_entries(database, origin, 2)
    check = await AuditService(database).verify(lambda finding: pytest.fail(str(finding)))
    await database.close()
    assert check.checked == 5
