"""The promotion gate."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from shared.registry.gate import faulty_baselines, faulty_rules, judge
from shared.registry.lifecycle import ModelStatus
from shared.registry.metrics import BETTER
from shared.registry.model import Model
from shared.registry.rules import (
    Baseline,
    Bound,
    ChampionRule,
    NewBaseline,
    NewBaselines,
    NewChampionRule,
    NewChampionRules,
    Operator,
    Unit,
)
from shared.training.evaluation import evaluate

NOW = datetime.now(UTC)
INTERVALS = {"recall": {"low": 0.7, "high": 0.88}, "fpr": {"low": 0.03, "high": 0.06}}
RECALL = {"recall": 0.8, "fpr": 0.04, "intervals": INTERVALS}


def _baseline(
    metric: str, operator: Operator, threshold: float, bound: Bound = Bound.VALUE, *, active: bool = True
) -> Baseline:
    return Baseline(
        id=uuid4(),
        model_id=uuid4(),
        metric=metric,
        operator=operator,
        threshold=threshold,
        bound=bound,
        is_active=active,
        created_by=None,
        created_at=NOW,
    )


def _rule(metric: str, tolerance: float, unit: Unit = Unit.ABSOLUTE, *, active: bool = True) -> ChampionRule:
    return ChampionRule(
        id=uuid4(),
        model_id=uuid4(),
        metric=metric,
        tolerance=tolerance,
        unit=unit,
        is_active=active,
        created_by=None,
        created_at=NOW,
    )


def _champion(**metrics: Any) -> Model:
    absent = dict.fromkeys(Model.model_fields)
    return Model.model_validate(
        {
            **absent,
            "id": uuid4(),
            "name": "champion",
            "version": "1",
            "algorithm": "xgboost",
            "hyperparameters": {},
            "storage_path": "models/x/",
            "metrics": metrics,
            "status": ModelStatus.PRODUCTION,
            "created_at": NOW,
            "updated_at": NOW,
        }
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


@pytest.mark.parametrize(
    ("bound", "operator", "metric", "compared"),
    [
        (Bound.VALUE, Operator.GTE, "recall", 0.8),
        (Bound.LOWER, Operator.GTE, "recall", 0.7),
        (Bound.UPPER, Operator.GTE, "recall", 0.88),
        (Bound.PESSIMISTIC, Operator.GTE, "recall", 0.7),
        (Bound.PESSIMISTIC, Operator.GT, "recall", 0.7),
        (Bound.PESSIMISTIC, Operator.LTE, "fpr", 0.06),
        (Bound.PESSIMISTIC, Operator.LT, "fpr", 0.06),
    ],
)
def test_a_bound_chooses_the_number_that_is_compared(
    bound: Bound, operator: Operator, metric: str, compared: float
) -> None:
    """The pessimistic one is the end on the operator's wrong side; the figure and its interval are kept beside it."""
    (check,) = judge([_baseline(metric, operator, 0.75, bound)], RECALL).checks
    assert check.compared == compared
    assert check.passed is (compared >= 0.75 if operator in {Operator.GTE, Operator.GT} else compared <= 0.75)
    interval = INTERVALS[metric]
    assert (check.value, check.low, check.high) == (RECALL[metric], interval["low"], interval["high"])


@pytest.mark.parametrize("recorded", [{}, {"precision": None}, {"precision": float("nan")}, {"precision": "high"}])
def test_a_metric_that_was_not_recorded_fails(recorded: dict[str, object]) -> None:
    """Absence of evidence does not pass the gate."""
    assert not judge([_baseline("precision", Operator.LTE, 1.0)], recorded).passed


@pytest.mark.parametrize(
    "intervals", [{}, {"intervals": None}, {"intervals": {"recall": None, "method": {"level": 0.95}}}]
)
def test_a_bound_that_was_not_recorded_fails(intervals: dict[str, Any]) -> None:
    """However good the figure itself is."""
    assert not judge([_baseline("recall", Operator.GTE, 0.1, Bound.LOWER)], {"recall": 0.9, **intervals}).passed


def test_one_failing_baseline_fails_the_gate_and_all_are_reported() -> None:
    """The verdict holds every number, not only the first failure."""
    verdict = judge(
        [_baseline("precision", Operator.GTE, 0.5), _baseline("recall", Operator.GTE, 0.9)],
        {"precision": 0.8, "recall": 0.7},
    )
    assert [check.passed for check in verdict.checks] == [True, False]
    assert not verdict.passed
    assert [(fault.field, fault.message) for fault in verdict.faults] == [("recall", "is 0.7, must be gte 0.9")]


def test_inactive_rules_do_not_count() -> None:
    """Switching one off takes it out of the gate."""
    off = _baseline("precision", Operator.GTE, 0.9, active=False), _rule("precision", 0, active=False)
    verdict = judge([off[0]], {"precision": 0.1}, [off[1]], _champion(precision=0.9))
    assert verdict.passed
    assert (verdict.checks, verdict.champion_checks) == ((), ())


