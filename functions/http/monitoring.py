"""Drift: compute it, read what was found, see it as a page."""

from datetime import timedelta
from typing import Literal
from uuid import UUID

import azure.durable_functions as df
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from functions.cursor import NEWEST, read_cursor, write_cursor
from functions.endpoint import Call, Reply, endpoint, report_page
from shared.monitoring.level import Level
from shared.monitoring.model import DriftMetric, DriftRequest, DriftSeries, DriftWindow, WindowHours
from shared.platform.errors import Conflict, NotFound

bp = df.Blueprint()


class DriftQuery(BaseModel):
    """Which figures; by default all of the model in production."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: UUID | None = None
    drift_type: Literal["DATA", "FEATURE", "CONCEPT"] | None = None
    status: Level | None = None
    metric: str | None = Field(None, min_length=1, max_length=100)
    feature: str | None = Field(None, min_length=1, max_length=100)
    window_hours: WindowHours | None = None
    page_size: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=200)


class SeriesQuery(BaseModel):
    """One figure over the newest windows of a length; the cursor leads to older ones."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: UUID | None = None
    metric: str = Field("psi", min_length=1, max_length=100)
    window_hours: WindowHours = 24
    page_size: int = Field(30, ge=1, le=100, description="Windows.")
    cursor: str | None = Field(None, max_length=200)


class ReportQuery(BaseModel):
    """Which window the page is about; by default the newest day."""

    model_config = ConfigDict(extra="forbid")

    window_hours: WindowHours = 24
    window_end: AwareDatetime | None = None


@endpoint(
    bp,
    "POST",
    "monitoring/drift/compute",
    summary="Look at a window for drift now",
    body=DriftRequest,
    response=DriftWindow,
    errors=(Conflict, NotFound),
)
async def compute_drift(call: Call) -> Reply:
    """Counts what is new, compares the window with its reference, and keeps the figures in place of earlier ones of
    the window. Alerts follow where it is the newest window of a length in DRIFT_WINDOW_HOURS."""
    return Reply(await call.services.drift.compute(call.body))


@endpoint(
    bp,
    "GET",
    "monitoring/drift",
    summary="Figures of drift, newest windows first",
    query=DriftQuery,
    response=list[DriftMetric],
    errors=(NotFound,),
)
async def list_drift(call: Call) -> Reply:
    """One page by cursor. A window with fewer rows than the threshold of its figure `rows` says nothing else."""
    query: DriftQuery = call.query
    filters = query.model_dump(include={"drift_type", "status", "metric", "feature"})
    filters["length"] = None if query.window_hours is None else timedelta(hours=query.window_hours)
    before = NEWEST if query.cursor is None else read_cursor(query.cursor)
    found = await call.services.drift.list_metrics(query.model_id, filters, before=before, limit=query.page_size)
    last = found[-1] if len(found) == query.page_size else None
    position = (last.window_end, last.id) if last is not None and last.window_end is not None else None
    return Reply(found, pagination={"page_size": query.page_size, "next_cursor": write_cursor(position)})


@endpoint(
    bp,
    "GET",
    "monitoring/drift/features",
    summary="A figure of every column over time",
    query=SeriesQuery,
    response=DriftSeries,
    errors=(NotFound,),
)
async def list_feature_drift(call: Call) -> Reply:
    """Ready to be drawn: windows in rising order, one line a column, the most drifted column first."""
    query: SeriesQuery = call.query
    before = NEWEST if query.cursor is None else read_cursor(query.cursor)
    series = await call.services.drift.series(
        query.model_id,
        query.metric,
        timedelta(hours=query.window_hours),
        before=before[0],
        limit=query.page_size,
    )
    more = len(series.window_ends) == query.page_size
    position = (series.window_ends[0], series.model_id) if more else None
    return Reply(series, pagination={"page_size": query.page_size, "next_cursor": write_cursor(position)})


@endpoint(
    bp,
    "GET",
    "models/{model_id:guid}/drift-report",
    summary="Drift of a model, as HTML",
    query=ReportQuery,
    response=str,
    media_type="text/html",
    errors=(Conflict, NotFound),
)
async def get_drift_report(call: Call) -> Reply:
    """One self-contained page: what drifted, distributions beside the reference's, figures over time."""
    query: ReportQuery = call.query
    content = await call.services.drift_reports.render(
        call.path_id("model_id"), window_hours=query.window_hours, window_end=query.window_end
    )
    return report_page(content)
