"""Fitting, reading and selecting plans; values of features worked out by hand."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan, transform
from shared.features.config import FeatureConfig
from shared.features.fitting import column_type, training_part
from shared.features.inference import infer_config
from shared.features.online import compile_plan
from shared.features.plan import FeaturePlan
from shared.platform.errors import InvalidContent

ROWS = 400


def _frame() -> pl.DataFrame:
    """400 transactions, one every two hours."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "transaction_id": [f"t{i}" for i in range(ROWS)],
            "transaction_time": [start + timedelta(hours=2 * i) for i in range(ROWS)],
            "amount": [float(i % 50) + (0.5 if i % 3 else 0.0) for i in range(ROWS)],
            "items": [i % 4 for i in range(ROWS)],
            "sequence": list(range(1000, 1000 + ROWS)),
            "constant": [1.0] * ROWS,
            "nothing": pl.Series([None] * ROWS, dtype=pl.String),
            "session": [f"s{i}" for i in range(ROWS)],
            "country": [("GB", "US", "US", None)[i % 4] for i in range(ROWS)],
            "merchant": [("m1" if i % 2 else f"m{i % 16}") for i in range(ROWS)],
            "account_created_at": [start - timedelta(days=i % 90) for i in range(ROWS)],
            "gender": ["f", "m"] * (ROWS // 2),
            "is_fraud": [int(i % 10 == 0) for i in range(ROWS)],
        }
    )


def _config(frame: pl.DataFrame, **changes: Any) -> FeatureConfig:
    columns = [Column(name=n, type=column_type(t) or "string", nullable=True) for n, t in frame.schema.items()]
    defaults = {"one_hot_limit": 5, "groups": ["transaction", "temporal"]} | (
        {"frequency_columns": ["merchant"]} if "merchant" in frame.columns else {}
    )
    return infer_config(DatasetSchema(columns=columns), FeatureConfig.model_validate(defaults | changes))


@pytest.fixture(scope="module")
def plan() -> FeaturePlan:
    """The default plan of the frame above."""
    return fit_plan(_frame().lazy(), _config(_frame()))


def _transaction(**changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": "x", "transaction_time": "2026-03-07T23:30:00Z", "amount": 20.0, "items": 2, "country": "GB",
        "merchant": "m1", "account_created_at": "2026-03-06T11:30:00", "gender": "f", "sequence": 5,
    } | changes  # fmt: skip


def _features(plan: FeaturePlan, transaction: dict[str, Any]) -> dict[str, float]:
    vector = compile_plan(plan).vector(transaction)
    assert vector.dtype == np.float32
    return dict(zip(plan.feature_names, vector.tolist(), strict=True))


