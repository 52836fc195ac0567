"""Alert rules: limits that people set on the figures of monitoring."""

from uuid import UUID

import azure.durable_functions as df

from functions.endpoint import Call, Reply, endpoint
from functions.requests import PageQuery
from shared.alerts.rules import Rule, RuleSettings
from shared.platform.errors import Conflict

bp = df.Blueprint()


class RuleQuery(PageQuery):
    """Filters of the list."""

    metric: str | None = None
    model_id: UUID | None = None
    is_active: bool | None = None


@endpoint(bp, "GET", "alerts/rules", summary="List alert rules by name", query=RuleQuery, response=list[Rule])
async def list_alert_rules(call: Call) -> Reply:
    """One page of rules."""
    query: RuleQuery = call.query
    rules, total = await call.services.alert_rules.list_page(
        metric=query.metric,
        model_id=query.model_id,
        is_active=query.is_active,
        limit=query.page_size,
        offset=query.offset,
    )
    return Reply(rules, pagination=query.pagination(total))


async def _rule(call: Call, rule_id: UUID) -> Reply:
    return Reply(await call.services.alert_rules.get(rule_id))


@endpoint(
    bp,
    "POST",
    "alerts/rules",
    summary="Set a limit on a figure of monitoring",
    body=RuleSettings,
    status=201,
    response=Rule,
    errors=(Conflict,),
    idempotent=_rule,
)
async def create_alert_rule(call: Call) -> Reply:
    """Held against the figures of every window from now on."""
    rule = await call.services.alert_rules.create(call.body, caller=call.caller, origin=call.origin)
    return Reply(rule)


@endpoint(bp, "GET", "alerts/rules/{rule_id:guid}", summary="One alert rule", response=Rule)
async def get_alert_rule(call: Call) -> Reply:
    """What it watches."""
    return Reply(await call.services.alert_rules.get(call.path_id("rule_id")))


@endpoint(
    bp,
    "PUT",
    "alerts/rules/{rule_id:guid}",
    summary="Change an alert rule",
    body=RuleSettings,
    response=Rule,
    errors=(Conflict,),
)
async def replace_alert_rule(call: Call) -> Reply:
    """All settings are replaced; alerts that are open stay so until the rule is kept again."""
    rule_id = call.path_id("rule_id")
    return Reply(await call.services.alert_rules.replace(rule_id, call.body, caller=call.caller, origin=call.origin))


@endpoint(bp, "DELETE", "alerts/rules/{rule_id:guid}", summary="Delete an alert rule", response=Rule)
async def delete_alert_rule(call: Call) -> Reply:
    """Answered as it was last; its alerts stay."""
    return Reply(
        await call.services.alert_rules.delete(call.path_id("rule_id"), caller=call.caller, origin=call.origin)
    )
