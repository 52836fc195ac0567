"""History features: values worked out by hand, what a plan needs of events, and what is refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan, transform
from shared.features.config import HISTORY_BY_DEFAULT, FeatureConfig, HistoryFeature
from shared.features.fitting import column_type
from shared.features.history.events import MISSING, fixed_point, hash_series, hash_text, pair_key
from shared.features.history.timeline import Timeline
from shared.features.history.window import EntityHistory
from shared.features.inference import infer_config
from shared.features.online import compile_plan
from shared.features.plan import FeaturePlan
from shared.features.tables import write_feature_table
from shared.platform.errors import InvalidContent

_START = datetime(2026, 1, 1, tzinfo=UTC)
_FEATURES: tuple[dict[str, Any], ...] = (
    {"entity": ["card_id"], "function": "count", "window": "1h"},
    {"entity": ["card_id"], "function": "sum", "window": "1d", "column": "amount"},
    {"entity": ["card_id"], "function": "std", "window": "1d", "column": "amount"},
    {"entity": ["card_id"], "function": "deviation", "window": "1d", "column": "amount"},
    {"entity": ["card_id"], "function": "distinct", "window": "1d", "column": "shop_id"},
    {"entity": ["card_id"], "function": "entropy", "window": "1d", "column": "shop_id"},
    {"entity": ["card_id"], "function": "time_since_last", "window": "90d"},
    {"entity": ["card_id", "shop_id"], "function": "first_time", "window": "90d"},
    {"entity": ["card_id"], "function": "acceleration", "window": "1h", "baseline": "1d"},
    {"entity": ["shop_id"], "function": "fraud_rate", "window": "7d"},
    {"entity": ["shop_id"], "function": "known_count", "window": "7d"},
)


def _frame() -> pl.DataFrame:
    """One card's purchases of a day; the label of each is known six hours later."""
    hours = [0.0, 10.0, 23.5, 23.75, 24.0, 24.0]
    return pl.DataFrame(
        {
            "transaction_id": ["a", "b", "c", "d", "e", "e"],
            "transaction_time": [_START + timedelta(hours=hour) for hour in hours],
            "card_id": ["k"] * 6,
            "shop_id": ["x", "y", "x", "x", "x", "x"],
            "amount": [10.0, 20.25, None, 30.5, 40.0, 40.0],
            "is_fraud": [1, 0, 0, 1, 0, 0],
        }
    )


def _schema(frame: pl.DataFrame) -> DatasetSchema:
    columns = [Column(name=n, type=column_type(t) or "string", nullable=True) for n, t in frame.schema.items()]
    return DatasetSchema(columns=columns)


def _plan(*features: dict[str, Any], **changes: Any) -> FeaturePlan:
    config = {"groups": ["behavioural"], "history": features or _FEATURES, "label_delay_days": 0.25} | changes
    return fit_plan(_frame().lazy(), infer_config(_schema(_frame()), FeatureConfig.model_validate(config)))


def test_features_have_the_values_worked_out_by_hand() -> None:
    """The purchase at hour 24: the one at hour 0 is just inside a day, its own twin and its own label are not seen."""
    plan = _plan()
    found = dict(zip(plan.feature_names, transform(plan, _frame().lazy()).collect().row(4), strict=True))
    amounts = np.array([10.0, 20.25, 30.5])
    share = np.array([0.75, 0.25])
    expected = {
        "card_id_count_1h": 2,
        "card_id_amount_sum_1d": 60.75,
        "card_id_amount_std_1d": amounts.std(),
        "card_id_amount_deviation_1d": (40 - amounts.mean()) / amounts.std(),
        "card_id_distinct_shop_id_1d": 2,
        "card_id_shop_id_entropy_1d": -(share * np.log2(share)).sum(),
        "card_id_time_since_last_90d": 900,
        "card_id_shop_id_first_time_90d": 0,
        "card_id_acceleration_1h_1d": 2 / (4 / 24),
        "shop_id_fraud_rate_7d": 1.0,
        "shop_id_known_count_7d": 1,
    }
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_first_transaction_has_an_empty_past() -> None:
    """Nothing happened before the first row: counts are 0, averages are missing, the pair is new."""
    plan = _plan()
    found = dict(zip(plan.feature_names, transform(plan, _frame().lazy()).collect().row(0), strict=True))
    assert (found["card_id_count_1h"], found["card_id_amount_sum_1d"], found["card_id_shop_id_first_time_90d"]) == (
        0.0, 0.0, 1.0,
    )  # fmt: skip
    for name in ("card_id_amount_std_1d", "card_id_time_since_last_90d", "shop_id_fraud_rate_7d"):
        assert np.isnan(found[name])


