"""Brings a database to the newest revision: ``python -m sql.migrate`` with DATABASE_URL set.

Connect to PostgreSQL itself, not through PgBouncer: the lock that keeps two migrations apart belongs to the session.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from sql.grants import create_entra_role, grant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONFIGURATION = Path(__file__).with_name("alembic.ini")
MIGRATION_LOCK = 7_311_842_026  # any number of our own
LOCK_SECONDS = 120.0
MONTHS_AHEAD = 3

# Alembic's context is a module global: one migration at a time in a process.
_one_at_a_time = threading.Lock()


class MigrationLocked(RuntimeError):
    """Another process is migrating this database and did not finish in time."""


def engine_for(database_url: str) -> Engine:
    """A SQLAlchemy engine on psycopg 3 for a ``postgresql://`` address; connections are not kept."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    return create_engine(url, poolclass=NullPool, connect_args={"application_name": "shadow-hubble-migrate"})


def migrate(database_url: str, revision: str = "head", *, partitions: bool = True) -> list[str]:
    """Upgrade to ``revision`` and, at head, make the partitions of last month to three months ahead (or not).

    Returns the names of the partitions created. Plain blocking code without an event loop of its own: call it from a
    thread where a loop runs. Safe to call from several processes at once; they take turns. Raises MigrationLocked;
    psycopg.Error when a revision failed (LockNotAvailable: it met a lock; the revisions before it stay, run it again);
    sqlalchemy.exc.OperationalError when there is no connection.
    """
    engine = engine_for(database_url)
    with _one_at_a_time, engine.connect() as connection:
        _take_turn(connection)
        command.upgrade(configuration(connection), revision)
        if revision != "head" or not partitions:
            return []
        return ensure_partitions(connection, datetime.now(UTC).date())


def downgrade(database_url: str, revision: str) -> None:
    """Go back to ``revision`` (``base`` is an empty database). For development and tests: it drops tables."""
    engine = engine_for(database_url)
    with _one_at_a_time, engine.connect() as connection:
        _take_turn(connection)
        command.downgrade(configuration(connection), revision)


def ensure_partitions(connection: Connection, today: date) -> list[str]:
    """Make the monthly partitions of ``predictions`` from the month before ``today`` to three months after it."""
    first = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    statement = text("SELECT ensure_predictions_partitions(:first, :months)")
    created = list(connection.execute(statement, {"first": first, "months": MONTHS_AHEAD + 2}).scalars())
    connection.commit()
    return created


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, bound to ``connection`` where one is given."""
    config = Config(CONFIGURATION)
    config.attributes["connection"] = connection
    return config


def _take_turn(connection: Connection) -> None:
    """Take the session's advisory lock.

    Polling, never waiting inside PostgreSQL: a blocked query holds a snapshot, and CREATE INDEX CONCURRENTLY of the
    process whose turn it is would wait for that snapshot for ever.
    """
    for _ in _attempts(LOCK_SECONDS):
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK}).scalar_one()
        connection.commit()
        if taken:
            return
    message = f"another process has been migrating this database for more than {LOCK_SECONDS:.0f} s"
    raise MigrationLocked(message)


def _attempts(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Migrate the database of the environment's DATABASE_URL, and give the app's role its rights."""
    parser = argparse.ArgumentParser(prog="python -m sql.migrate", description=__doc__)
    parser.add_argument("--entra", action="store_true", help="use a token of the managed identity as password")
    parser.add_argument("--app-role", help="role of the app, which is granted what it needs")
    parser.add_argument("--app-object-id", type=UUID, help="object id of its managed identity: made when it is missing")
    chosen = parser.parse_args(arguments)
    address = os.environ.get("DATABASE_URL")
    if not address:
        print("DATABASE_URL is not set", file=sys.stderr)  # noqa: T201 - a command's message
        return 2
    if chosen.entra:
        from shared.platform.entra import postgres_token

        # libpq reads it wherever the address has no password.
        os.environ["PGPASSWORD"] = asyncio.run(postgres_token())
    created = migrate(address)
    _say(
        "schema is at head; " + ("partitions created: " + ", ".join(created) if created else "no partition was missing")
    )
    if chosen.app_role:
        _grant(address, chosen.app_role, chosen.app_object_id)
    return 0


def _grant(address: str, role: str, object_id: UUID | None) -> None:
    if object_id is not None and create_entra_role(address, role, object_id):
        _say(f"role {role} created")
    with psycopg.connect(address, autocommit=True) as connection:
        grant(connection, role)
    _say(f"{role} has its rights")


def _say(line: str) -> None:
    print(line)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main())
