"""Rows of ``drift_metrics`` that drift writes and reads."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from shared.monitoring.level import Level
from shared.monitoring.model import DriftMetric
from shared.monitoring.windows import Span
from shared.platform.database import Connection, Row
from shared.platform.queries import queries

_SQL = queries("drift")


class NewFigure(NamedTuple):
    """A row to be."""

    id: UUID
    drift_type: str
    feature: str | None
    metric: str
    value: float
    status: Level
    threshold: float | None


async def _all(conn: Connection, statement: str, parameters: dict[str, Any]) -> list[Row]:
    return await (await conn.execute(_SQL[statement], parameters)).fetchall()


async def store_window(
    conn: Connection,
    model_id: UUID,
    span: Span,
    figures: Sequence[NewFigure],
    *,
    reference: tuple[datetime | None, datetime | None],
    reference_count: int,
    current_count: int,
    now: datetime,
) -> None:
    """The figures of a window, in place of what was said of it before."""
    window = {"model_id": model_id, "window_start": span[0], "window_end": span[1]}
    await conn.execute(_SQL["forget_drift_of_window"], window)
    await conn.execute(
        _SQL["insert_drift_metrics"],
        {
            **window,
            "reference_start": reference[0],
            "reference_end": reference[1],
            "reference_count": reference_count,
            "current_count": current_count,
            "now": now,
            "ids": [each.id for each in figures],
            "types": [each.drift_type for each in figures],
            "features": [each.feature for each in figures],
            "metrics": [each.metric for each in figures],
            "values": [float(each.value) for each in figures],
            "statuses": [each.status.value for each in figures],
            "thresholds": [None if each.threshold is None else float(each.threshold) for each in figures],
        },
    )


async def count_critical(
    conn: Connection, model_id: UUID, ends: Sequence[datetime], length: timedelta
) -> dict[str, int]:
    """By column, in how many of the windows that end so it was critical in itself."""
    parameters = {"model_id": model_id, "ends": list(ends), "length": length}
    rows = await _all(conn, "count_critical_windows", parameters)
    return {row["feature_name"]: row["windows"] for row in rows}


async def latest_window(conn: Connection, model_id: UUID, length: timedelta) -> datetime | None:
    """The end of the newest window of this length that was looked at."""
    rows = await _all(conn, "latest_drift_window", {"model_id": model_id, "length": length})
    return rows[0]["window_end"] if rows else None


async def list_metrics(
    conn: Connection, filters: dict[str, Any], *, before: tuple[datetime, UUID], limit: int
) -> list[DriftMetric]:
    """A page of figures, newest windows first."""
    parameters = {**filters, "before": before[0], "before_id": before[1], "limit": limit}
    return [DriftMetric.model_validate(row) for row in await _all(conn, "list_drift_metrics", parameters)]


async def list_windows(
    conn: Connection, model_id: UUID, length: timedelta, *, before: datetime, limit: int
) -> list[Row]:
    """The newest windows of a length, newest first."""
    parameters = {"model_id": model_id, "length": length, "before": before, "limit": limit}
    return await _all(conn, "list_drift_windows", parameters)


async def read_series(
    conn: Connection, model_id: UUID, length: timedelta, ends: Sequence[datetime], metrics: Sequence[str]
) -> list[Row]:
    """Some figures of every column in some windows."""
    parameters = {"model_id": model_id, "length": length, "ends": list(ends), "metrics": list(metrics)}
    return await _all(conn, "read_drift_series", parameters)