def test_features_have_the_values_worked_out_by_hand(plan: FeaturePlan) -> None:
    """A Saturday night's purchase of 20 for 2 items by a card holder of a day and a half."""
    found = _features(plan, _transaction())
    amounts = _frame()["amount"]
    expected = {
        "amount": 20.0,
        "amount_log": math.log(21),
        "amount_zscore": (20 - amounts.mean()) / amounts.std(ddof=0),  # type: ignore[operator]
        "amount_is_high": 0.0,
        "amount_is_round": 1.0,
        "amount_to_items_ratio": 10.0,
        "hour": 23.0,
        "day_of_week": 5.0,
        "day_of_month": 7.0,
        "month": 3.0,
        "is_weekend": 1.0,
        "is_night": 1.0,
        "hour_sin": math.sin(2 * math.pi * 23 / 24),
        "hour_cos": math.cos(2 * math.pi * 23 / 24),
        "days_since_account_created_at": 1.5,
        "country_is_GB": 1.0,
        "country_is_US": 0.0,
        "country_missing": 0.0,
        "merchant_frequency": 0.5,  # 225 of 400 rows, to the nearest power of two
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_missing_and_unseen_values_are_defined(plan: FeaturePlan) -> None:
    """Missing is NaN but for its own indicator; an unseen category is none of the known ones and has frequency 0."""
    missing = _features(plan, _transaction(country=None, items=None, account_created_at=None))
    assert missing["country_missing"] == 1.0
    assert all(math.isnan(missing[n]) for n in ("country_is_GB", "items", "amount_to_items_ratio"))
    assert math.isnan(missing["days_since_account_created_at"])
    unseen = _features(plan, _transaction(country="ZZ", merchant="new"))
    assert unseen["country_is_GB"] == unseen["country_is_US"] == unseen["merchant_frequency"] == 0.0
    assert math.isnan(_features(plan, _transaction(items=0))["amount_to_items_ratio"])


def test_columns_that_must_not_become_features_do_not(plan: FeaturePlan) -> None:
    """Label, id, protected, constant, empty, identifier and clock columns are excluded, each with a reason."""
    reasons = {exclusion.column: exclusion.reason for exclusion in plan.exclusions}
    assert set(reasons) == {"transaction_id", "sequence", "constant", "nothing", "session", "gender", "is_fraud"}
    assert "clock" in reasons["sequence"]
    assert "identifier" in reasons["session"]
    assert set(plan.input_columns).isdisjoint(reasons)


def test_a_required_field_must_be_there(plan: FeaturePlan) -> None:
    """Amount and time are required where the plan uses them; every fault is named at once."""
    online = compile_plan(plan)
    with pytest.raises(InvalidContent) as refusal:
        online.vector({"country": 5, "items": True})
    told = {detail.field: detail.message for detail in refusal.value.details}
    assert told == {
        "amount": "is required",
        "transaction_time": "is required",
        "country": "must be a string, not a number",
        "items": "must be a number, not a boolean",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "12.50"), ("amount", float("nan")), ("amount", float("inf")), ("amount", True), ("amount", [1]),
        ("amount", 10**400), ("transaction_time", 1767225600), ("transaction_time", "yesterday"), ("country", 44),
        ("country", {"code": "GB"}), ("merchant", False), ("transaction_time", "0001-01-01T00:00:00+14:00"),
    ],
)  # fmt: skip
def test_wrong_types_are_refused(plan: FeaturePlan, field: str, value: Any) -> None:
    """A value of another type is refused by name, never guessed at."""
    with pytest.raises(InvalidContent) as refusal:
        compile_plan(plan).vector(_transaction(**{field: value}))
    assert [detail.field for detail in refusal.value.details] == [field]


def test_fields_the_plan_does_not_read_are_ignored(plan: FeaturePlan) -> None:
    """More fields than needed change nothing, whatever they hold."""
    plain, more = _features(plan, _transaction()), _features(plan, _transaction(basket=[{"sku": 1}], sequence="x"))
    assert plain == more


def test_a_plan_survives_json_and_keeps_its_hash(plan: FeaturePlan) -> None:
    """Reading what was written gives an equal plan; any change gives another hash."""
    again = FeaturePlan.from_json(plan.to_json())
    assert again == plan
    assert again.content_hash == plan.content_hash
    assert plan.select(plan.feature_names[:-1]).content_hash != plan.content_hash


def test_the_same_data_gives_the_same_plan(plan: FeaturePlan) -> None:
    """Fitting is deterministic, ties between categories included."""
    assert fit_plan(_frame().lazy(), _config(_frame())).content_hash == plan.content_hash


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"features": [{"kind": "python", "name": "f", "code": "import os"}]},
        {"features": [{"kind": "raw", "name": "f", "column": "country"}]},
        {"features": [{"kind": "raw", "name": "f", "column": "unknown"}]},
        {"features": [{"kind": "raw", "name": "a b", "column": "amount"}]},
        {"features": [{"kind": "zscore", "name": "f", "column": "amount", "mean": 0, "inverse_std": float("inf")}]},
        {
            "features": [
                {"kind": "raw", "name": "f", "column": "amount"},
                {"kind": "log", "name": "f", "column": "amount"},
            ]
        },
    ],
)
def test_a_tampered_plan_is_refused(plan: FeaturePlan, change: dict[str, Any]) -> None:
    """Unknown versions and kinds, impossible reads, bad names and non-finite parameters never load."""
    document = json.loads(plan.to_json()) | change
    with pytest.raises(ValidationError):
        FeaturePlan.from_json(document)


