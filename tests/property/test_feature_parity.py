"""The two executors of a plan, compared bit for bit on random rows."""

# ruff: noqa: DTZ001  naive timestamps are part of what is tested

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan, transform
from shared.features.config import Distance, Duration, FeatureConfig, Ratio
from shared.features.inference import infer_config
from shared.features.kinds import KINDS
from shared.features.kinds.behavioural import Behavioural
from shared.features.online import compile_plan
from shared.features.plan import FeaturePlan
from shared.platform.errors import InvalidContent

SCHEMA: dict[str, Any] = {
    "is_fraud": pl.Int8,
    "transaction_id": pl.String,
    "transaction_time": pl.Datetime("us", "UTC"),
    "amount": pl.Float64,
    "items": pl.Int64,
    "balance": pl.Float64,
    "country": pl.String,
    "merchant": pl.String,
    "terminal_id": pl.Int64,
    "is_gift": pl.Boolean,
    "lat": pl.Float64,
    "long": pl.Float64,
    "merch_lat": pl.Float64,
    "merch_long": pl.Float64,
    "account_created_at": pl.Datetime("us"),
    "issued_on": pl.Date,
}
CONFIG = FeatureConfig(
    label_column="is_fraud",
    groups=("transaction", "temporal"),  # history has its own comparison
    transforms={"amount": ("raw", "log", "zscore", "clipped"), "balance": ("raw", "log", "zscore", "clipped")},
    ratios=(Ratio(numerator="amount", denominator="items"), Ratio(numerator="amount", denominator="balance")),
    durations=(
        Duration(start="account_created_at", end="transaction_time"),
        Duration(start="issued_on", end="account_created_at"),
    ),
    distances=(
        Distance(from_latitude="lat", from_longitude="long", to_latitude="merch_lat", to_longitude="merch_long"),
    ),
    one_hot_limit=3,
    frequency_columns=("merchant", "terminal_id"),
    target_columns=("merchant", "terminal_id"),
    holiday_columns=("country",),
    holiday_country="JP",
)

_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_MONEY = st.integers(-(10**9), 10**9).map(lambda cents: cents / 100) | st.integers(0, 5000).map(float)
_TEXT = st.sampled_from(["GB", "US", "", "日本", "é", "é", "a b", "A B"]) | st.text(
    st.characters(exclude_categories=("Cs",)), max_size=8
)
_OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=_OFFSETS | st.just(UTC))
_NAIVE = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29))


def _optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


