"""Challengers follow the model in production."""

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched

bp = df.Blueprint()


@bp.timer_trigger(schedule="15 * * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.function_name("follow_production")
@watched("follow_production")
async def follow_production(timer: func.TimerRequest) -> None:
    """Every minute: challengers score what the model in production has scored since the last run."""
    await (await get_services()).shadow.follow()
