"""The orchestration ``retrain_model``: assemble, features, training, judgement, approval.

Features and training run as the orchestrations that they always are, with their own rows and progress.
"""

from collections.abc import Generator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import azure.durable_functions as df

from functions.composition import get_services

DECIDED: Final = "decided"

# A dependency that is away for half a minute costs time, not the job.
_RETRY: Final = df.RetryOptions(first_retry_interval_in_milliseconds=10_000, max_number_of_attempts=8)

bp = df.Blueprint()
# The worker knows no parametrised types: an activity's argument is annotated Any, and is always a JSON object.


@bp.orchestration_trigger(context_name="context")
def retrain_model(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Run a job to its end. Input: ``{"retraining_id"}``."""
    job = {"retraining_id": context.get_input()["retraining_id"]}
    try:
        result: dict[str, Any] = {}
        for name in ("assemble_retraining", "train_challenger", "judge_challenger"):
            result = yield context.call_activity_with_retry(name, _RETRY, job)
            if "child" in result:
                yield context.call_sub_orchestrator(result["child"], result["order"], result["instance_id"])
            elif "approval_until" not in result:
                break
        if "approval_until" in result:
            decided = context.wait_for_external_event(DECIDED)
            timer = context.create_timer(datetime.fromisoformat(result["approval_until"]))
            first = yield context.task_any([decided, timer])
            if first == decided:
                timer.cancel()
            result = yield context.call_activity_with_retry("expire_retraining", _RETRY, job)
    except Exception as error:  # noqa: BLE001  # whatever an activity died of after all its attempts
        # The first line says what happened; what follows is a trace, which is in the log.
        failure = {**job, "message": str(error).partition("\n")[0][:500]}
        result = yield context.call_activity_with_retry("fail_retraining", _RETRY, failure)
    return {**job, "status": result["status"]}


@bp.activity_trigger(input_name="payload")
async def assemble_retraining(payload: Any) -> dict[str, Any]:
    """Make the new dataset version and ask for its features."""
    return dict(await (await get_services()).retraining.stages.assemble(UUID(payload["retraining_id"])))


@bp.activity_trigger(input_name="payload")
async def train_challenger(payload: Any) -> dict[str, Any]:
    """Ask for a training job like the champion's."""
    return dict(await (await get_services()).retraining.stages.train(UUID(payload["retraining_id"])))


@bp.activity_trigger(input_name="payload")
async def judge_challenger(payload: Any) -> dict[str, Any]:
    """Compare, hold against the rules, promote or wait."""
    return dict(await (await get_services()).retraining.stages.judge(UUID(payload["retraining_id"])))


@bp.activity_trigger(input_name="payload")
async def expire_retraining(payload: Any) -> dict[str, Any]:
    """End what nobody has decided on."""
    return dict(await (await get_services()).retraining.stages.expire(UUID(payload["retraining_id"])))


@bp.activity_trigger(input_name="payload")
async def fail_retraining(payload: Any) -> dict[str, Any]:
    """End a job whose activities kept failing."""
    stages = (await get_services()).retraining.stages
    return dict(await stages.fail(UUID(payload["retraining_id"]), payload["message"]))
