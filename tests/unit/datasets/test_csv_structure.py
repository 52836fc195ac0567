"""The shape of CSV files by counting bytes: as Python's csv reader sees it, at any size."""

import csv
import io
import random
from pathlib import Path

import polars as pl
import pytest

from shared.datasets.csv_structure import read_structure
from shared.datasets.ingest import read_dataset
from shared.datasets.model import DatasetLimits
from shared.platform.clock import utc_now
from shared.platform.errors import Malformed, TooLarge

LIMITS = DatasetLimits(body_bytes=10**8, direct_bytes=10**8, rows=1_000_000, columns=20, cell_bytes=1000)


def _file(folder: Path, text: str) -> Path:
    local = folder / "table.csv"
    local.write_bytes(text.encode())
    return local


def test_rows_and_zeros_are_those_of_the_csv_reader(tmp_path: Path) -> None:
    """Twenty megabytes with quoted line breaks, so that rows lie across the pieces in which the file is read."""
    choose = random.Random(5)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "note", "code"])
    fields = ["plain", 'with "quotes", commas', "two\nlines", "", "x" * 300]
    rows = zeros = 0
    while buffer.tell() < 20_000_000:
        code = choose.choice(["007", "7", "0", "0.5", "-01"])
        writer.writerow([rows, choose.choice(fields), code])
        rows, zeros = rows + 1, zeros + (code == "007")
    found = read_structure(_file(tmp_path, buffer.getvalue()), ["id", "note", "code"], ",", LIMITS)
    assert (found.rows, dict(found.leading_zeros)) == (rows, {2: zeros})


def test_a_fault_far_into_the_file_has_its_line(tmp_path: Path) -> None:
    """Behind the first pieces, and behind fields with line breaks."""
    good = '1,"a\nb"\n' * 2_000_000
    local = _file(tmp_path, f"a,b\n{good}1,2,3\n")
    with pytest.raises(TooLarge, match="more than 1000000 rows"):
        read_structure(local, ["a", "b"], ",", LIMITS)
    wide = DatasetLimits(body_bytes=1, direct_bytes=1, rows=10**7, columns=2)
    with pytest.raises(Malformed, match="line 4000002 has 3 fields, the first line 2"):
        read_structure(local, ["a", "b"], ",", wide)


@pytest.mark.parametrize("quoted", [False, True])
def test_a_long_cell_of_a_csv_file_is_named(tmp_path: Path, quoted: bool) -> None:
    """By column and line."""
    cell = '"' + "x" * 2000 + '"' if quoted else "x" * 2002
    with pytest.raises(TooLarge) as refused:
        read_structure(_file(tmp_path, f"a,b\n1,2\n3,{cell}\n"), ["a", "b"], ",", LIMITS)
    assert [(d.field, d.message) for d in refused.value.details] == [
        ("b", "has 2,002 bytes in line 3; at most 1,000 are accepted")
    ]


def test_a_long_cell_of_a_parquet_file_is_named(tmp_path: Path) -> None:
    """By column and row."""
    pl.DataFrame({"a": [1, 2, 3], "b": ["x", "é" * 600, "x" * 5000]}).write_parquet(tmp_path / "in")
    with pytest.raises(TooLarge) as refused:
        read_dataset(tmp_path / "in", tmp_path / "out", LIMITS, utc_now())
    assert [(d.field, d.message) for d in refused.value.details] == [
        ("b", "has 1,200 bytes in row 2; at most 1,000 are accepted")
    ]


def test_repeated_texts_of_a_parquet_file_count_each_time(tmp_path: Path) -> None:
    """A dictionary makes a small file of what would be a large one."""
    pl.DataFrame({"a": ["x" * 900] * 200_000}).write_parquet(tmp_path / "in")
    assert (tmp_path / "in").stat().st_size < 100_000
    with pytest.raises(TooLarge, match="unpacked, the file has more than"):
        read_dataset(tmp_path / "in", tmp_path / "out", LIMITS, utc_now())


@pytest.mark.parametrize(
    ("text", "rows"),
    [("a\n1\n\n3\n", 3), ("a,b\n1,2\n\n\n", 1), ("a,b\r\n1,2\r\n\r\n", 1), ("a,b\n1,2", 1), ("\ufeffa,b\n1,2\n", 1)],
    ids=["missing values of one column", "empty lines at the end", "carriage returns", "no end of line", "mark"],
)  # fmt: skip
def test_harmless_shapes_pass(tmp_path: Path, text: str, rows: int) -> None:
    """An empty line is a missing value where there is one column, and nothing at the end of the file."""
    _file(tmp_path, text)
    assert read_dataset(tmp_path / "table.csv", tmp_path / "out", LIMITS, utc_now()).row_count == rows
    assert pl.read_parquet(tmp_path / "out").height == rows


def test_a_quote_that_is_never_closed_is_given_up(tmp_path: Path) -> None:
    """Before the rest of a large file is taken for one field."""
    text = 'a,b\n1,"2\n' + "3,4\n" * 20_000_000
    with pytest.raises(Malformed, match="the quotes in the row after line 1 do not match"):
        read_structure(_file(tmp_path, text), ["a", "b"], ",", LIMITS)
