"""Target encoding: values worked out by hand, when labels count, what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan, transform
from shared.features.config import FeatureConfig
from shared.features.fitting import column_type
from shared.features.inference import infer_config
from shared.features.kinds.target import Target
from shared.features.online import compile_plan
from shared.features.plan import FeaturePlan
from shared.platform.errors import InvalidContent

_START = datetime(2026, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000
_BEGIN = 20_454 * _DAY  # 2026-01-01


def _frame() -> pl.DataFrame:
    """One transaction a day for eight days, of shop x but for the first, third and last of y; four were fraud."""
    return pl.DataFrame(
        {
            "transaction_id": [f"t{n}" for n in range(8)],
            "transaction_time": [_START + timedelta(days=n) for n in range(8)],
            "amount": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 9.5],
            "shop": ["y", "x", "y", "x", "x", "x", "x", "y"],
            "is_fraud": [0, 1, 0, 0, 1, 1, 0, 1],
            "label_known_at": [_START + timedelta(days=n + 2) for n in range(8)],
            "gender": ["f", "m"] * 4,
        }
    )


def _schema(frame: pl.DataFrame) -> DatasetSchema:
    columns = [Column(name=n, type=column_type(t) or "string", nullable=True) for n, t in frame.schema.items()]
    return DatasetSchema(columns=columns)


def _plan(frame: pl.DataFrame | None = None, **changes: Any) -> FeaturePlan:
    frame = _frame() if frame is None else frame
    settings: dict[str, Any] = {
        "groups": ["transaction"], "target_columns": ["shop"], "target_folds": 2, "target_smoothing": 2,
        "one_hot_limit": 0, "label_delay_days": 0,
    }  # fmt: skip
    return fit_plan(frame.lazy(), infer_config(_schema(frame), FeatureConfig.model_validate(settings | changes)))


def _target(plan: FeaturePlan) -> Target:
    return next(feature for feature in plan.features if isinstance(feature, Target))


def _encode(plan: FeaturePlan, frame: pl.DataFrame) -> list[float]:
    found = transform(plan.select(["shop_target"]), frame.lazy()).collect()["shop_target"]
    return [round(value, 6) for value in found.to_list()]


def _online(plan: FeaturePlan, when: str | None, shop: str | None) -> float:
    return float(compile_plan(plan.select(["shop_target"])).vector({"transaction_time": when, "shop": shop})[0])


def test_encodings_have_the_values_worked_out_by_hand() -> None:
    """The first half has none; the second sees the three days before it, later ones see all eight, smoothed by two."""
    plan = _plan()
    assert _target(plan).instants == (_BEGIN + 3 * _DAY, _BEGIN + 7 * _DAY + 1)
    first, last = 1 / 3, 4 / 8  # shares of fraud when the second half began, and when it had ended
    x, y = (1 + 2 * first) / (1 + 2), (0 + 2 * first) / (2 + 2)
    expected = [np.nan, np.nan, np.nan, x, x, x, x, y]
    np.testing.assert_allclose(_encode(plan, _frame()), expected, atol=1e-6)
    assert _online(plan, "2026-01-09T00:00:00Z", "x") == pytest.approx((3 + 2 * last) / (5 + 2))
    assert _online(plan, "2026-01-09T00:00:00Z", "y") == pytest.approx((1 + 2 * last) / (3 + 2))


def test_an_unseen_category_has_the_share_of_all_and_a_missing_one_none() -> None:
    """A newcomer is as risky as anybody; where nothing is given nothing is said."""
    plan = _plan()
    assert _online(plan, "2026-02-01T00:00:00Z", "new") == 0.5
    assert np.isnan(_online(plan, "2026-02-01T00:00:00Z", None))
    assert np.isnan(_online(plan, "2025-12-31T00:00:00Z", "x"))


def test_a_category_that_was_not_seen_by_then_has_the_share_of_all() -> None:
    """What the whole training part knows of a category does not reach back into its earlier blocks."""
    frame = _frame().with_columns(shop=pl.Series(["x"] * 5 + ["z"] * 3))
    assert _encode(_plan(frame), frame)[5:] == pytest.approx([1 / 3] * 3, abs=1e-6)


@pytest.mark.parametrize("delay", [{"label_delay_days": 2}, {"label_delay_days": None}])
def test_a_label_counts_from_the_moment_it_is_known(delay: dict[str, Any]) -> None:
    """Two days late, by setting or by column: when the second half begins, the labels of two days are known."""
    target = _target(_plan(**delay))
    assert target.total == (2, 6, 1, 3)
    assert target.counts == {"x": (1, 4, 1, 3), "y": (1, 2, 0, 0)}


def test_a_label_that_never_became_known_never_counts() -> None:
    """No time of the label: the row is left out."""
    frame = _frame().with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("label_known_at"))
    plan = _plan(frame, label_delay_days=None, label_time_column="label_known_at")
    assert "shop_target" not in plan.feature_names


def test_labels_count_at_once_where_nobody_tells_their_delay() -> None:
    """Without a delay and without a column that tells, a label is known right after its transaction."""
    frame = _frame().drop("label_known_at")
    assert _target(_plan(frame, label_delay_days=None)).counts == _target(_plan()).counts


def test_rows_of_one_time_are_in_one_block() -> None:
    """Transactions at the very end of a block are not encoded by each other's labels."""
    times = [0, 0, 1, 1, 1, 1, 1, 2]
    frame = _frame().with_columns(transaction_time=pl.Series([_START + timedelta(days=day) for day in times]))
    plan = _plan(frame)
    assert _target(plan).instants == (_BEGIN + _DAY, _BEGIN + 2 * _DAY + 1)
    assert _target(plan).total == (2, 8, 1, 4)
    assert len(set(_encode(plan, frame)[3:7])) == 1


