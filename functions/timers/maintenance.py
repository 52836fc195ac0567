"""Keeping house: partitions ahead of time."""

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services

bp = df.Blueprint()


@bp.timer_trigger(schedule="0 10 1 * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("make_partitions")
async def make_partitions(timer: func.TimerRequest) -> None:
    """Every night: make the partitions of predictions for the months ahead."""
    services = await get_services()
    await services.scoring.make_partitions()