@pytest.mark.parametrize(
    ("metric", "unit", "value", "champion", "passes"),
    [
        ("auc_pr", Unit.ABSOLUTE, 0.78, 0.8, True),
        ("auc_pr", Unit.ABSOLUTE, 0.7799, 0.8, False),
        ("auc_pr", Unit.ABSOLUTE, 0.9, 0.8, True),
        ("auc_pr", Unit.RELATIVE, 0.784, 0.8, True),
        ("auc_pr", Unit.RELATIVE, 0.7839, 0.8, False),
        ("fpr", Unit.ABSOLUTE, 0.07, 0.05, True),
        ("fpr", Unit.ABSOLUTE, 0.0701, 0.05, False),
        ("fpr", Unit.ABSOLUTE, 0.0, 0.05, True),
        ("fpr", Unit.RELATIVE, 0.051, 0.05, True),
        ("fpr", Unit.RELATIVE, 0.0511, 0.05, False),
    ],
)
def test_a_model_may_be_worse_than_the_champion_by_the_tolerance(
    metric: str, unit: Unit, value: float, champion: float, passes: bool
) -> None:
    """By 0.02 or by 2 %, in the direction that is worse for the metric, and not by a rounding error less."""
    (check,) = judge([], {metric: value}, [_rule(metric, 0.02, unit)], _champion(**{metric: champion})).champion_checks
    assert check.passed is passes
    assert (check.value, check.champion) == (value, champion)


def test_without_a_champion_its_rules_hold() -> None:
    """The first model has nothing to be compared with, but must have the figure."""
    assert judge([], {"recall": 0.1}, [_rule("recall", 0)]).passed
    assert not judge([], {}, [_rule("recall", 0)]).passed


def test_a_champion_without_the_figure_fails_the_rule() -> None:
    """What cannot be compared was not shown to be as good."""
    verdict = judge([], {"recall": 0.9}, [_rule("recall", 0.1)], _champion(flag_rate=0.01))
    assert [fault.message for fault in verdict.faults] == [
        "cannot be compared: the model in production has no such figure"
    ]


def test_warnings_belong_to_champion_rules() -> None:
    """Without one nothing was compared, so nothing is warned of."""
    champion = _champion(recall=0.8)
    assert judge([], RECALL, [_rule("recall", 0)], champion, ["other data"]).warnings == ("other data",)
    assert judge([], RECALL, [], champion, ["other data"]).warnings == ()


def test_rules_that_could_never_be_answered_are_refused_by_position() -> None:
    """A misspelt metric, an interval that was not recorded, a metric without a better side."""
    metrics = {"recall": 0.8, "flag_rate": 0.01}
    wanted = [
        NewBaseline(metric="recall", operator=Operator.GTE, threshold=0.5),
        NewBaseline(metric="recal", operator=Operator.GTE, threshold=0.5),
        NewBaseline(metric="recall", operator=Operator.GTE, threshold=0.5, bound=Bound.LOWER),
    ]
    assert [fault.field for fault in faulty_baselines(wanted, metrics)] == ["baselines.1.metric", "baselines.2.bound"]
    rules = [NewChampionRule(metric=metric, tolerance=0.1) for metric in ("recall", "flag_rate", "precision")]
    assert [fault.field for fault in faulty_rules(rules, metrics)] == ["rules.1.metric", "rules.2.metric"]


def test_a_metric_may_be_set_once_a_request() -> None:
    """Two thresholds for one metric in one request would leave the winner to chance."""
    twice = NewBaseline(metric="recall", operator=Operator.GTE, threshold=0.5)
    with pytest.raises(ValidationError):
        NewBaselines(baselines=[twice, twice])
    rule = NewChampionRule(metric="recall", tolerance=0.1)
    with pytest.raises(ValidationError):
        NewChampionRules(rules=[rule, rule])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_of_rules_are_finite(number: float) -> None:
    """NaN compares with nothing, infinity with everything."""
    with pytest.raises(ValidationError):
        NewBaseline(metric="recall", operator=Operator.GTE, threshold=number)
    with pytest.raises(ValidationError):
        NewChampionRule(metric="recall", tolerance=number)


def test_equality_has_no_pessimistic_bound() -> None:
    """Neither end of an interval is the worse one for eq."""
    with pytest.raises(ValidationError, match="worse side"):
        NewBaseline(metric="recall", operator=Operator.EQ, threshold=0.5, bound=Bound.PESSIMISTIC)


def test_every_figure_of_an_evaluation_has_a_better_side_or_only_describes() -> None:
    """A figure that training adds must be sorted in here."""
    figures = evaluate([0.1, 0.9, 0.4, 0.8], [0, 1, 0, 1], 0.5)
    describing = {"threshold", "rows", "frauds", "fraud_rate", "flag_rate", "confusion"}
    later = {"precision_at_capacity", "recall_at_capacity", "cost_per_transaction"}
    assert set(figures) - describing == set(BETTER) - later