def test_the_feature_table_is_what_transform_gives(tmp_path: Path) -> None:
    """Features that pass through files on their way to the table are the same, whatever the file's order of rows."""
    plan = _plan()
    source, table = tmp_path / "data.parquet", tmp_path / "features.parquet"
    _frame().sample(fraction=1, shuffle=True, seed=3).write_parquet(source)
    write_feature_table(plan, source, table)
    written = pl.read_parquet(table)
    assert written["__id"].to_list() == ["a", "b", "c", "d", "e", "e"]
    np.testing.assert_array_equal(
        written.select(plan.feature_names).to_numpy(), transform(plan, _frame().lazy()).collect().to_numpy()
    )
    assert set(tmp_path.iterdir()) == {source, table}


def test_the_layout_says_what_to_keep() -> None:
    """Entities, fixed-point numbers, codes and the longest window; equal however the features are ordered."""
    plan = _plan()
    layout = plan.layout
    assert layout is not None
    assert layout.entities == (("card_id",), ("card_id", "shop_id"), ("shop_id",))
    assert layout.numbers == (("amount", 2),)
    assert layout.codes == ("shop_id",)
    assert layout.span_us == 90 * 86_400_000_000
    assert layout.uses_labels
    assert plan.select(reversed(plan.feature_names)).layout == layout
    assert plan.select(["card_id_count_1h"]).layout != layout
    assert FeaturePlan.from_json(plan.to_json()).layout == layout


@pytest.mark.parametrize(("values", "decimals"), [([2.0, 7.0], 0), ([0.1, 0.29, 1138.57], 2), ([1 / 3, 0.5], 6)])
def test_decimals_are_the_fewest_that_hold_the_amounts(values: list[float], decimals: int) -> None:
    """Amounts in cents are kept in cents; what no 6 places hold is rounded to them."""
    frame = _frame().with_columns(amount=pl.Series((values * 6)[:6]))
    config = FeatureConfig.model_validate({"groups": ["behavioural"], "history": _FEATURES, "label_delay_days": 1})
    layout = fit_plan(frame.lazy(), infer_config(_schema(frame), config)).layout
    assert layout is not None
    assert layout.numbers == (("amount", decimals),)


def test_values_are_said_in_words() -> None:
    """Reasons of a decision read like sentences, with spans of time and shares as people write them."""
    values = [2, 1, 1, -1.5, 2, 1, 5400, 1, 3, 0.125, 4]
    said = {feature.name: feature.say(value) for feature, value in zip(_plan().features, values, strict=True)}
    assert said["card_id_time_since_last_90d"] == "the last transaction of this card_id was 1.5 hours earlier"
    assert said["card_id_shop_id_first_time_90d"] == (
        "no earlier transaction of this card_id and shop_id in the last 90d"
    )
    assert said["shop_id_fraud_rate_7d"] == "12.5% of the known transactions of this shop_id in the last 7d were fraud"
    assert said["card_id_amount_deviation_1d"] == (
        "amount is 1.5 standard deviations below its mean of this card_id in the last 1d"
    )
    assert said["card_id_count_1h"] == "Transactions of the same card_id in the last 1h: 2"


