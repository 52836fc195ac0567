"""The alert of long work that failed."""

from datetime import datetime
from uuid import UUID

from shared.alerts.model import Severity, Signal, Source
from shared.alerts.service import report
from shared.platform.database import Connection


async def report_failed(conn: Connection, kind: str, identifier: UUID, name: str, reason: str, now: datetime) -> None:
    """Raise the alert of a job that has failed, in the transaction that ends it. It stays until somebody settles it.

    :param kind: what failed, in words: "training job".
    """
    signal = Signal(
        cause=f"{kind.replace(' ', '_')}:{identifier}",
        source=Source.SYSTEM,
        alert_type="JOB",
        severity=Severity.WARNING,
        title=f"The {kind} {name} failed",
        description=reason,
        details={"kind": kind, "id": str(identifier), "name": name},
    )
    await report(conn, signal, now)
