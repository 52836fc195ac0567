"""Keeping house: partitions ahead of time, history complete, and no longer than its retention."""

from uuid import uuid4

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched
from shared.audit.model import Origin

bp = df.Blueprint()


@bp.timer_trigger(schedule="0 10 1 * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("make_partitions")
@watched("make_partitions")
async def make_partitions(timer: func.TimerRequest) -> None:
    """Every night: make the partitions of predictions and of history for the months ahead."""
    services = await get_services()
    await services.scoring.make_partitions()


@bp.timer_trigger(schedule="30 * * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.function_name("top_up_history")
@watched("top_up_history")
async def top_up_history(timer: func.TimerRequest) -> None:
    """Every minute: what one model scored becomes history of the others that may serve."""
    services = await get_services()
    await services.scoring.top_up_history()


@bp.timer_trigger(schedule="0 50 * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.function_name("forget_submissions")
@watched("forget_submissions")
async def forget_submissions(timer: func.TimerRequest) -> None:
    """Every hour: forget the transactions whose sending again is no longer looked for."""
    services = await get_services()
    await services.scoring.forget_submissions()


@bp.timer_trigger(schedule="0 20 1 * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("forget_history")
@watched("forget_history")
async def forget_history(timer: func.TimerRequest) -> None:
    """Every night: drop the months of history that are older than the retention."""
    services = await get_services()
    await services.scoring.forget_history(Origin(str(uuid4())))


@bp.timer_trigger(schedule="0 40 * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.function_name("forget_idempotency_keys")
@watched("forget_idempotency_keys")
async def forget_idempotency_keys(timer: func.TimerRequest) -> None:
    """Every hour: delete the idempotency keys that are older than a day."""
    services = await get_services()
    await services.idempotency.purge()


@bp.timer_trigger(schedule="0 30 1 * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("sweep_datasets")
@watched("sweep_datasets")
async def sweep_datasets(timer: func.TimerRequest) -> None:
    """Every night: delete files of datasets that are gone, or whose registration ended halfway."""
    services = await get_services()
    await services.dataset_lifecycle.sweep()
