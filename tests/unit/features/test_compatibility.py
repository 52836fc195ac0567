"""Whether a plan from elsewhere may be run over a dataset."""

from typing import Any

import pytest

from shared.datasets.model import DatasetSchema
from shared.features import compatibility
from shared.features.compatibility import absent_columns, require_fit, require_sound
from shared.features.plan import FeaturePlan
from shared.platform.errors import InvalidContent

COLUMNS = {
    "amount": "float",
    "time": "datetime",
    "card_id": "string",
    "zip": "integer",
    "is_fraud": "integer",
    "known_at": "datetime",
    "gender": "string",
    "transaction_id": "string",
}
CONFIG = {
    "label_column": "is_fraud",
    "label_time_column": "known_at",
    "time_column": "time",
    "id_column": "transaction_id",
    "protected_columns": ["gender"],
}
COUNT = {
    "kind": "behavioural",
    "name": "card_count",
    "entity": ["card_id"],
    "function": "count",
    "window": "24h",
    "time_column": "time",
}
FEATURES: list[dict[str, Any]] = [
    {"kind": "log", "name": "amount_log", "column": "amount"},
    {"kind": "one_hot", "name": "zip_is_1", "column": "zip", "category": "1"},
    COUNT,
]


def _plan(*more: dict[str, Any], **config: Any) -> FeaturePlan:
    return FeaturePlan.model_validate(
        {
            "config": CONFIG | config,
            "fit": {"rows": 10},
            "inputs": [{"name": name, "type": kind} for name, kind in COLUMNS.items()],
            "features": [*FEATURES, *more],
        }
    ).select([feature["name"] for feature in (*FEATURES, *more)])


def _schema(**changed: str | None) -> DatasetSchema:
    columns = {name: kind for name, kind in (COLUMNS | changed).items() if kind is not None}
    described = [{"name": name, "type": kind, "nullable": False} for name, kind in columns.items()]
    return DatasetSchema.model_validate({"columns": described})


def _refused(plan: FeaturePlan, schema: DatasetSchema) -> dict[str, str]:
    with pytest.raises(InvalidContent) as refusal:
        require_fit(plan, schema, target="plan_of")
    assert refusal.value.target == "plan_of"
    return {detail.field: detail.message for detail in refusal.value.details}


def test_every_column_that_does_not_fit_is_named_at_once() -> None:
    """Missing ones, those of another type, and a whole-number category that has become a fraction."""
    told = _refused(_plan(), _schema(amount=None, card_id="boolean", zip="float", time="string"))
    assert set(told) == {"amount", "card_id", "zip", "time"}
    assert told["amount"] == "the dataset has no such column"
    assert told["card_id"] == "the plan reads a string, the dataset holds a boolean"


def test_a_whole_number_may_stand_for_a_fraction() -> None:
    """Amounts in whole euros are amounts."""
    require_fit(_plan(), _schema(amount="integer"), target="plan")


def test_what_no_feature_reads_may_be_absent() -> None:
    """A dataset to score has no labels; it is told what is not there."""
    schema = _schema(is_fraud=None, known_at=None, gender=None, transaction_id=None, more="string")
    require_fit(_plan(), schema, target="plan")
    assert absent_columns(_plan(), schema) == ("is_fraud", "known_at", "transaction_id", "gender")
    assert absent_columns(_plan(), _schema()) == ()


def test_the_time_column_is_needed_although_no_feature_reads_it() -> None:
    """It gives the table its order, and tells its training part."""
    plan = _plan().select(["amount_log"])
    assert set(_refused(plan, _schema(time=None))) == {"time"}


def test_past_labels_need_labels() -> None:
    """And the time at which each became known."""
    plan = _plan(COUNT | {"name": "rate", "function": "fraud_rate"})
    told = _refused(plan, _schema(is_fraud=None, known_at=None))
    assert set(told) == {"is_fraud", "known_at"}
    assert "looks at past labels" in told["is_fraud"]


def test_a_label_that_is_there_must_be_readable() -> None:
    """A timestamp is no label, and a word is no time."""
    assert set(_refused(_plan(), _schema(is_fraud="datetime", known_at="string"))) == {"is_fraud", "known_at"}


@pytest.mark.parametrize(
    ("feature", "field", "told"),
    [
        ({"kind": "raw", "name": "leak", "column": "is_fraud"}, "plan.features.3", "the label"),
        ({"kind": "missing", "name": "leak", "column": "known_at"}, "plan.features.3", "the label"),
        ({"kind": "missing", "name": "who", "column": "gender"}, "plan.features.3", "protected"),
        ({"kind": "missing", "name": "which", "column": "transaction_id"}, "plan.features.3", "identifier"),
        ({"kind": "raw", "name": "__label", "column": "amount"}, "plan.features.3.name", "reserved"),
    ],
)
def test_a_plan_from_outside_may_not_read_what_no_fitting_would_let_it(
    feature: dict[str, Any], field: str, told: str
) -> None:
    """Neither the label nor a protected column, nor may it write into the table's own columns."""
    with pytest.raises(InvalidContent) as refusal:
        require_sound(_plan(feature), target="plan")
    (detail,) = refusal.value.details
    assert detail.field == field
    assert told in detail.message


def test_a_plan_from_outside_has_one_time() -> None:
    """History by another clock than the table's order would look into the future."""
    with pytest.raises(InvalidContent, match="cannot be used") as refusal:
        require_sound(_plan(time_column="known_at", label_time_column=None), target="plan")
    assert [detail.field for detail in refusal.value.details] == ["plan.config.time_column"]


def test_a_plan_from_outside_says_where_its_past_labels_come_from() -> None:
    """Which column they are in, and when each became known."""
    rate = COUNT | {"name": "rate", "function": "fraud_rate"}
    with pytest.raises(InvalidContent) as refusal:
        require_sound(_plan(rate, label_column=None, label_time_column=None), target="plan")
    fields = [detail.field for detail in refusal.value.details]
    assert fields == ["plan.config.label_column", "plan.config.label_delay_days"]


def test_a_plan_from_outside_is_bounded() -> None:
    """By its features, and more closely by those of history; one without features is none."""
    many = [COUNT | {"name": f"count_{n}"} for n in range(compatibility.MOST_HISTORY_FEATURES)]
    with pytest.raises(InvalidContent) as refusal:
        require_sound(_plan(*many), target="plan")
    assert "at most 500 history features, not 501" in refusal.value.details[0].message
    with pytest.raises(InvalidContent, match="cannot be used"):
        require_sound(_plan().select([]), target="plan")


def test_a_plan_that_fitting_made_is_sound() -> None:
    """No complaint."""
    require_sound(_plan(), target="plan")