def test_selecting_keeps_only_the_inputs_needed(plan: FeaturePlan) -> None:
    """A plan of one feature reads one column and requires no other."""
    chosen = plan.select(["country_is_US"])
    assert chosen.input_columns == ("country",)
    assert compile_plan(chosen).vector({"country": "US"}).tolist() == [1.0]
    with pytest.raises(InvalidContent, match="no_such"):
        plan.select(["no_such"])


def test_a_dataset_of_another_shape_is_refused(plan: FeaturePlan) -> None:
    """Columns that are gone or have another type are all named."""
    frame = _frame().drop("items").with_columns(pl.col("country").is_null().alias("country"))
    with pytest.raises(InvalidContent) as refusal:
        transform(plan, frame.lazy())
    assert {detail.field for detail in refusal.value.details} == {"items", "country"}


def test_the_training_part_ends_before_the_rest_begins() -> None:
    """The earliest rows, equal times together, rows without a time never."""
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=d) for d in (5, 1, 2, 2, 2, 3, 4)]
    frame = pl.DataFrame({"t": [*moments, None], "n": range(8)})
    part, until = training_part(frame.lazy(), "t", 0.3)
    assert until == moments[2]
    assert sorted(part.collect()["n"]) == [1, 2, 3, 4]


def test_a_plan_is_fitted_on_its_part_alone() -> None:
    """What happens after the training part leaves no trace in the plan."""
    frame = _frame()
    config = _config(frame)
    part, _ = training_part(frame.lazy(), "transaction_time", 0.5)
    late = pl.col("transaction_time") > part.select(pl.col("transaction_time").max()).collect().item()
    changed = frame.with_columns(pl.when(late).then(1e6).otherwise("amount").alias("amount"))
    other, _ = training_part(changed.lazy(), "transaction_time", 0.5)
    assert fit_plan(part, config).content_hash == fit_plan(other, config).content_hash


def test_names_that_would_collide_stay_apart() -> None:
    """A column called hour and categories that read alike give distinct, valid names."""
    frame = _frame().with_columns(
        pl.Series("hour", [i % 7 for i in range(ROWS)]), pl.Series("country", ["a b", "a-b", "", "日本"] * (ROWS // 4))
    )
    names = fit_plan(frame.lazy(), _config(frame)).feature_names
    assert len(set(names)) == len(names)
    assert {"hour", "hour_2", "country_is_日本"} <= set(names)


def test_values_beyond_float32_stay_finite(plan: FeaturePlan) -> None:
    """A double that float32 cannot hold becomes its largest value, never an infinity that a model would refuse."""
    found = _features(plan, _transaction(amount=1e300))
    assert found["amount"] == float(np.finfo(np.float32).max)
    assert np.isfinite(found["amount_zscore"])


def test_column_names_that_polars_would_take_for_patterns_are_names() -> None:
    """A column called ``*`` or ``^a.*$`` is that column and no other."""
    frame = _frame().rename({"amount": "^a.*$", "items": "*"})
    plan = fit_plan(frame.lazy(), _config(frame, amount_column="^a.*$", ratios=(), durations=()))
    raw = plan.select([f.name for f in plan.features if f.kind == "raw"])
    assert set(raw.input_columns) == {"^a.*$", "*"}
    row = frame.row(7, named=True)
    expected = compile_plan(raw).vector(row)
    np.testing.assert_array_equal(transform(raw, frame.lazy()).collect().row(7), expected)
    assert sorted(expected) == sorted([row["^a.*$"], row["*"]])


def test_entities_are_encoded_by_frequency_only_on_demand() -> None:
    """The population of cards or merchants grows: a newcomer would look like a stranger to a model fitted earlier."""
    columns = [Column(name=n, type=column_type(t) or "string", nullable=True) for n, t in _frame().schema.items()]
    schema = DatasetSchema(columns=columns)
    for given, wanted in (
        (FeatureConfig(one_hot_limit=5), False),
        (FeatureConfig(one_hot_limit=5, categorical_columns=("merchant",)), True),
        (FeatureConfig(one_hot_limit=5, frequency_columns=("merchant",)), True),
    ):
        plan = fit_plan(_frame().lazy(), infer_config(schema, given))
        assert ("merchant_frequency" in plan.feature_names) is wanted
