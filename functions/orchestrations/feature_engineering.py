"""The orchestration ``engineer_features`` and its activities: load, fit, transform (large: in parts), select, save."""

from collections.abc import Generator
from typing import Any, Final
from uuid import UUID

import azure.durable_functions as df

from functions.composition import get_services

bp = df.Blueprint()
# The worker knows no parametrised types: an activity's argument is annotated Any, and is always a JSON object.

# A dependency that is away for half a minute costs time, not the feature set.
_RETRY: Final = df.RetryOptions(first_retry_interval_in_milliseconds=10_000, max_number_of_attempts=8)
# Parts of a large dataset on their way at once; an instance takes maxConcurrentActivityFunctions of them (host.json).
_WAVE: Final = 16
_STAGES: Final = ("load_dataset", "fit_features", "transform_features", "select_features", "save_features")


@bp.orchestration_trigger(context_name="context")
def engineer_features(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Compute a feature set, stage by stage. Input: ``{"feature_set_id"}``."""
    order = {"feature_set_id": context.get_input()["feature_set_id"]}
    try:
        result = {"status": "PROCESSING"}
        for name in _STAGES:
            result = yield context.call_activity_with_retry(name, _RETRY, order)
            if "parts" in result:
                result = yield from _transform_in_parts(context, order, result["parts"])
            if result["status"] != "PROCESSING":
                break
    except Exception as error:  # noqa: BLE001  # whatever an activity died of after all its attempts
        # The first line says what happened; what follows is a trace, which is in the log.
        failure = {**order, "message": str(error).partition("\n")[0][:500]}
        result = yield context.call_activity_with_retry("fail_features", _RETRY, failure)
    return {**order, "status": result["status"]}


def _transform_in_parts(
    context: df.DurableOrchestrationContext, order: dict[str, Any], parts: dict[str, int]
) -> Generator[Any, Any, dict[str, Any]]:
    """Every part of a dataset that was cut; stops when the set has ended meanwhile."""
    done = 0
    result = {"status": "PROCESSING"}
    for name, count in (("compute_history", parts["buckets"]), ("compute_range", parts["ranges"]), ("join_ranges", 1)):
        for first in range(0, count, _WAVE):
            wave = [
                context.call_activity_with_retry(name, _RETRY, {**order, "part": part, "parts_done": done})
                for part in range(first, min(first + _WAVE, count))
            ]
            results = yield context.task_all(wave)
            done += len(wave)
            result = next((other for other in results if other["status"] != "PROCESSING"), results[-1])
            if result["status"] != "PROCESSING":
                return result
    return result


@bp.activity_trigger(input_name="payload")
async def load_dataset(payload: Any) -> dict[str, Any]:
    """Fetch and check the dataset."""
    return dict(await (await get_services()).features.stages.load(UUID(payload["feature_set_id"])))


@bp.activity_trigger(input_name="payload")
async def fit_features(payload: Any) -> dict[str, Any]:
    """Fit the plan on the training part."""
    return dict(await (await get_services()).features.stages.fit(UUID(payload["feature_set_id"])))


@bp.activity_trigger(input_name="payload")
async def transform_features(payload: Any) -> dict[str, Any]:
    """Run the plan over the whole dataset, or cut a large one into parts."""
    return dict(await (await get_services()).features.stages.transform(UUID(payload["feature_set_id"])))


@bp.activity_trigger(input_name="payload")
async def compute_history(payload: Any) -> dict[str, Any]:
    """Compute one entity's history features for some of its keys."""
    stages = (await get_services()).features.stages
    return dict(await stages.history(UUID(payload["feature_set_id"]), payload["part"], payload["parts_done"]))


@bp.activity_trigger(input_name="payload")
async def compute_range(payload: Any) -> dict[str, Any]:
    """Compute all features of a range of rows."""
    stages = (await get_services()).features.stages
    return dict(await stages.range_of_features(UUID(payload["feature_set_id"]), payload["part"], payload["parts_done"]))


@bp.activity_trigger(input_name="payload")
async def join_ranges(payload: Any) -> dict[str, Any]:
    """Put the ranges together."""
    stages = (await get_services()).features.stages
    return dict(await stages.join(UUID(payload["feature_set_id"]), payload["parts_done"]))


@bp.activity_trigger(input_name="payload")
async def select_features(payload: Any) -> dict[str, Any]:
    """Choose features and profile them."""
    return dict(await (await get_services()).features.stages.select(UUID(payload["feature_set_id"])))


@bp.activity_trigger(input_name="payload")
async def save_features(payload: Any) -> dict[str, Any]:
    """Write the results into the row."""
    return dict(await (await get_services()).features.stages.save(UUID(payload["feature_set_id"])))


@bp.activity_trigger(input_name="payload")
async def fail_features(payload: Any) -> dict[str, Any]:
    """End a set whose activities kept failing."""
    stages = (await get_services()).features.stages
    return dict(await stages.fail(UUID(payload["feature_set_id"]), payload["message"]))
