"""Looking whether groups are treated alike."""

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched

bp = df.Blueprint()


@bp.timer_trigger(schedule="0 30 2 * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("check_bias")
@watched("check_bias")
async def check_bias(timer: func.TimerRequest) -> None:
    """Every night: the models in use over the last BIAS_WINDOW_DAYS."""
    services = await get_services()
    await services.bias.check()
