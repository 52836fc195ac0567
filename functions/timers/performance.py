"""Looking how models do."""

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched

bp = df.Blueprint()


@bp.timer_trigger(schedule="0 40 2 * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("check_performance")
@watched("check_performance")
async def check_performance(timer: func.TimerRequest) -> None:
    """Every night: the models in use, on labels that have come."""
    services = await get_services()
    await services.performance.check()