ROWS = st.fixed_dictionaries(
    {
        "is_fraud": st.sampled_from([0, 1]),
        "transaction_id": st.uuids().map(str),
        "transaction_time": _optional(_MOMENTS),
        "amount": _optional(_FLOATS | _MONEY),
        "items": _optional(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
        "balance": _optional(_FLOATS | _MONEY | st.sampled_from([0.0, -0.0, 5e-324, 1.7e308])),
        "country": _optional(_TEXT),
        "merchant": _optional(_TEXT),
        "terminal_id": _optional(st.integers(0, 6) | st.integers(-(2**63), 2**63 - 1)),
        "is_gift": _optional(st.booleans()),
        "lat": _optional(st.floats(-95, 95)),
        "long": _optional(st.floats(-185, 185)),
        "merch_lat": _optional(st.floats(-90, 90)),
        "merch_long": _optional(st.floats(-180, 180)),
        "account_created_at": _optional(_NAIVE),
        "issued_on": _optional(st.dates(date(1, 1, 3), date(9999, 12, 29))),
    }
)


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    in_utc = [
        row | {"transaction_time": row["transaction_time"] and row["transaction_time"].astimezone(UTC)} for row in rows
    ]
    return pl.DataFrame(in_utc, schema=SCHEMA, strict=True)


def _transaction(row: dict[str, Any]) -> dict[str, Any]:
    """The row as a client would send it: timestamps as ISO 8601 text, everything else as JSON holds it."""
    return {key: value.isoformat() if isinstance(value, date | datetime) else value for key, value in row.items()}


def _fitted(rows: list[dict[str, Any]]) -> FeaturePlan:
    # Repeated so that frequent categories exist and frequency encoding is proposed.
    frame = pl.concat([_frame(rows)] * 40)
    types = {
        pl.Int8: "integer", pl.Int64: "integer", pl.Float64: "float", pl.String: "string", pl.Boolean: "boolean",
        pl.Date: "date",
    }  # fmt: skip
    columns = [Column(name=n, type=types.get(t, "datetime"), nullable=True) for n, t in SCHEMA.items()]  # type: ignore[arg-type]
    return fit_plan(frame.lazy(), infer_config(DatasetSchema(columns=columns), CONFIG))


def _optional_inputs(plan: FeaturePlan) -> FeaturePlan:
    """The plan with nothing required, so that rows with any gap may be compared."""
    inputs = [column.model_copy(update={"required": False}) for column in plan.inputs]
    return FeaturePlan.model_validate(plan.model_dump() | {"inputs": inputs})


def _batch(plan: FeaturePlan, rows: list[dict[str, Any]]) -> NDArray[np.float32]:
    matrix: NDArray[np.float32] = transform(plan, _frame(rows).lazy()).collect(engine="streaming").to_numpy()
    assert matrix.dtype == np.float32
    return matrix


@settings(max_examples=60, deadline=None)
@given(fitted_on=st.lists(ROWS, min_size=3, max_size=8), rows=st.lists(ROWS, min_size=1, max_size=8))
def test_batch_and_online_agree_on_every_bit(fitted_on: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Whatever a plan was fitted on and whatever it is run on, both executors give the same float32 vectors."""
    try:
        plan = _optional_inputs(_fitted(fitted_on))
    except InvalidContent:  # columns all constant or empty: there is no feature, so nothing to compare
        reject()
    online = compile_plan(FeaturePlan.from_json(plan.to_json()))
    everything = fitted_on + rows
    one_by_one = np.stack([online.vector(_transaction(row)) for row in everything])
    np.testing.assert_array_equal(_batch(plan, everything), one_by_one)


_KINDS_ROW = {
    "is_fraud": 0, "transaction_id": "t", "transaction_time": datetime(2026, 1, 31, 23, 59, tzinfo=UTC), "amount": 12.0,
    "items": 3, "balance": 7.25, "country": "GB", "merchant": "m1", "terminal_id": 4, "is_gift": True, "lat": 51.5,
    "long": -0.1, "merch_lat": 48.9, "merch_long": 2.35, "account_created_at": datetime(1969, 5, 1),
    "issued_on": date(1950, 2, 3),
}  # fmt: skip


def _varied_rows() -> list[dict[str, Any]]:
    """Rows in which every column varies, has gaps, and the merchant has more values than one-hot allows."""
    rows = []
    for index in range(8):
        row = dict(_KINDS_ROW) | {
            "transaction_id": f"t{index}",
            "amount": 1.5 * index,
            "items": index % 3,
            "balance": 10.0 ** (index - 4),
            "country": ("GB", "US")[index % 2],
            "merchant": f"m{index}",
            "terminal_id": index,
            "is_gift": index % 2 == 0,
            "lat": 50.0 + index * index % 5,
            "transaction_time": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=7 * index),
            "account_created_at": datetime(1969, 5, 1) + timedelta(days=index * index),
        }
        rows.append(row | ({"country": None, "balance": None} if index == 7 else {}))
    return rows


def test_the_comparison_covers_every_kind() -> None:
    """A kind that the property test would never fit is a hole in the proof; this plan has them all."""
    plan = _fitted(_varied_rows())
    assert {type(feature) for feature in plan.features} == set(KINDS) - {Behavioural}  # see test_history_parity
    online = compile_plan(_optional_inputs(plan))
    one_by_one = np.stack([online.vector(_transaction(row)) for row in _varied_rows()])
    np.testing.assert_array_equal(_batch(plan, _varied_rows()), one_by_one)
    assert not math.isnan(float(np.nanmax(one_by_one)))


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=6), data=st.data())
def test_a_selected_plan_gives_the_same_columns(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    """Selecting features changes which columns there are and their order, never a value."""
    plan = _optional_inputs(_fitted(_varied_rows()))
    names = data.draw(st.lists(st.sampled_from(plan.feature_names), min_size=1, unique=True))
    whole, chosen = compile_plan(plan), compile_plan(plan.select(names))
    positions = [plan.feature_names.index(name) for name in names]
    for row in rows:
        transaction = _transaction(row)
        np.testing.assert_array_equal(chosen.vector(transaction), whole.vector(transaction)[positions])
