"""Runs revisions on one connection: each in its own transaction, times in UTC, no ORM metadata.

The connection comes from ``sql.migrate``; the ``alembic`` command makes one from the environment's DATABASE_URL.
"""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, text

from sql.migrate import engine_for


def run(connection: Connection) -> None:
    """Run what the command asked for on ``connection``."""
    # Bounds such as '2026-01-01' of a timestamptz partition mean midnight of the session's time zone.
    connection.execute(text("SET timezone = 'UTC'"))
    connection.commit()
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with engine_for(os.environ["DATABASE_URL"]).connect() as own:
        run(own)
