"""Reading uploaded files: formats, types, statistics, and what is refused."""

import io
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shared.datasets.ingest import read_dataset
from shared.datasets.model import DatasetLimits, Profile
from shared.platform.errors import DomainError, InvalidContent, Malformed, TooLarge, UnsupportedMedia

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LIMITS = DatasetLimits(body_bytes=10**6, direct_bytes=10**7, rows=1000, columns=20)


def _profile(folder: Path, content: bytes) -> tuple[Profile, pl.DataFrame]:
    source, canonical = folder / "source", folder / "data.parquet"
    source.write_bytes(content)
    profile = read_dataset(source, canonical, LIMITS, NOW)
    return profile, pl.read_parquet(canonical)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_csv_types_are_inferred(tmp_path: Path) -> None:
    """Integers, floats, text, booleans, dates and times are told apart, and empty cells are null."""
    content = (
        b"id,amount,shop,member,born,at\n"
        b"1,9.5,a,true,2000-01-31,2026-01-01T10:00:00\n"
        b'2,,"b, c",false,1999-12-01,2026-01-02T11:30:00\n'
    )
    profile, frame = _profile(tmp_path, content)
    assert [(column.name, column.type, column.nullable) for column in profile.schema.columns] == [
        ("id", "integer", False),
        ("amount", "float", True),
        ("shop", "string", False),
        ("member", "boolean", False),
        ("born", "date", False),
        ("at", "datetime", False),
    ]
    assert frame["shop"].to_list() == ["a", "b, c"]
    assert frame.schema["at"] == pl.Datetime("us", "UTC")


def test_a_value_that_fits_only_far_down_still_decides_the_type(tmp_path: Path) -> None:
    """20,000 integers followed by a word are a column of text, not an error and not a null."""
    limits = DatasetLimits(body_bytes=10**7, direct_bytes=10**7, rows=100_000, columns=20)
    source, canonical = tmp_path / "source", tmp_path / "data.parquet"
    source.write_text("code,amount\n" + "".join(f"{number},1\n" for number in range(20_000)) + "X1,2\n")
    profile = read_dataset(source, canonical, limits, NOW)
    assert profile.schema.columns[0].type == "string"
    assert profile.row_count == 20_001


def test_parquet_types_become_plain(tmp_path: Path) -> None:
    """Categories become text, decimals floats, small integers Int64, and times UTC microseconds."""
    frame = pl.DataFrame(
        {
            "kind": pl.Series(["a", "b"], dtype=pl.Categorical),
            "price": pl.Series(["1.50", "2.25"]).cast(pl.Decimal(10, 2)),
            "count": pl.Series([1, 2], dtype=pl.UInt8),
            "at": pl.Series([datetime(2026, 6, 1, 12), None]).dt.replace_time_zone("Europe/Paris"),  # noqa: DTZ001
        }
    )
    _, stored = _profile(tmp_path, _parquet(frame))
    assert dict(stored.schema) == {
        "kind": pl.String(),
        "price": pl.Float64(),
        "count": pl.Int64(),
        "at": pl.Datetime("us", "UTC"),
    }
    assert stored["at"].dt.hour().to_list() == [10, None]


def test_statistics_describe_each_column(tmp_path: Path) -> None:
    """Numbers get moments and quantiles, text its values, dates their range."""
    frame = pl.DataFrame(
        {
            "amount": [1.0, 2.0, 3.0, None],
            "shop": ["a", "a", "b", None],
            "day": [date(2026, 1, day) for day in (1, 2, 3, 4)],
        }
    )
    stats = _profile(tmp_path, _parquet(frame))[0].statistics.column_stats
    assert stats["amount"]["mean"] == 2.0
    assert stats["amount"]["p50"] == 2.0
    assert stats["amount"]["null_count"] == 1
    assert stats["shop"]["values"] == {"a": 2, "b": 1}
    assert (stats["day"]["min"], stats["day"]["max"]) == ("2026-01-01", "2026-01-04")


