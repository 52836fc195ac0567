"""Counting what is predicted, and looking whether it has drifted."""

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched

bp = df.Blueprint()


@bp.timer_trigger(schedule="15 */10 * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.function_name("count_predictions")
@watched("count_predictions")
async def count_predictions(timer: func.TimerRequest) -> None:
    """Every ten minutes: predictions and labels that are new are added to the counts of their hours."""
    services = await get_services()
    await services.folding.fold_all()


@bp.timer_trigger(schedule="0 5 * * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("check_drift")
@watched("check_drift")
async def check_drift(timer: func.TimerRequest) -> None:
    """Every hour: windows that are complete and were not looked at, of each length in DRIFT_WINDOW_HOURS."""
    services = await get_services()
    await services.drift.check()


@bp.timer_trigger(schedule="0 50 1 * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("recount_predictions")
@watched("recount_predictions")
async def recount_predictions(timer: func.TimerRequest) -> None:
    """Every night: hours of the last two days whose predictions are not as many as were counted, counted anew."""
    services = await get_services()
    await services.folding.verify_all()
