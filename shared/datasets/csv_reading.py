"""A CSV file in UTF-8 becomes a lazy table: its separator recognised, its types inferred, nothing lost on the way."""

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.datasets.csv_structure import CsvStructure, read_structure
from shared.datasets.model import DatasetLimits
from shared.platform.errors import FieldError, InvalidContent, Malformed

if TYPE_CHECKING:
    import polars as pl

SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_CHARACTERS: Final = {name: character for character, name in SEPARATORS.items()}
_SAMPLED_ROWS: Final = 50
_HEAD: Final = 1024 * 1024
_INFERENCE_ROWS: Final = 10_000
_ENCODING: Final = "utf-8-sig"
_WITH_COMMA: Final = re.compile(r"-?\d+(,\d+)?")
_WITH_POINT: Final = re.compile(r"-?\d+(\.\d+)?")
_SLASHED_DATE: Final = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{4}\b.*")


@dataclass(frozen=True, slots=True)
class CsvFile:
    """What is known of a CSV file before its values are read."""

    local: Path
    separator: str
    header: list[str]
    sample: list[list[str]]
    structure: CsvStructure

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers are written as 1,50: some column has nothing else, and none has 1.50."""
        if self.separator == ",":
            return False
        columns = [[cell for cell in column if cell] for column in zip(*self.sample, strict=False)]
        return _has(columns, ",", _WITH_COMMA) and not _has(columns, ".", _WITH_POINT)

    def day_first(self, name: str) -> bool:
        """Whether the dates of a column are written so that day and month could be taken for each other."""
        position = self.header.index(name)
        cells = [row[position] for row in self.sample if position < len(row) and row[position]]
        return bool(cells) and all(_SLASHED_DATE.fullmatch(cell) for cell in cells)


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The table, and the columns that are kept as text because their fields would change as numbers."""

    frame: "pl.LazyFrame"
    kept_as_text: dict[str, str] = field(default_factory=dict)


def open_csv(local: Path, delimiter: str | None, limits: DatasetLimits) -> CsvFile:
    """Recognise the separator, read the header and count the rows.

    :param delimiter: the separator's name as the caller gives it; None to recognise it.
    :raises InvalidContent: a column has no name or that of another.
    :raises Malformed: rows that do not fit the header, or quotes that do not match.
    :raises TooLarge: too many rows, or a cell that is too long.
    """
    with local.open("rb") as source:
        head = source.read(_HEAD)
    if b"\r" in head and b"\n" not in head:
        raise Malformed("the file cannot be read as csv: its lines end with carriage returns only", target="file")
    separator = _CHARACTERS[delimiter] if delimiter else _recognise(local)
    header, *sample = _first_rows(local, separator) or [[]]
    _check_header(header)
    return CsvFile(local, separator, header, sample, read_structure(local, header, separator, limits))


def scan(file: CsvFile, as_text: Collection[str] = (), *, every_row: bool) -> CsvTable:
    """The file as a lazy table whose columns have the header's names.

    :param as_text: columns whose values stay the text that they are.
    :param every_row: types are inferred from every row rather than the first ten thousand: slower, never wrong.
    """
    import polars as pl

    def read(overrides: "dict[str, pl.DataType | type[pl.DataType]] | None" = None) -> "pl.LazyFrame":
        return pl.scan_csv(
            file.local,
            separator=file.separator,
            infer_schema_length=None if every_row else _INFERENCE_ROWS,
            try_parse_dates=True,
            decimal_comma=file.decimal_comma,
            n_rows=file.structure.rows,
            schema_overrides=overrides,
        )

    inferred = read().collect_schema()
    if len(inferred) != len(file.header):  # both readers must have understood the same file
        raise Malformed("the file cannot be read as csv: its first line is not understood", target="file")
    kept: dict[str, str] = {}
    overrides: dict[str, pl.DataType | type[pl.DataType]] = {}
    for position, (polars_name, kind) in enumerate(inferred.items()):
        if file.header[position] in as_text:
            pass
        elif kind.is_integer() and file.structure.leading_zeros[position]:
            kept[file.header[position]] = "leading_zeros"
        elif kind == pl.Int128:
            kept[file.header[position]] = "long_numbers"
        elif kind != pl.Time:
            continue
        overrides[polars_name] = pl.String
    frame = read(overrides) if overrides else read()
    # Polars leaves doubled quotes in names as they are.
    return CsvTable(frame.rename(dict(zip(inferred.names(), file.header, strict=True))), kept)


def _has(columns: list[list[str]], mark: str, number: re.Pattern[str]) -> bool:
    """Whether some column has nothing but numbers with this decimal mark, and the mark itself."""
    return any(mark in "".join(cells) and all(number.fullmatch(cell) for cell in cells) for cells in columns)


def _recognise(local: Path) -> str:
    """The separator that gives the first rows the same number of fields, more than one; the widest, commas first."""
    best, most = ",", 1
    for separator in SEPARATORS:
        widths = {len(row) for row in _first_rows(local, separator) if row}
        if len(widths) == 1 and (width := widths.pop()) > most:
            best, most = separator, width
    if most > 1:
        return best
    # Rows that do not fit: the header alone decides, and what is wrong with the others is told later.
    headers = {separator: len((_first_rows(local, separator) or [[]])[0]) for separator in SEPARATORS}
    return max(headers, key=lambda separator: headers[separator])


def _first_rows(local: Path, separator: str) -> list[list[str]]:
    try:
        with local.open(encoding=_ENCODING, newline="") as source:
            return list(islice(csv.reader(source, delimiter=separator), _SAMPLED_ROWS + 1))
    except csv.Error as error:
        reason = "a field of its first rows is too long, or its quotes do not match"
        raise Malformed(f"the file cannot be read as csv: {reason}", target="file") from error


def _check_header(header: list[str]) -> None:
    """Refuse names that a lenient reader would silently change."""
    details = [
        FieldError(f"column {position}", "has no name in the first line")
        for position, name in enumerate(header, start=1)
        if not name.strip()
    ]
    seen: dict[str, int] = {}
    for position, name in enumerate(header, start=1):
        if name.strip() and seen.setdefault(name, position) != position:
            details.append(FieldError(name[:100], f"is the name of columns {seen[name]} and {position}"))
    if details:
        raise InvalidContent("some columns cannot be used", target=details[0].field, details=details)
