"""Rules and figures."""

from datetime import UTC, datetime
from math import nan
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from shared.alerts.metrics import METRICS
from shared.alerts.model import Severity, Source
from shared.alerts.rules import Observation, Rule, RuleSettings, cause_of, is_broken, signal_of, watches
from shared.monitoring.drift import DriftPolicy
from shared.monitoring.fairness import DEFAULT_LIMITS

MODEL = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rule(**given: object) -> Rule:
    settings = {"name": "Drift of amounts", "metric": "psi", "operator": "gte", "threshold": 0.25, **given}
    return Rule.model_validate(
        {**settings, "id": UUID(int=9), "created_by": None, "created_at": NOW, "updated_at": NOW}
    )


def seen(**given: object) -> Observation:
    return Observation(**{"metric": "psi", "value": 0.3, "model_id": MODEL, "window_end": NOW, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "figure", "expected"),
    [
        ({}, {}, True),
        ({}, {"subject": "amount"}, True),
        ({"subject": "amount"}, {"subject": "amount"}, True),
        ({"subject": "amount"}, {}, False),
        ({"subject": "amount"}, {"subject": "country"}, False),
        ({"model_id": MODEL}, {}, True),
        ({"model_id": uuid4()}, {}, False),
        ({}, {"metric": "recall"}, False),
    ],
)
def test_a_rule_watches_what_it_names(given: dict[str, object], figure: dict[str, object], expected: bool) -> None:
    """Metric always, model and subject where they are given."""
    assert watches(rule(**given), seen(**figure)) is expected


@pytest.mark.parametrize(
    ("operator", "broken_by"),
    [("gte", [1.0, 2.0]), ("gt", [2.0]), ("lte", [0.0, 1.0]), ("lt", [0.0]), ("eq", [1.0])],
)
def test_a_rule_is_broken_when_the_relation_holds(operator: str, broken_by: list[float]) -> None:
    """At, below and above the threshold; not a number breaks nothing."""
    limit = rule(operator=operator, threshold=1.0)
    assert [value for value in (0.0, 1.0, 2.0, nan) if is_broken(limit, value)] == broken_by


def test_the_signal_names_rule_figure_and_limit() -> None:
    """Its source is the metric's, its cause is one a rule, model and subject."""
    limit = rule(severity="CRITICAL", auto_retrain=True, windows=3)
    signal = signal_of(limit, seen(subject="amount", value=0.31234), 3)
    assert signal.title == "Drift of amounts: psi of amount is 0.3123 (≥ 0.25)"
    assert (signal.source, signal.severity, signal.retrain) == (Source.DRIFT, Severity.CRITICAL, True)
    assert signal.cause == cause_of(limit, seen(subject="amount")) != cause_of(limit, seen())
    assert signal.details["windows"] == 3


@pytest.mark.parametrize(
    "given",
    [
        {"metric": "psy"},
        {"operator": "=="},
        {"threshold": nan},
        {"threshold": "high"},
        {"windows": 0},
        {"cool_down_minutes": -1},
        {"name": " "},
        {"severity": "URGENT"},
        {"colour": "red"},
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, object]) -> None:
    """Each names its field."""
    with pytest.raises(ValidationError) as refused:
        RuleSettings.model_validate({"name": "a", "metric": "psi", "operator": "gte", "threshold": 0.2, **given})
    assert refused.value.errors()[0]["loc"] == tuple(given)


def test_rules_may_watch_every_figure_that_has_a_limit() -> None:
    """Of drift and of bias: what the built-in limits look at, people may set limits on."""
    assert set(DriftPolicy().limits) | set(DEFAULT_LIMITS) <= set(METRICS)