def test_a_time_zone_changes_nothing() -> None:
    """The same instants in the time of Paris give the same counts and the same encodings."""
    paris = _frame().with_columns(pl.col("transaction_time").dt.convert_time_zone("Europe/Paris"))
    assert _target(_plan(paris)) == _target(_plan())
    np.testing.assert_array_equal(_encode(_plan(paris), paris), _encode(_plan(), _frame()))
    assert _online(_plan(), "2026-01-04T00:30:00+01:00", "x") != _online(_plan(), "2026-01-04T00:30:00Z", "x")


def test_the_plan_survives_json() -> None:
    """Counts are whole numbers, so the plan that is read back is the same to the last bit."""
    plan = _plan()
    again = FeaturePlan.from_json(plan.to_json())
    assert again == plan
    assert again.content_hash == plan.content_hash


def test_only_the_most_frequent_categories_are_kept() -> None:
    """``frequency_limit`` bounds the plan; what is beyond it has the share of all."""
    assert set(_target(_plan(frequency_limit=1)).counts) == {"x"}


def test_columns_of_whole_numbers_and_flags_can_be_encoded() -> None:
    """A category is what is read as its text, whatever the type of the column."""
    frame = _frame().with_columns(terminal=pl.Series([1, 1, 2, 2] * 2), gift=pl.Series([True, True, False, True] * 2))
    plan = _plan(frame, target_columns=["terminal", "gift", "gift"])
    counted = {f.column: set(f.counts) for f in plan.features if isinstance(f, Target)}
    assert counted == {"terminal": {"1", "2"}, "gift": {"true", "false"}}


def test_nothing_is_encoded_by_labels_unless_it_is_asked_for() -> None:
    """The default plan reads labels to choose features, not to make them."""
    assert _target_names(_plan(target_columns=None)) == []
    assert _target_names(_plan(target_columns=["shop"])) == ["shop_target"]


def _target_names(plan: FeaturePlan) -> list[str]:
    return [feature.name for feature in plan.features if isinstance(feature, Target)]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("nowhere", "no column 'nowhere'"),
        ("amount", "is a float"),
        ("gender", "protected"),
        ("transaction_id", "id"),
        ("is_fraud", "label"),
    ],
)
def test_columns_that_cannot_be_encoded_are_refused_by_name(column: str, reason: str) -> None:
    """The answer names the setting and what is wrong with the column, also where the role was inferred."""
    with pytest.raises(InvalidContent) as refusal:
        _plan(target_columns=[column])
    (detail,) = refusal.value.details
    assert detail.field == "config.target_columns"
    assert column in detail.message
    assert reason in detail.message


def test_without_a_time_there_is_no_target_encoding() -> None:
    """Nothing tells what was known when, so the setting is refused."""
    with pytest.raises(InvalidContent) as refusal:
        _plan(_frame().drop("transaction_time", "label_known_at"))
    assert refusal.value.target == "config.target_columns"


@pytest.mark.parametrize(
    "change",
    [
        {"instants": [2, 1]},
        {"instants": [1, 2, 3]},
        {"instants": []},
        {"counts": {"x": [1, 1, 2, 0]}},
        {"counts": {"x": [1, 1]}},
        {"total": [-1, 0, 0, 0]},
        {"total": [2**60, 2**60, 0, 0]},
        {"instants": [1, 2**63]},
        {"smoothing": -1},
    ],
)
def test_a_plan_with_impossible_counts_is_refused(change: dict[str, Any]) -> None:
    """Instants ascend, and of the known labels at each at most all are fraud."""
    with pytest.raises(ValidationError):
        Target.model_validate(_target(_plan()).model_dump() | change)


def test_a_value_is_told_in_words() -> None:
    """A reason of a decision names the column and the share."""
    target = _target(_plan())
    assert target.tell(0.125) == "12.50% of the training transactions of this shop were fraud, smoothed"
    assert "shop" in target.tell(None)
