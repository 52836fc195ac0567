"""Drift reports: made when they are read, from rollups and stored figures."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.monitoring.drift_service import DriftService
from shared.monitoring.model import DriftRequest

_WINDOWS = 60
_METRICS = ("psi", "drifted_share")
_NEWEST = datetime(9999, 1, 1, tzinfo=UTC)


class DriftReportService:
    """Use cases of drift reports."""

    def __init__(self, drift: DriftService) -> None:
        self._drift = drift

    async def render(self, model_id: UUID, *, window_hours: int, window_end: datetime | None) -> bytes:
        """A page about one window, with the windows of the same length before it. Nothing is stored, nobody alerted.

        :raises NotFound: there is no such model, or it has no profile.
        :raises Conflict: nothing of the model is counted yet, or not up to the window's end.
        :raises InvalidContent: the window does not end at a full hour.
        """
        from shared.monitoring.report.page import render_drift_report
        from shared.monitoring.report.subject import Subject

        request = DriftRequest(model_id=model_id, window_hours=window_hours, window_end=window_end)
        looked = await self._drift.inspect(request)
        before = looked.span[1] + timedelta(microseconds=1)
        length = timedelta(hours=window_hours)
        series = {
            metric: await self._drift.series(model_id, metric, length, before=before, limit=_WINDOWS)
            for metric in _METRICS
        }
        reference = looked.reference
        subject = Subject(
            reference.name,
            reference.version,
            looked.shown,
            reference.profile,
            reference.layout,
            looked.compared,
            looked.current,
            series,
        )
        return await asyncio.to_thread(render_drift_report, subject)