def test_a_plan_without_history_has_no_layout() -> None:
    """Scoring reads history only for plans that look at it."""
    plan = fit_plan(_frame().lazy(), infer_config(_schema(_frame()), FeatureConfig(groups=("transaction",))))
    assert plan.layout is None
    assert len(compile_plan(plan).vector(_frame().row(0, named=True))) == len(plan.features)


def test_a_vector_without_its_history_is_refused() -> None:
    """A model that looks at the past is never fed with an empty one by mistake."""
    online = compile_plan(_plan())
    with pytest.raises(InvalidContent, match="past transactions"):
        online.vector(_frame().row(0, named=True))
    with pytest.raises(ValueError, match="card_id"):
        online.vector(_frame().row(0, named=True), {})


def test_a_missing_key_has_no_past() -> None:
    """Without a card nothing is read for it and its features are missing; the shop's are there."""
    plan = _plan()
    transaction = _frame().row(4, named=True) | {"card_id": None}
    online = compile_plan(plan)
    assert [key is None for key in online.event(transaction).keys] == [True, True, False]
    found = dict(zip(plan.feature_names, online.vector(transaction, {("shop_id",): EntityHistory.empty(1, 1)}),
                     strict=True))  # fmt: skip
    assert np.isnan(found["card_id_count_1h"])
    assert found["shop_id_known_count_7d"] == 0.0


def test_events_are_encoded_as_written_down() -> None:
    """Hashes and fixed-point numbers are stored for months: they may never change."""
    assert hash_text("k") == 7193521810918036140
    assert hash_text("") == -5426141060434712860
    assert pair_key(1, 2) != pair_key(2, 1)
    assert fixed_point(0.125, 2) == 12
    assert fixed_point(0.375, 2) == 38
    assert fixed_point(1e300, 6) is None
    event = compile_plan(_plan()).event(_frame().row(1, named=True))
    assert event.numbers == (2025,)
    assert event.keys == (hash_text("k"), pair_key(hash_text("k"), hash_text("y")), hash_text("y"))
    assert event.id_hash == hash_text("b")
    assert hash_series(pl.Series(["k", None, "k"])).tolist() == [hash_text("k"), MISSING, hash_text("k")]


def test_times_are_found_in_groups_that_do_not_fit_one_axis() -> None:
    """Many groups with long spans overflow 64 bits laid end to end; the search goes on in chunks."""
    random = np.random.default_rng(5)
    groups, size = 40, 30
    times = np.sort(random.integers(-(2**60), 2**60, (groups, size)), axis=1)
    timeline = Timeline(times.ravel(), np.arange(0, groups * size + 1, size))
    wanted = np.r_[times[:, 3], times[:, 3] + 1, np.full(groups, -(2**61)), np.full(groups, 2**61)]
    for values in np.split(wanted, 4):
        expected = [g * size + np.searchsorted(times[g], values[g]) for g in range(groups)]
        assert timeline.search(np.arange(groups), values).tolist() == expected
        expected = [g * size + np.searchsorted(times[g], values[g], "right") for g in range(groups)]
        assert timeline.search(np.arange(groups), values, after=True).tolist() == expected


