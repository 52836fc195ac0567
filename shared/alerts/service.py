"""Use cases of alerts."""

from datetime import datetime
from typing import Final
from uuid import UUID

from shared.alerts import deliveries, repository
from shared.alerts.messages import Event
from shared.alerts.model import ANY_ALERT, Alert, AlertFilter, AlertStatus, Signal, check_move
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import NotFound, Unavailable
from shared.platform.listing import FIRST_PAGE, Page
from shared.platform.telemetry import get_logger
from shared.users.model import Caller

ALERT_REPORTED: Final = "alert_reported"
ALERT_NOT_REPORTED: Final = "alert_not_reported"

_GONE: Final = "resolved by itself: the cause is gone"
_log = get_logger("alerts")


async def report(conn: Connection, signal: Signal, now: datetime) -> Alert:
    """:meth:`AlertService.report` within a transaction of the caller's."""
    before = await repository.open_of(conn, signal.cause)
    alert, opened = await repository.report(conn, signal, now)
    if opened:
        await deliveries.queue(conn, alert, Event.OPENED, now)
    elif before is not None and before.severity.rank < alert.severity.rank:
        await deliveries.queue(conn, alert, Event.ESCALATED, now)
    return alert


async def clear(conn: Connection, cause: str, *, windows: int, at: datetime, now: datetime) -> None:
    """:meth:`AlertService.clear` within a transaction of the caller's."""
    alert = await repository.clear(conn, cause, _GONE, windows=windows, at=at, now=now)
    if alert is not None and alert.status is AlertStatus.RESOLVED:
        await deliveries.queue(conn, alert, Event.RESOLVED, now)


class AlertService:
    """Noticing that something is wrong, and settling it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def report(self, signal: Signal) -> Alert | None:
        """Open an alert, or refresh the one that is open for the same cause; webhooks are told of the former, and when
        it has become more severe.

        Never raises because the database is away: whoever reports has other work to do, and the log has the signal.
        """
        try:
            async with self._database.transaction() as conn:
                alert = await report(conn, signal, self._clock())
        except Unavailable:
            _log.error(ALERT_NOT_REPORTED, cause=signal.cause, severity=signal.severity.value)
            return None
        _log.warning(
            ALERT_REPORTED,
            alert_id=str(alert.id),
            cause=signal.cause,
            severity=alert.severity.value,
            occurrences=alert.occurrences,
        )
        return alert

    async def clear(self, cause: str, *, windows: int = 1, at: datetime | None = None) -> bool:
        """The cause was not there: after ``windows`` such windows in a row its open alert, if any, is resolved.

        Never raises because the database is away; whether it was noted says the answer.

        :param at: the end of the window, which counts once however often it is told; default now.
        """
        try:
            async with self._database.transaction() as conn:
                await clear(conn, cause, windows=windows, at=at or self._clock(), now=self._clock())
        except Unavailable:
            _log.warning(ALERT_NOT_REPORTED, cause=cause, severity="none")
            return False
        return True

    async def get(self, alert_id: UUID) -> Alert:
        """One alert.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            return _found(await repository.get(conn, alert_id))

    async def list_page(self, which: AlertFilter = ANY_ALERT, page: Page = FIRST_PAGE) -> tuple[list[Alert], int]:
        """One page of alerts, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, which, page)

    async def acknowledge(self, alert_id: UUID, *, caller: Caller, origin: Origin) -> Alert:
        """Somebody looks after it; it stays open.

        :raises NotFound: there is none with this id.
        :raises Conflict: it is not ACTIVE.
        """
        async with self._database.transaction() as conn:
            before = await self._movable(conn, alert_id, AlertStatus.ACKNOWLEDGED)
            after = await repository.acknowledge(conn, alert_id, caller.user_id, self._clock())
            await deliveries.queue(conn, after, Event.ACKNOWLEDGED, self._clock())
            await self._audit(conn, before, after, caller, origin)
        return after

    async def close(self, alert_id: UUID, status: AlertStatus, notes: str, *, caller: Caller, origin: Origin) -> Alert:
        """Settle it: RESOLVED, or DISMISSED as needing nothing. The same cause, noticed again, opens a new one.

        :raises NotFound: there is none with this id.
        :raises Conflict: it is not open.
        """
        async with self._database.transaction() as conn:
            before = await self._movable(conn, alert_id, status)
            after = await repository.close(conn, alert_id, status, caller.user_id, notes, self._clock())
            event = Event.RESOLVED if status is AlertStatus.RESOLVED else Event.DISMISSED
            await deliveries.queue(conn, after, event, self._clock())
            await self._audit(conn, before, after, caller, origin)
        return after

    async def _movable(self, conn: Connection, alert_id: UUID, target: AlertStatus) -> Alert:
        found = _found(await repository.get(conn, alert_id, lock=True))
        check_move(found.status, target)
        return found

    async def _audit(self, conn: Connection, before: Alert, after: Alert, caller: Caller, origin: Origin) -> None:
        await audit.record(
            conn,
            origin,
            caller,
            action="UPDATE",
            resource_type="alert",
            resource_id=after.id,
            old={"status": before.status.value},
            new={"status": after.status.value, "resolution_notes": after.resolution_notes},
        )


def _found(alert: Alert | None) -> Alert:
    if alert is None:
        raise NotFound("no alert has this id", target="alert_id")
    return alert