def test_nan_and_infinity_do_not_spoil_the_statistics(tmp_path: Path) -> None:
    """They are counted, and the other figures are of the finite values."""
    frame = pl.DataFrame({"x": [1.0, 3.0, float("nan"), float("inf")]})
    stats = _profile(tmp_path, _parquet(frame))[0].statistics.column_stats["x"]
    assert (stats["mean"], stats["max"], stats["not_finite_count"]) == (2.0, 3.0, 2)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", InvalidContent),
        (b"a,b\n", InvalidContent),
        (b"PAR1 but nothing of a file PAR1", Malformed),
        (b"\x1f\x8b\x08rest", Malformed),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", UnsupportedMedia),
        (b"a,b\n1,2\n3,4,5\n", Malformed),
        (b"a,b\n\xc3\xa9\xff,2\n", Malformed),
        (b"__label,b\n1,2\n", InvalidContent),
        (b"*,b\n1,2\n", InvalidContent),
        (b"^a$,b\n1,2\n", InvalidContent),
        (b"a," + b"b" * 101 + b"\n1,2\n", InvalidContent),
        (b",".join(b"c%d" % number for number in range(21)) + b"\n" + b",".join([b"1"] * 21) + b"\n", TooLarge),
        (b"a\n" + b"1\n" * 1001, TooLarge),
    ],
    ids=[
        "empty", "only a header", "torn parquet", "torn gzip", "picture", "ragged rows", "not UTF-8", "reserved name",
        "star", "pattern", "long name", "too many columns", "too many rows",
    ],
)  # fmt: skip
def test_an_unusable_file_is_refused(tmp_path: Path, content: bytes, error: type[DomainError]) -> None:
    """With the reason, and before anything is stored."""
    with pytest.raises(error):
        _profile(tmp_path, content)


def test_column_names_are_those_of_the_header(tmp_path: Path) -> None:
    """Quotes, commas, line breaks and spaces in a name come out as the sender's program put them in."""
    names = ['q"uote, comma', "new\nline", " space ", "Betrag (€)", "a.b"]
    content = io.BytesIO()
    pl.DataFrame({name: [1, 2] for name in names}).write_csv(content)
    profile, stored = _profile(tmp_path, content.getvalue())
    assert [column.name for column in profile.schema.columns] == names
    assert stored.columns == names
    assert stored.rows() == [(1,) * 5, (2,) * 5]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 fields, the first line 2"),
        (b'a,b\n"x\ny",2\n3,4,5\n', "line 4 has 3 fields, the first line 2"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 field, the first line 2"),
        (b"a,b\n1,2\n\n3,4\n", "line 3 is empty"),
        (b'a,b\n1,2\n5" or 6" pipe,2\n', "and write the quotes in it twice"),
        (b'a,b\n1,2\n"5" pipe,2\n', "and write the quotes in it twice"),
        (b"a,b\r1,2\r", "its lines end with carriage returns only"),
        (b'a,b\n1,2\n3,"x\n4,5\n', "the quotes in the row after line 2 do not match"),
        (b"a" * 200_000 + b"\n1\n", "a field of its first rows is too long, or its quotes do not match"),
    ],
    ids=[
        "ragged",
        "ragged after a quoted line",
        "short",
        "empty line",
        "quote inside",
        "quote closed early",
        "carriage returns",
        "open quote",
        "endless header",
    ],
)
def test_a_refused_csv_file_says_where_it_is_wrong(tmp_path: Path, content: bytes, told: str) -> None:
    """The line and the reason, not only that it cannot be read."""
    with pytest.raises((Malformed, InvalidContent)) as refused:
        _profile(tmp_path, content)
    assert refused.value.message.endswith(told)


@pytest.mark.parametrize(
    ("header", "details"),
    [
        (b"a,b,a", [("a", "is the name of columns 1 and 3")]),
        (b'\xef\xbb\xbfa,"a"', [("a", "is the name of columns 1 and 2")]),
        (b"a,b,", [("column 3", "has no name in the first line")]),
    ],
    ids=["twice", "twice with a byte order mark", "no name"],
)
def test_column_names_are_told_apart(tmp_path: Path, header: bytes, details: list[tuple[str, str]]) -> None:
    """No column is renamed behind its sender's back."""
    with pytest.raises(InvalidContent) as refused:
        _profile(tmp_path, header + b"\n1,2,3\n")
    assert [(detail.field, detail.message) for detail in refused.value.details] == details


@pytest.mark.parametrize("value", [[[1, 2]], [{"a": 1}], [b"raw"]], ids=["list", "struct", "binary"])
def test_nested_and_binary_columns_are_named(tmp_path: Path, value: Any) -> None:
    """A column that cannot be a feature is refused by name."""
    with pytest.raises(InvalidContent) as refused:
        _profile(tmp_path, _parquet(pl.DataFrame({"good": [1], "odd": value})))
    assert [detail.field for detail in refused.value.details] == ["odd"]
