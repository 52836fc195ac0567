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
