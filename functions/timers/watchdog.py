"""Long work whose orchestration is gone: started again when it never began, failed with a reason when it ended early.

A request writes its row first and starts the orchestration second; a worker that dies in between leaves a row that
nobody works on. Orchestrations can also be terminated or purged from outside.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import azure.durable_functions as df
import azure.functions as func

from functions.composition import get_services
from functions.orchestrations.training import admit_waiting
from functions.timers.watched import watched
from shared.platform.clock import utc_now
from shared.platform.telemetry import get_logger

ORPHAN_FOUND: Final = "orphan_found"
ORPHAN_NOT_MENDED: Final = "orphan_not_mended"
WORK_WAITING: Final = "work_waiting"

_GRACE: Final = timedelta(minutes=2)
_log = get_logger("watchdog")

bp = df.Blueprint()


class Remedy(StrEnum):
    """What is done about a row that has not ended."""

    LEAVE = "leave"
    START = "start"
    FAIL = "fail"


_ENDED: Final = frozenset(
    {
        df.OrchestrationRuntimeStatus.Completed,
        df.OrchestrationRuntimeStatus.Failed,
        df.OrchestrationRuntimeStatus.Terminated,
        df.OrchestrationRuntimeStatus.Canceled,
    }
)


def remedy(status: df.OrchestrationRuntimeStatus | None) -> Remedy:
    """By the status of the row's orchestration; None means that there is no such instance."""
    if status is None:
        return Remedy.START
    return Remedy.FAIL if status in _ENDED else Remedy.LEAVE


@bp.timer_trigger(schedule="0 */5 * * * *", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.durable_client_input(client_name="client")
@bp.function_name("resume_orphaned_work")
@watched("resume_orphaned_work")
async def resume_orphaned_work(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Every five minutes: feature sets, training, scoring and retraining jobs that nobody works on."""
    services, before = await get_services(), utc_now() - _GRACE
    for feature_set_id, instance_id in await services.features.unfinished(before):
        order = {"feature_set_id": str(feature_set_id)}
        await _mend(client, "engineer_features", instance_id, order, feature_set_id, services.features.stages.fail)
    for job_id, instance_id in await services.training.unfinished(before):
        order = {"job_id": str(job_id)}
        await _mend(client, "train_model", instance_id, order, job_id, services.training.stages.fail)
    for job_id, instance_id in await services.scoring_jobs.unfinished(before):
        order = {"job_id": str(job_id)}
        await _mend(client, "score_file", instance_id, order, job_id, services.scoring_jobs.stages.fail)
    for retraining_id, instance_id in await services.retraining.unfinished(before):
        order = {"retraining_id": str(retraining_id)}
        await _mend(client, "retrain_model", instance_id, order, retraining_id, services.retraining.stages.fail)
    await admit_waiting(client)  # a place may have become free
    age = await services.training.queue_age()
    if age is not None:
        _log.info(WORK_WAITING, oldest_seconds=round(age.total_seconds()))


async def _mend(
    client: df.DurableOrchestrationClient,
    orchestrator: str,
    instance_id: str,
    order: dict[str, str],
    row_id: UUID,
    fail: Callable[[UUID, str], Awaitable[Any]],
) -> None:
    try:
        status = (await client.get_status(instance_id)).runtime_status
        needed = remedy(status)
        if needed is Remedy.LEAVE:
            return
        _log.warning(ORPHAN_FOUND, orchestration_id=instance_id, remedy=needed.value)
        if needed is Remedy.START:
            await client.start_new(orchestrator, instance_id, order)
        else:
            await fail(row_id, f"its orchestration ended as {status.name} without finishing the work")
    except Exception:  # noqa: BLE001  # the rows behind this one must not wait for it
        _log.exception(ORPHAN_NOT_MENDED, orchestration_id=instance_id)
