"""Rows of a file as transactions: what is read beyond doubt, and what is looked at more closely."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from shared.datasets.model import ColumnType
from shared.features.config import FeatureConfig
from shared.features.plan import FeaturePlan, Fit, InputColumn
from shared.platform.errors import InvalidContent
from shared.scoring.jobs.reading import ROW, FileRows, require_columns, text_columns


def plan_of(kind: ColumnType, *, required: bool = False) -> FeaturePlan:
    """A plan that reads one column; what it makes of it does not matter here."""
    config = FeatureConfig(id_column="order_id", label_column="is_fraud")
    inputs = (InputColumn(name="x", type=kind, required=required),)
    return FeaturePlan(config=config, fit=Fit(rows=1), inputs=inputs, features=())


def read(kind: ColumnType, values: list[Any], dtype: Any = None, *, required: bool = False) -> FileRows:
    """A file of one column."""
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)}, strict=False).with_row_index(ROW)
    return FileRows(plan_of(kind, required=required), frame)


@pytest.mark.parametrize(
    ("kind", "given", "sent"),
    [
        ("float", ["1.5", "-2", "1e3"], [1.5, -2.0, 1000.0]),
        ("float", [3, None], [3.0, None]),
        ("float", [float("nan"), float("inf"), 2.0], [None, None, 2.0]),
        ("integer", ["12", "4.0", "9007199254740993"], [12, 4, 9007199254740993]),
        ("integer", [4.0], [4]),
        ("boolean", ["true", "False", None], [True, False, None]),
        ("datetime", ["2026-01-31T12:30:00Z", None], ["2026-01-31T12:30:00.000000+00:00", None]),
        ("datetime", [date(2026, 1, 31)], ["2026-01-31T00:00:00.000000+00:00"]),
        ("date", [datetime(2026, 1, 31, 23, tzinfo=UTC)], ["2026-01-31"]),
        ("string", ["a", ""], ["a", ""]),
    ],
)
def test_values_that_convert(kind: ColumnType, given: list[Any], sent: list[Any]) -> None:
    """What the file means is sent in the type that the plan reads; nothing is doubtful."""
    rows = read(kind, given)
    assert not rows.doubtful.any()
    assert [row["x"] for row in rows.transactions()] == sent


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("float", "much"),
        ("float", "inf"),
        ("integer", "1.5"),
        ("integer", 1.5),
        ("boolean", "yes"),
        ("datetime", "yesterday"),
        ("string", 5),
        ("string", "x" * 10_001),
        ("string", "a\x00b"),
        ("float", True),
    ],
)
def test_values_that_do_not(kind: ColumnType, given: Any) -> None:
    """The row is doubtful, and its transaction holds what the file holds; a row beside it is not."""
    rows = read(kind, [given, None])
    assert rows.doubtful.to_list() == [True, False]
    assert rows.transactions()[0]["x"] == given


def test_what_is_required_and_missing_is_doubtful() -> None:
    """Not a number is missing, too."""
    assert read("float", [1.0, None, float("nan")], required=True).doubtful.to_list() == [False, True, True]


@pytest.mark.parametrize(
    ("ids", "doubtful", "texts"),
    [
        (["a", None, "", "x" * 256], [False, False, True, True], ["a", None, "", "x" * 256]),
        ([7, None], [False, False], ["7", None]),
        ([1.5, None], [True, False], [None, None]),
    ],
)
def test_identifiers(ids: list[Any], doubtful: list[bool], texts: list[str | None]) -> None:
    """Text and whole numbers are ids, 1 to 255 characters long; the column transaction_id comes before the plan's."""
    frame = pl.DataFrame({"x": [1.0] * len(ids), "order_id": ids}).with_row_index(ROW)
    rows = FileRows(plan_of("float"), frame)
    assert rows.doubtful.to_list() == doubtful
    assert rows.identifiers.to_list() == texts
    both = FileRows(plan_of("float"), frame.with_columns(transaction_id=pl.lit("t")))
    assert set(both.identifiers) == {"t"}


def test_labels_are_not_sent() -> None:
    """Nor is the row's number; what the plan does not read is."""
    frame = pl.DataFrame({"x": [1.0], "is_fraud": [1], "note": ["hello"]}).with_row_index(ROW)
    assert FileRows(plan_of("float"), frame).transactions() == [{"x": 1.0, "note": "hello"}]


def test_columns_that_must_be_there() -> None:
    """A required one, or any at all."""
    require_columns(plan_of("float"), {"x": None})
    for plan, columns in ((plan_of("float", required=True), {"y": None}), (plan_of("float"), {"y": None})):
        with pytest.raises(InvalidContent) as refused:
            require_columns(plan, columns)
        assert [detail.field for detail in refused.value.details] == ["x"]


def test_text_is_kept_where_one_value_could_spoil_the_column() -> None:
    """Ids and values are read as text first, times are not."""
    assert text_columns(plan_of("integer")) == {"x", "transaction_id", "order_id"}
    assert text_columns(plan_of("datetime")) == {"transaction_id", "order_id"}
