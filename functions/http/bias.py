"""Bias: protected attributes, what is found about them, and audits of a period."""

from uuid import UUID

import azure.durable_functions as df
from pydantic import BaseModel, ConfigDict, Field

from functions.cursor import NEWEST, read_cursor, write_cursor
from functions.endpoint import Call, Reply, endpoint, report_page
from shared.monitoring.bias_model import (
    AuditPeriod,
    AuditRequest,
    BiasMetric,
    BiasReport,
    NewProtectedAttribute,
    ProtectedAttribute,
)
from shared.monitoring.level import Level
from shared.platform.errors import Conflict, NotFound

bp = df.Blueprint()


class BiasQuery(BaseModel):
    """Which figures; by default all of the model in production."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: UUID | None = None
    attribute: str | None = Field(None, min_length=1, max_length=100)
    metric: str | None = Field(None, min_length=1, max_length=100)
    status: Level | None = None
    page_size: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=200)


class AttributeChange(NewProtectedAttribute):
    """A protected attribute's settings, and whether it is looked at."""

    is_active: bool = True


@endpoint(
    bp,
    "GET",
    "bias/protected-attributes",
    summary="List protected attributes by name",
    response=list[ProtectedAttribute],
)
async def list_protected_attributes(call: Call) -> Reply:
    """Every attribute with its groups and thresholds."""
    return Reply(await call.services.bias.list_attributes())


async def _attribute(call: Call, attribute_id: UUID) -> Reply:
    attributes = await call.services.bias.list_attributes()
    return Reply(next(attribute for attribute in attributes if attribute.id == attribute_id))


@endpoint(
    bp,
    "POST",
    "bias/protected-attributes",
    summary="Protect an attribute",
    body=NewProtectedAttribute,
    status=201,
    response=ProtectedAttribute,
    errors=(Conflict,),
    idempotent=_attribute,
)
async def create_protected_attribute(call: Call) -> Reply:
    """Its groups are compared every day, alone and together with the other attributes."""
    return Reply(await call.services.bias.register(call.body, caller=call.caller, origin=call.origin))


@endpoint(
    bp,
    "PUT",
    "bias/protected-attributes/{attribute_id:guid}",
    summary="Change a protected attribute",
    body=AttributeChange,
    response=ProtectedAttribute,
    errors=(Conflict,),
)
async def replace_protected_attribute(call: Call) -> Reply:
    """All settings are replaced; what was found before stays as it is."""
    change: AttributeChange = call.body
    return Reply(
        await call.services.bias.replace(
            call.path_id("attribute_id"),
            change,
            is_active=change.is_active,
            caller=call.caller,
            origin=call.origin,
        )
    )


@endpoint(
    bp,
    "GET",
    "bias/metrics",
    summary="Figures of bias, newest first",
    query=BiasQuery,
    response=list[BiasMetric],
    errors=(NotFound,),
)
async def list_bias_metrics(call: Call) -> Reply:
    """One page by cursor; each with its interval, the rate of every group and the rows behind it."""
    query: BiasQuery = call.query
    filters = query.model_dump(include={"attribute", "metric", "status"})
    before = NEWEST if query.cursor is None else read_cursor(query.cursor)
    found = await call.services.bias.list_metrics(query.model_id, filters, before=before, limit=query.page_size)
    last = found[-1] if len(found) == query.page_size else None
    position = (last.computed_at, last.id) if last is not None and last.computed_at is not None else None
    return Reply(found, pagination={"page_size": query.page_size, "next_cursor": write_cursor(position)})


@endpoint(
    bp,
    "POST",
    "bias/audit",
    summary="Look at a period for bias",
    body=AuditRequest,
    response=BiasReport,
    errors=(Conflict, NotFound),
)
async def audit_bias(call: Call) -> Reply:
    """Every attribute and their intersections, with labels as they are known now; nothing is stored."""
    return Reply(await call.services.bias.audit(call.body))


@endpoint(
    bp,
    "GET",
    "models/{model_id:guid}/bias-report",
    summary="Bias of a model over a period, as HTML",
    query=AuditPeriod,
    response=str,
    media_type="text/html",
    errors=(Conflict, NotFound),
)
async def get_bias_report(call: Call) -> Reply:
    """One self-contained page: gaps with intervals, and the rates of every group."""
    from shared.monitoring.report.bias_page import render_bias_report

    query: AuditPeriod = call.query
    request = AuditRequest(model_id=call.path_id("model_id"), **query.model_dump())
    return report_page(render_bias_report(await call.services.bias.audit(request)))
