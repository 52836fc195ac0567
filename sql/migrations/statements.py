"""How revisions talk to PostgreSQL: plain SQL under time limits."""

from __future__ import annotations

from alembic import op

LOCK_TIMEOUT = "3s"
STATEMENT_TIMEOUT = "60s"


def limit_waiting(*, lock: str = LOCK_TIMEOUT, statement: str = STATEMENT_TIMEOUT) -> None:
    """Let the revision fail rather than make others wait; every upgrade and downgrade begins with it.

    A statement that queues for a lock blocks everybody who comes after it, so a revision waits for one at most
    ``lock`` and works at most ``statement`` on any statement. Set for the session, because statements outside a
    transaction (CREATE INDEX CONCURRENTLY) need them too; the connection ends with the migration.
    """
    execute(f"SET lock_timeout = '{lock}'; SET statement_timeout = '{statement}'")


def execute(script: str) -> None:
    """Run one or more statements exactly as written.

    Straight on the driver's cursor: ``op.execute`` would read ``:name`` and ``%`` as parameters, and the extended
    protocol takes a single statement only.
    """
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(script)
    finally:
        cursor.close()