@pytest.mark.parametrize(
    "document",
    [
        {"entity": [], "function": "count", "window": "1h"},
        {"entity": ["a", "a"], "function": "count", "window": "1h"},
        {"entity": ["a", "b", "c"], "function": "count", "window": "1h"},
        {"entity": ["a"], "function": "count", "window": "0h"},
        {"entity": ["a"], "function": "count", "window": "1h", "column": "x"},
        {"entity": ["a"], "function": "sum", "window": "1h"},
        {"entity": ["a"], "function": "acceleration", "window": "1h"},
        {"entity": ["a"], "function": "acceleration", "window": "24h", "baseline": "1d"},
        {"entity": ["a"], "function": "count", "window": "1h", "baseline": "1d"},
        {"entity": ["a"], "function": "median", "window": "1h"},
    ],
)
def test_impossible_history_features_are_refused(document: dict[str, object]) -> None:
    """An empty window, a function without its column, a key of three columns: told before anything runs."""
    with pytest.raises(ValidationError):
        HistoryFeature.model_validate(document)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"history": [{"entity": ["nobody"], "function": "count", "window": "1h"}]}, "config.history"),
        ({"history": [{"entity": ["amount"], "function": "count", "window": "1h"}]}, "config.history"),
        ({"history": [{"entity": ["card_id"], "function": "sum", "window": "1h", "column": "shop_id"}]},
         "config.history"),
        ({"history": [{"entity": ["card_id"], "function": "fraud_rate", "window": "7d"}]}, "config.label_delay_days"),
        ({"history_entities": [["card_id", "nobody"]]}, "config.history_entities"),
        ({"entity_columns": []}, "config.history_entities"),
        ({"groups": ["temporal"], "history": [{"entity": ["card_id"], "function": "count", "window": "1h"}]},
         "config.groups"),
    ],
)  # fmt: skip
def test_a_plan_that_does_not_fit_the_dataset_is_refused(config: dict[str, Any], field: str) -> None:
    """Missing columns, columns of the wrong type, labels nobody knows: the answer names the setting."""
    given = FeatureConfig.model_validate({"groups": ["behavioural"]} | config)
    with pytest.raises(InvalidContent) as refusal:
        infer_config(_schema(_frame()), given)
    assert field in {refusal.value.target, *(detail.field for detail in refusal.value.details)}


def test_a_dataset_without_time_has_no_history() -> None:
    """There is no before without a time column."""
    schema = _schema(_frame().drop("transaction_time"))
    with pytest.raises(InvalidContent) as refusal:
        infer_config(schema, FeatureConfig(groups=("behavioural",)))
    assert "time" in refusal.value.message


def test_defaults_are_told_from_the_columns() -> None:
    """Every key has its features, past labels are looked at once their delay is known, and all can be described."""
    schema = _schema(_frame())
    config = infer_config(schema, FeatureConfig(groups=("behavioural",), label_delay_days=7))
    history = config.history or ()
    assert {feature.entity for feature in history} == {("card_id",), ("shop_id",), ("card_id", "shop_id")}
    assert {feature.window for feature in history if feature.function == "fraud_rate"} == {"8d", "14d", "37d"}
    assert infer_config(schema, config) == config
    plan = fit_plan(_frame().lazy(), config)
    assert len(set(plan.descriptions.values())) == len(plan.features) == len(history) <= 40
    without = infer_config(schema, FeatureConfig(groups=("behavioural",))).history or ()
    assert not any(feature.function in ("fraud_rate", "known_count") for feature in without)


def test_history_is_part_of_the_default_where_there_is_any() -> None:
    """Where there is no time or no entity a plan does without; history that is listed needs no group."""
    given = FeatureConfig()
    everything = infer_config(_schema(_frame()), given)
    assert ("behavioural" in (everything.groups or ())) is (everything.history is not None) is HISTORY_BY_DEFAULT
    listed = FeatureConfig.model_validate({"history": _FEATURES, "label_delay_days": 1})
    assert infer_config(_schema(_frame()), listed).groups == ("transaction", "temporal", "behavioural")
    for column in ("transaction_time", ["card_id", "shop_id"]):
        config = infer_config(_schema(_frame().drop(column)), given)
        assert (config.groups, config.history) == (("transaction", "temporal"), None)


def test_the_time_of_a_label_is_no_feature() -> None:
    """When a chargeback came says that there was one; the column only dates past labels."""
    frame = _frame().with_columns(chargeback_at=pl.col("transaction_time") + timedelta(hours=6))
    config = infer_config(_schema(frame), FeatureConfig(groups=("transaction", "temporal", "behavioural")))
    assert config.label_time_column == "chargeback_at"
    plan = fit_plan(frame.lazy(), config)
    assert "chargeback_at" not in plan.input_columns
    assert any(feature.function == "fraud_rate" for feature in plan.history_features)
