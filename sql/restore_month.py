"""Brings an archived month of predictions back: ``python -m sql.restore_month 2026-01 [--days 30]``.

Connects to DATABASE_URL as the role that owns the tables, and to Blob by the app's settings (BLOB_CONNECTION_STRING, or
BLOB_ACCOUNT_URL with identity, and BLOB_CONTAINER). Every file is checked against the manifest, and the manifest
against the database, before the month is attached. Exit status 0: the month is back; 1: it is not, and why was printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.archiving.model import Part, read_month
from shared.archiving.restoring import MonthRestorer
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date


async def restore(database_url: str, blobs: BlobStore, month: date, days: int) -> int:
    """Restore the month and print what was done; the exit status."""
    database = Database(database_url, pool_size=2, max_overflow=0)
    await database.open()

    def report(part: Part) -> None:
        _say(f"{part.path}: {part.rows} rows of {part.kind}, checked and loaded")

    try:
        restorer = MonthRestorer(database, blobs, utc_now)
        archive = await restorer.restore(month, keep=timedelta(days=days), report=report)
    except DomainError as error:
        _say(f"not restored: {error.message} ({error.target})")
        return 1
    finally:
        await database.close()
        await blobs.close()
    _say(f"{month:%Y-%m} is back for {days} days: {archive.predictions} predictions, {archive.labels} labels")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and the environment."""
    parser = argparse.ArgumentParser(prog="python -m sql.restore_month", description=__doc__)
    parser.add_argument("month", help="such as 2026-01")
    parser.add_argument("--days", type=int, default=30, help="how long it stays before it is archived again")
    chosen = parser.parse_args(arguments)
    address = os.environ.get("DATABASE_URL")
    connection, account = os.environ.get("BLOB_CONNECTION_STRING"), os.environ.get("BLOB_ACCOUNT_URL")
    if not address or not (connection or account):
        print("DATABASE_URL and BLOB_CONNECTION_STRING or BLOB_ACCOUNT_URL must be set", file=sys.stderr)  # noqa: T201
        return 2
    try:
        month = read_month(chosen.month)
    except DomainError as error:
        parser.error(error.message)
    container = os.environ.get("BLOB_CONTAINER", "shadow-hubble")
    blobs = BlobStore(container=container, connection_string=connection, account_url=account)
    return asyncio.run(restore(address, blobs, month, chosen.days))


def _say(line: str) -> None:
    print(line)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main())
