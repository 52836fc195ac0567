"""Target encoding on random labels: what it may know, by loops, and that nothing else can change it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan, transform
from shared.features.config import FeatureConfig
from shared.features.inference import infer_config
from shared.features.kinds.target import Target
from shared.features.online import compile_plan
from shared.features.plan import FeaturePlan

_START = datetime(2026, 3, 1, tzinfo=UTC)
_HOUR = 3_600_000_000
_SCHEMA: dict[str, Any] = {
    "time": pl.Datetime("us", "UTC"),
    "shop": pl.String,
    "is_fraud": pl.Int8,
    "known": pl.Datetime("us", "UTC"),
}
_TYPES = {"time": "datetime", "shop": "string", "is_fraud": "integer", "known": "datetime"}


def _hours(most: int) -> st.SearchStrategy[datetime]:
    # Few different hours, so that rows tie and fall on the ends of blocks.
    return st.integers(0, most).map(lambda hour: _START + timedelta(hours=hour))


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "time": st.none() | _hours(12),
            "shop": st.sampled_from(["a", "b", "c", None]),
            "is_fraud": st.sampled_from([0, 1, 1, None]),
            "known": st.none() | _hours(24),
        }
    ),
    min_size=4,
    max_size=24,
)
# When labels are known: a column says it, hours after the transaction, or nobody tells.
DELAYS = st.sampled_from([{"label_time_column": "known"}, {"label_delay_days": 3 / 24}, {}])


def _plan(rows: list[dict[str, Any]], delay: dict[str, Any], folds: int, smoothing: float) -> FeaturePlan:
    # A column that varies, so that there is a plan even where target encoding has nothing to say.
    frame = pl.DataFrame(rows, schema=_SCHEMA).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("n") % 3)
    schema = DatasetSchema(
        columns=[Column(name=n, type=t, nullable=True) for n, t in ({**_TYPES, "n": "integer"}).items()]  # type: ignore[arg-type]
    )
    config = FeatureConfig(
        time_column="time",
        groups=("transaction",),
        target_columns=("shop",),
        target_folds=folds,
        target_smoothing=smoothing,
        excluded_columns=() if "label_time_column" in delay else ("known",),
        **delay,
    )
    return fit_plan(frame.lazy(), infer_config(schema, config))


def _target(plan: FeaturePlan) -> Target | None:
    return next((feature for feature in plan.features if isinstance(feature, Target)), None)


def _batch(plan: FeaturePlan, rows: list[dict[str, Any]]) -> NDArray[np.float32]:
    frame = pl.DataFrame(rows, schema=_SCHEMA).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("n"))
    return transform(plan.select(["shop_target"]), frame.lazy()).collect()["shop_target"].to_numpy()


def _known_at(row: dict[str, Any], delay: dict[str, Any]) -> datetime | None:
    if "label_time_column" in delay:
        return row["known"]
    return row["time"] + timedelta(days=delay.get("label_delay_days", 0))


def _instant(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _reference(row: dict[str, Any], rows: list[dict[str, Any]], feature: Target, delay: dict[str, Any]) -> float:
    """The encoding of ``row``, told by looping over everything that was known when its block began."""
    begun = [instant for instant in feature.instants if row["time"] and instant <= _instant(row["time"])]
    if row["shop"] is None or not begun:
        return float("nan")
    known = [
        other
        for other in rows
        if other["time"] is not None and other["is_fraud"] is not None and _instant(other["time"]) < begun[-1]
        if (at := _known_at(other, delay)) is not None and _instant(at) <= begun[-1]
    ]
    if not known:
        return float("nan")
    prior = sum(other["is_fraud"] for other in known) / len(known)
    own = [other["is_fraud"] for other in known if other["shop"] == row["shop"]]
    return (sum(own) + feature.smoothing * prior) / (len(own) + feature.smoothing) if own else prior


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, more=ROWS, delay=DELAYS, folds=st.integers(2, 5), smoothing=st.sampled_from([0.0, 1.5, 50.0]))
def test_an_encoding_is_what_was_known_when_its_block_began(
    rows: list[dict[str, Any]], more: list[dict[str, Any]], delay: dict[str, Any], folds: int, smoothing: float
) -> None:
    """Batch, online and loops agree on training rows and on others, with ties, gaps and late labels."""
    plan = _plan(rows, delay, folds, smoothing)
    feature = _target(plan)
    assume(feature is not None)  # no label known in time, or one shop only
    assert feature is not None
    everything = rows + more
    found = _batch(plan, everything)
    np.testing.assert_array_equal(
        found, np.array([_reference(row, rows, feature, delay) for row in everything], np.float32)
    )
    online = compile_plan(plan.select(["shop_target"]))
    one_by_one = [online.vector({"time": row["time"] and row["time"].isoformat(), "shop": row["shop"]})
                  for row in everything if row["time"] is not None]  # fmt: skip
    in_time = found[[row["time"] is not None for row in everything]]
    np.testing.assert_array_equal(np.array(one_by_one, np.float32).reshape(-1), in_time)


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, delay=DELAYS, folds=st.integers(2, 5), data=st.data())
def test_no_row_is_encoded_by_its_own_label_or_a_later_one(
    rows: list[dict[str, Any]], delay: dict[str, Any], folds: int, data: st.DataObject
) -> None:
    """Turning the labels of a row, of all rows not before it and of all not yet known leaves its encoding as it was."""
    timed = [row for row in rows if row["time"] is not None]
    if not timed:
        return
    row = data.draw(st.sampled_from(timed))
    turned = [
        other | {"is_fraud": data.draw(st.sampled_from([0, 1]))}
        if other["time"] is None
        or other["time"] >= row["time"]
        or (known := _known_at(other, delay)) is None
        or known > row["time"]
        else other
        for other in rows
    ]
    plans = [_plan(version, delay, folds, 10.0) for version in (rows, turned)]
    # Whether there is a feature at all is decided over all rows: some category must have a label.
    if all(_target(plan) for plan in plans):
        np.testing.assert_array_equal(*(_batch(plan, [row]) for plan in plans))
