"""Starting what alerts ask for."""

from typing import Final

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched
from shared.audit.model import Origin

_ORIGIN: Final = Origin(request_id="start_requested_retraining")

bp = df.Blueprint()


@bp.timer_trigger(schedule="20 */5 * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.durable_client_input(client_name="client")
@bp.function_name("start_requested_retraining")
@watched("start_requested_retraining")
async def start_requested_retraining(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Every five minutes: models that an alert wants trained again, as far as the limits allow."""
    services = await get_services()
    for job in await services.retraining.start_asked_for(_ORIGIN):
        # One that cannot be started now is started by the watchdog.
        await client.start_new("retrain_model", job.orchestration_id, {"retraining_id": str(job.id)})
