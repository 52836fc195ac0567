"""Getting messages of alerts to their webhooks."""

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched

bp = df.Blueprint()


@bp.timer_trigger(schedule="*/15 * * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.function_name("deliver_webhooks")
@watched("deliver_webhooks")
async def deliver_webhooks(timer: func.TimerRequest) -> None:
    """Every fifteen seconds: send what is due."""
    services = await get_services()
    await services.webhooks.deliver_due()
