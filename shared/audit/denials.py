"""Attempts that were refused, in the audit log, in bounded number.

The first attempt of a kind is recorded before it is answered. Those like it within the next minute are counted, and
the count is recorded when the minute is over. So a flood costs a worker two entries a minute for each kind, and there
are at most ``_MOST_KINDS`` kinds at a time; what goes beyond them is counted by cause alone.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shared.audit import service as audit
from shared.audit.model import DENY, Denial, Origin
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.telemetry import get_logger

DENIAL_NOT_RECORDED: Final = "denial_not_recorded"

_WINDOW: Final = timedelta(minutes=1)
_MOST_KINDS: Final = 256
_log = get_logger("audit")


@dataclass(slots=True)
class _Repeats:
    since: datetime
    until: datetime
    origin: Origin
    count: int = 0


class DenialLog:
    """The refused attempts of one worker."""

    def __init__(self, database: Database, clock: Clock, *, window: timedelta = _WINDOW) -> None:
        self._database = database
        self._clock = clock
        self._window = window
        self._repeats: dict[Denial, _Repeats] = {}
        self._flushing: asyncio.Task[None] | None = None

    async def note(self, denial: Denial, origin: Origin, *, resource_id: UUID | None = None) -> None:
        """Record an attempt, or count it. Never raises: the refusal stands whether or not it could be recorded."""
        if denial not in self._repeats and len(self._repeats) >= _MOST_KINDS:
            denial = Denial(denial.cause)
        now = self._clock()
        known = self._repeats.get(denial)
        if known is not None:
            known.count, known.until, known.origin = known.count + 1, now, origin
            return
        self._repeats[denial] = _Repeats(now, now, origin)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_when_due())
        await self._write(denial, origin, resource_id, None)

    async def close(self) -> None:
        """Record what was counted so far."""
        if self._flushing is not None:
            self._flushing.cancel()
            with suppress(asyncio.CancelledError):
                await self._flushing
        await self._flush(self._repeats)

    async def _flush_when_due(self) -> None:
        while self._repeats:
            await asyncio.sleep(self._window.total_seconds())
            limit = self._clock() - self._window
            await self._flush({kind: repeats for kind, repeats in self._repeats.items() if repeats.since <= limit})

    async def _flush(self, due: dict[Denial, _Repeats]) -> None:
        for denial, repeats in list(due.items()):
            del self._repeats[denial]
            if repeats.count:
                await self._write(denial, repeats.origin, None, repeats)

    async def _write(self, denial: Denial, origin: Origin, resource_id: UUID | None, repeats: _Repeats | None) -> None:
        about: dict[str, str | int | None] = {
            "cause": denial.cause,
            "role": denial.caller.role.value if denial.caller else None,
            "function": denial.function,
            "subject": denial.subject,
        }
        if repeats is not None:
            about |= {
                "repeated": repeats.count,
                "since": repeats.since.isoformat(),
                "until": repeats.until.isoformat(),
            }
        try:
            async with self._database.transaction() as conn:
                await audit.record(
                    conn,
                    origin,
                    denial.caller,
                    action=DENY,
                    resource_type="endpoint",
                    resource_id=resource_id,
                    metadata={name: value for name, value in about.items() if value is not None},
                )
        except Exception:  # noqa: BLE001  # the database may be away; the attempt is refused all the same
            _log.exception(DENIAL_NOT_RECORDED, cause=denial.cause, function=denial.function)
