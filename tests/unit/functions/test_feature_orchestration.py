"""The orchestration of feature engineering, driven step by step without a host."""

from unittest.mock import Mock

import azure.durable_functions as df

from functions.orchestrations.feature_engineering import engineer_features


def test_an_activity_that_keeps_failing_fails_the_set() -> None:
    """When all attempts are used up the set is told why, without the trace that hosts append."""
    context = Mock(spec=df.DurableOrchestrationContext)
    context.get_input.return_value = {"feature_set_id": "4f5c1c4e-0000-4000-8000-000000000001"}
    context.call_activity_with_retry.side_effect = lambda name, retry, payload: name
    steps = engineer_features._function.get_user_function().orchestrator_function(context)
    assert next(steps) == "load_dataset"
    assert steps.throw(RuntimeError('disk lost\n  File "/srv/app.py", line 1')) == "fail_features"
    assert context.call_activity_with_retry.call_args.args[2]["message"] == "disk lost"


def test_parts_of_a_large_dataset_go_out_in_waves() -> None:
    """No more than sixteen at once, ranges after all history, each told how many parts are done."""
    context = Mock(spec=df.DurableOrchestrationContext)
    context.get_input.return_value = {"feature_set_id": "4f5c1c4e-0000-4000-8000-000000000001"}
    context.call_activity_with_retry.side_effect = lambda name, retry, payload: (name, payload)
    context.task_all.side_effect = lambda calls: calls
    steps = engineer_features._function.get_user_function().orchestrator_function(context)
    going_on = {"status": "PROCESSING"}
    next(steps)
    steps.send(going_on)
    steps.send(going_on)
    wave = steps.send(going_on | {"parts": {"buckets": 20, "ranges": 3}})
    seen = []
    while isinstance(wave, list):
        seen.append([(name, payload["part"], payload["parts_done"]) for name, payload in wave])
        wave = steps.send([going_on] * len(wave))
    assert wave[0] == "select_features"
    assert seen == [
        [("compute_history", part, 0) for part in range(16)],
        [("compute_history", part, 16) for part in range(16, 20)],
        [("compute_range", part, 20) for part in range(3)],
        [("join_ranges", 0, 23)],
    ]
