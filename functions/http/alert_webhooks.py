"""Webhooks: where alerts are sent."""

import azure.durable_functions as df

from functions.endpoint import Call, Reply, endpoint
from functions.requests import PageQuery
from shared.alerts.deliveries import Delivery
from shared.alerts.webhooks import Webhook, WebhookSettings
from shared.platform.errors import Conflict

bp = df.Blueprint()


@endpoint(bp, "GET", "alerts/webhooks", summary="List webhooks by name", response=list[Webhook])
async def list_webhooks(call: Call) -> Reply:
    """Every webhook; of the URL only scheme and host."""
    return Reply(await call.services.webhooks.list_all())


@endpoint(
    bp,
    "POST",
    "alerts/webhooks",
    summary="Send alerts to a URL",
    body=WebhookSettings,
    status=201,
    response=Webhook,
    errors=(Conflict,),
)
async def create_webhook(call: Call) -> Reply:
    """The answer holds the secret that signs, this once."""
    return Reply(await call.services.webhooks.create(call.body, caller=call.caller, origin=call.origin))


@endpoint(
    bp,
    "PUT",
    "alerts/webhooks/{webhook_id:guid}",
    summary="Change a webhook",
    body=WebhookSettings,
    response=Webhook,
    errors=(Conflict,),
)
async def replace_webhook(call: Call) -> Reply:
    """All settings are replaced; the secret stays."""
    webhook_id = call.path_id("webhook_id")
    return Reply(await call.services.webhooks.replace(webhook_id, call.body, caller=call.caller, origin=call.origin))


@endpoint(bp, "DELETE", "alerts/webhooks/{webhook_id:guid}", summary="Delete a webhook", response=Webhook)
async def delete_webhook(call: Call) -> Reply:
    """Answered as it was last; the messages that it has not got are gone with it."""
    webhook_id = call.path_id("webhook_id")
    return Reply(await call.services.webhooks.delete(webhook_id, caller=call.caller, origin=call.origin))


@endpoint(
    bp,
    "POST",
    "alerts/webhooks/{webhook_id:guid}/rotate",
    summary="Give a webhook a new secret",
    response=Webhook,
    errors=(Conflict,),
)
async def rotate_webhook_secret(call: Call) -> Reply:
    """Shown this once; for a day the old one signs too."""
    webhook_id = call.path_id("webhook_id")
    return Reply(await call.services.webhooks.rotate(webhook_id, caller=call.caller, origin=call.origin))


@endpoint(
    bp,
    "POST",
    "alerts/webhooks/{webhook_id:guid}/test",
    summary="Send a test message",
    status=202,
    response=Delivery,
)
async def send_test_message(call: Call) -> Reply:
    """Sent within seconds like any other; the deliveries show whether it arrived."""
    return Reply(await call.services.webhooks.send_test(call.path_id("webhook_id")))


@endpoint(
    bp,
    "GET",
    "alerts/webhooks/{webhook_id:guid}/deliveries",
    summary="List a webhook's messages, newest first",
    query=PageQuery,
    response=list[Delivery],
)
async def list_deliveries(call: Call) -> Reply:
    """Whether each arrived, after how many attempts, and when the next one is due."""
    query: PageQuery = call.query
    found, total = await call.services.webhooks.deliveries(
        call.path_id("webhook_id"), limit=query.page_size, offset=query.offset
    )
    return Reply(found, pagination=query.pagination(total))
