"""Alerts: look, acknowledge, resolve, dismiss."""

from typing import Literal
from uuid import UUID

import azure.durable_functions as df

from functions.endpoint import Call, Reply, endpoint
from functions.requests import NEWEST_FIRST, PageQuery
from shared.alerts.model import Alert, AlertFilter, AlertStatus, Dismissal, Resolution, Severity, Source
from shared.platform.errors import Conflict

bp = df.Blueprint()


class AlertQuery(PageQuery):
    """Filters and order of the list."""

    status: AlertStatus | None = None
    severity: Severity | None = None
    source_type: Source | None = None
    model_id: UUID | None = None
    sort: Literal["created_at", "-created_at", "last_seen_at", "-last_seen_at"] = NEWEST_FIRST


@endpoint(bp, "GET", "alerts", summary="List alerts", query=AlertQuery, response=list[Alert])
async def list_alerts(call: Call) -> Reply:
    """One page of alerts."""
    query: AlertQuery = call.query
    alerts, total = await call.services.alerts.list_page(AlertFilter(**query.filters()), query.of(query.sort))
    return Reply(alerts, pagination=query.pagination(total))


@endpoint(bp, "GET", "alerts/{alert_id:guid}", summary="One alert", response=Alert)
async def get_alert(call: Call) -> Reply:
    """What is wrong, since when, how often it was noticed, and what became of it."""
    return Reply(await call.services.alerts.get(call.path_id("alert_id")))


@endpoint(
    bp,
    "POST",
    "alerts/{alert_id:guid}/acknowledge",
    summary="Take an alert over",
    response=Alert,
    errors=(Conflict,),
)
async def acknowledge_alert(call: Call) -> Reply:
    """It stays open; others see who looks after it."""
    alert_id = call.path_id("alert_id")
    return Reply(await call.services.alerts.acknowledge(alert_id, caller=call.caller, origin=call.origin))


@endpoint(
    bp,
    "POST",
    "alerts/{alert_id:guid}/resolve",
    summary="Resolve an alert",
    body=Resolution,
    response=Alert,
    errors=(Conflict,),
)
async def resolve_alert(call: Call) -> Reply:
    """Settled, with a word on how."""
    alert = await call.services.alerts.close(
        call.path_id("alert_id"),
        AlertStatus.RESOLVED,
        call.body.resolution_notes,
        caller=call.caller,
        origin=call.origin,
    )
    return Reply(alert)


@endpoint(
    bp,
    "POST",
    "alerts/{alert_id:guid}/dismiss",
    summary="Dismiss an alert",
    body=Dismissal,
    response=Alert,
    errors=(Conflict,),
)
async def dismiss_alert(call: Call) -> Reply:
    """It needs nothing, with the reason."""
    alert = await call.services.alerts.close(
        call.path_id("alert_id"), AlertStatus.DISMISSED, call.body.reason, caller=call.caller, origin=call.origin
    )
    return Reply(alert)
