"""Labels that came before their transaction, and history that lags behind what is known."""

from uuid import uuid4

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.timers.watched import watched
from shared.audit.model import Origin

bp = df.Blueprint()


@bp.timer_trigger(schedule="15 * * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.function_name("settle_labels")
@watched("settle_labels")
async def settle_labels(timer: func.TimerRequest) -> None:
    """Every minute: labels whose transaction has been scored since are applied, and history catches up with labels."""
    labels = (await get_services()).labels
    await labels.settle_pending(Origin(str(uuid4())))
    await labels.catch_up()
