"""The promotion gate."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import ValidationError

from shared.registry.model import Baseline, NewBaseline, NewBaselines, Operator, judge


def _baseline(metric: str, operator: Operator, threshold: float, *, active: bool = True) -> Baseline:
    return Baseline(
        id=uuid4(),
        model_id=uuid4(),
        metric=metric,
        operator=operator,
        threshold=threshold,
        is_active=active,
        created_by=None,
        created_at=datetime.now(UTC),
    )


@pytest.mark.parametrize(
    ("operator", "value", "passes"),
    [
        (Operator.GTE, 0.9, True),
        (Operator.GTE, 0.8999, False),
        (Operator.GT, 0.9, False),
        (Operator.GT, 0.9001, True),
        (Operator.LTE, 0.9, True),
        (Operator.LTE, 0.9001, False),
        (Operator.LT, 0.9, False),
        (Operator.LT, 0.8999, True),
        (Operator.EQ, 0.9, True),
        (Operator.EQ, 0.9 + 1e-15, True),
        (Operator.EQ, 0.9001, False),
    ],
)
def test_a_baseline_compares_at_its_threshold(operator: Operator, value: float, passes: bool) -> None:
    """Each operator is exact about the threshold itself."""
    verdict = judge([_baseline("precision", operator, 0.9)], {"precision": value})
    assert verdict.passed is passes
    assert verdict.checks[0].value == value


@pytest.mark.parametrize("recorded", [{}, {"precision": None}, {"precision": float("nan")}, {"precision": "high"}])
def test_a_metric_that_was_not_recorded_fails(recorded: dict[str, object]) -> None:
    """Absence of evidence does not pass the gate."""
    assert not judge([_baseline("precision", Operator.LTE, 1.0)], recorded).passed


def test_one_failing_baseline_fails_the_gate_and_all_are_reported() -> None:
    """The verdict holds every number, not only the first failure."""
    verdict = judge(
        [_baseline("precision", Operator.GTE, 0.5), _baseline("recall", Operator.GTE, 0.9)],
        {"precision": 0.8, "recall": 0.7},
    )
    assert [check.passed for check in verdict.checks] == [True, False]
    assert not verdict.passed


def test_inactive_baselines_do_not_count() -> None:
    """Switching a baseline off takes it out of the gate."""
    verdict = judge([_baseline("precision", Operator.GTE, 0.9, active=False)], {"precision": 0.1})
    assert verdict.passed
    assert verdict.checks == ()


def test_a_metric_may_be_set_once_a_request() -> None:
    """Two thresholds for one metric in one request would leave the winner to chance."""
    twice = NewBaseline(metric="recall", operator=Operator.GTE, threshold=0.5)
    with pytest.raises(ValidationError):
        NewBaselines(baselines=[twice, twice])


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_a_threshold_is_finite(threshold: float) -> None:
    """NaN compares with nothing, infinity with everything."""
    with pytest.raises(ValidationError):
        NewBaseline(metric="recall", operator=Operator.GTE, threshold=threshold)
