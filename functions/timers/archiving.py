"""Months of predictions past their retention leave the database, and labels that waited for as long are given up."""

from datetime import UTC, datetime, time
from uuid import uuid4

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched
from shared.audit.model import Origin

bp = df.Blueprint()


@bp.timer_trigger(schedule="0 0 2 * * *", arg_name="timer", run_on_startup=False, use_monitor=True)
@bp.function_name("archive_predictions")
@watched("archive_predictions")
async def archive_predictions(timer: func.TimerRequest) -> None:
    """Every night: archive what is due; a run that is cut short is gone on with in the next."""
    services = await get_services()
    await services.archives.archive_due()
    first_kept = datetime.combine(services.archives.first_kept(), time(), UTC)
    await services.labels.forget_pending(first_kept, Origin(str(uuid4())))
