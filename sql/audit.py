"""Proves that the audit log is what was written: ``python -m sql.audit verify [--head SEQUENCE:HASH]``.

Reads the address from DATABASE_URL; prints the faults, the number of entries and the newest seal. Exit status 0 is an
intact log, 1 a log with faults.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import TYPE_CHECKING

from shared.audit.chain import Finding, Head
from shared.audit.service import AuditService
from shared.platform.database import Database

if TYPE_CHECKING:
    from collections.abc import Sequence


async def verify(database_url: str, noted: Head | None) -> int:
    """Check every entry and print what is found; the exit status."""
    faults = 0

    def report(finding: Finding) -> None:
        nonlocal faults
        faults += 1
        place = "no seal" if finding.sequence is None else f"seal {finding.sequence}"
        _say(f"{finding.fault.name}: {finding.fault.value} ({place}, entry {finding.entry_id or 'unknown'})")

    database = Database(database_url, pool_size=1, max_overflow=0)
    await database.open()
    try:
        check = await AuditService(database).verify(report, noted=noted)
    finally:
        await database.close()
    _say(f"{check.checked} sealed entries, {faults or 'no'} faults, head {check.head or 'none'}")
    return 1 if faults else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and the environment."""
    parser = argparse.ArgumentParser(prog="python -m sql.audit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("verify", help="recompute the hash chain over the audit log")
    command.add_argument("--head", type=Head.parse, help="a head that was noted earlier, as SEQUENCE:HASH")
    chosen = parser.parse_args(arguments)
    address = os.environ.get("DATABASE_URL")
    if not address:
        print("DATABASE_URL is not set", file=sys.stderr)  # noqa: T201 - a command's message
        return 2
    return asyncio.run(verify(address, chosen.head))


def _say(line: str) -> None:
    print(line)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main())
