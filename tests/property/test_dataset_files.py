"""Whatever dialect, encoding and compression a table is written in, the same values are registered."""

import gzip
import io
import tempfile
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.datasets.ingest import read_dataset
from shared.datasets.model import DatasetLimits, FileOptions

LIMITS = DatasetLimits(body_bytes=10**7, direct_bytes=10**7, rows=10_000, columns=50, compression_ratio=1000)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
# What Windows-1252 has; no carriage return, which text mode readers fold, and no NUL.
LATIN = st.characters(codec="cp1252", exclude_characters="\r\x00", exclude_categories=["Cc"])
ANY = st.characters(exclude_characters="\r\x00\ufeff", exclude_categories=["Cs", "Cc"])
# A text that no reader takes for a number, a date, true or nothing.
WORDS = {
    "latin": st.text(st.one_of(LATIN, st.sampled_from(' ,;|"\n=+-@')), max_size=12),
    "any": st.text(ANY, max_size=12),
}


def _texts(alphabet: str) -> st.SearchStrategy[str]:
    return WORDS[alphabet].map(lambda text: f"x{text}y")


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**63) + 1, 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False, width=64).map(lambda x: x + 0.0),
    "boolean": st.booleans(),
    "date": st.dates(date(1900, 1, 1), date(2100, 12, 31)),
    "datetime": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
}
TYPES: dict[str, Any] = {
    "integer": pl.Int64,
    "float": pl.Float64,
    "boolean": pl.Boolean,
    "date": pl.Date,
    "datetime": pl.Datetime("us", "UTC"),
    "string": pl.String,
}


@st.composite
def tables(draw: st.DrawFn, alphabet: str) -> dict[str, tuple[str, list[Any]]]:
    """Columns by name: the type and the values, some missing, the first one present."""
    rows = draw(st.integers(1, 30))
    kinds = draw(st.lists(st.sampled_from([*VALUES, "string"]), min_size=1, max_size=6))
    table = {}
    for position, kind in enumerate(kinds):
        value = _texts(alphabet) if kind == "string" else VALUES[kind]
        first = draw(value)
        rest = draw(st.lists(st.one_of(value, st.none()), min_size=rows - 1, max_size=rows - 1))
        name = f"c{position}{draw(WORDS[alphabet])}z"
        table[name] = (kind, [first, *rest])
    return table


def _cell(kind: str, value: Any) -> str:
    if value is None:
        return ""
    if kind == "float":
        return repr(value)
    if kind == "boolean":
        return "true" if value else "false"
    return str(value.isoformat(sep=" ", timespec="microseconds")) if kind == "datetime" else str(value)


def _quoted(text: str, separator: str, *, always: bool) -> str:
    if always or any(mark in text for mark in (separator, '"', "\n")):
        return '"' + text.replace('"', '""') + '"'
    return text


def _written(table: dict[str, tuple[str, list[Any]]], separator: str, newline: str, *, quote_texts: bool) -> str:
    lines = [separator.join(_quoted(name, separator, always=quote_texts) for name in table)]
    for row in zip(*(values for _, values in table.values()), strict=True):
        cells = []
        for (kind, _), value in zip(table.values(), row, strict=True):
            text = _cell(kind, value)
            cells.append(_quoted(text, separator, always=quote_texts and kind == "string" and value is not None))
        lines.append(separator.join(cells))
    return newline.join(lines) + newline


def _packed(raw: bytes, compression: str) -> bytes:
    if compression == "gz":
        return gzip.compress(raw)
    if compression == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("table.csv", raw)
        return buffer.getvalue()
    return raw


def _read(raw: bytes, options: FileOptions) -> pl.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        source, canonical = Path(folder, "source"), Path(folder, "data.parquet")
        source.write_bytes(raw)
        read_dataset(source, canonical, LIMITS, NOW, options)
        return pl.read_parquet(canonical)


def _expected(table: dict[str, tuple[str, list[Any]]]) -> pl.DataFrame:
    columns = []
    for name, (kind, values) in table.items():
        if kind == "datetime":
            values = [None if value is None else value.replace(tzinfo=UTC) for value in values]
        columns.append(pl.Series(name, values, dtype=TYPES[kind]))
    return pl.DataFrame(columns)


@settings(max_examples=150, deadline=timedelta(seconds=10))
@given(
    data=st.data(),
    delimiter=st.sampled_from(sorted(DELIMITERS)),
    newline=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"]),
    compression=st.sampled_from(["", "gz", "zip"]),
    quote_texts=st.booleans(),
)
def test_a_table_is_registered_as_it_was_written(
    data: st.DataObject, delimiter: str, newline: str, encoding: str, compression: str, quote_texts: bool
) -> None:
    """Random columns in a random dialect, encoding and compression come out with their types and values."""
    table = data.draw(tables("latin" if encoding in ("cp1252", "latin-1") else "any"))
    text = _written(table, DELIMITERS[delimiter], newline, quote_texts=quote_texts)
    try:
        raw = text.encode(encoding)
    except UnicodeEncodeError:  # Windows-1252 has signs that Latin-1 has not
        encoding, raw = "cp1252", text.encode("cp1252")
    # What happens to be UTF-8 as well must be named, and Latin-1 where it has what Windows-1252 reads otherwise.
    ambiguous = not raw.decode("utf-8", "ignore").isascii() and encoding in ("cp1252", "latin-1")
    named = ambiguous or encoding == "latin-1"
    told = [*table, *(value for kind, values in table.values() if kind == "string" for value in values if value)]
    recognised = len(table) > 1 and not set(DELIMITERS.values()) & set("".join(told))
    options = FileOptions(encoding=encoding if named else None, delimiter=None if recognised else delimiter)
    stored = _read(_packed(raw, compression), options)
    expected = _expected(table)
    assert stored.columns == expected.columns
    for name, kind in stored.schema.items():
        assert kind == expected.schema[name], (name, table[name])
    assert stored.equals(expected)
