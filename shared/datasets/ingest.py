"""Reading an uploaded file: what format it is, whether it can be used, and what is in it.

Files are read lazily and in a streaming fashion; memory holds neither the file nor the table.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.datasets.csv_reading import SEPARATORS, CsvFile, open_csv, scan
from shared.datasets.encodings import UTF_8, has_utf_16_mark, to_utf_8
from shared.datasets.model import Column, ColumnType, DatasetLimits, DatasetSchema, FileOptions, Profile
from shared.datasets.observations import Note, observe
from shared.datasets.preview import first_rows
from shared.datasets.quality import assess
from shared.datasets.statistics import read_statistics
from shared.datasets.unpacking import compression_of, unpack
from shared.features.roles import is_personal
from shared.platform.errors import FieldError, InvalidContent, Malformed, TooLarge, UnsupportedMedia

if TYPE_CHECKING:
    import polars as pl

PARQUET: Final = "parquet"
CSV: Final = "csv"

_PARQUET_MAGIC: Final = b"PAR1"
_HEAD: Final = 4096
_MAX_NAME: Final = 100
# Not "__…", which the app uses itself, and neither "*" nor "^…", which Polars reads as patterns.
_NAME: Final = re.compile(rf"(?!__|\s*$|[*^])[^\x00]{{1,{_MAX_NAME}}}", re.DOTALL)
_NAME_RULE: Final = f"a column name has 1 to {_MAX_NAME} characters and does not begin with *, ^ or two underscores"
_KEPT: Final[Mapping[str, str]] = {
    "leading_zeros": "is kept as text, because as numbers its values would lose leading zeros",
    "long_numbers": "is kept as text, because its values have more digits than a number holds",
}


@dataclass(frozen=True, slots=True)
class CanonicalFile:
    """What writing a file as Parquet has told. ``source_suffix`` says what it was: csv, csv.gz, parquet …"""

    rows: int
    source_suffix: str
    notes: tuple[Note, ...]


def read_dataset(
    local: Path, canonical: Path, limits: DatasetLimits, now: datetime, options: FileOptions | None = None
) -> Profile:
    """Check and profile the file ``local``, and write it to ``canonical``; raises as :func:`write_canonical` does."""
    import polars as pl

    written = write_canonical(local, canonical, limits, options)
    frame = pl.scan_parquet(canonical)
    types = {name: _column_type(dtype) or "string" for name, dtype in frame.collect_schema().items()}
    statistics = read_statistics(frame, written.rows, frozenset(name for name in types if is_personal(name)))
    figures = statistics.column_stats
    schema = DatasetSchema(
        columns=[Column(name=name, type=kind, nullable=figures[name]["null_count"] > 0) for name, kind in types.items()]
    )
    quality = assess(schema, statistics, observe(frame, types, figures, written.rows, now, written.notes))
    return Profile(schema, statistics, quality, written.rows, first_rows(frame), written.source_suffix)


def write_canonical(
    local: Path,
    canonical: Path,
    limits: DatasetLimits,
    options: FileOptions | None = None,
    *,
    as_text: Collection[str] = (),
) -> CanonicalFile:
    """Check the file ``local`` and write it to ``canonical`` as Parquet with plain column types.

    Files that are made on the way lie beside ``local``, under its name with a suffix, and are left there.

    :param as_text: columns of a CSV file whose values stay the text that they are.
    :raises Malformed: the file cannot be read as what it claims to be.
    :raises InvalidContent: it is empty, has no rows, or columns that cannot be used; each is named.
    :raises TooLarge: more bytes, rows or columns, or longer cells than ``limits`` allow.
    :raises UnsupportedMedia: it is neither CSV nor Parquet, plain or in gzip or zip.
    """
    options = options or FileOptions()
    head = _head(local)
    compression = compression_of(head)
    table = local
    if compression:
        table = local.with_name(f"{local.name}.unpacked")
        unpack(local, table, compression, limits)
        head = _head(table)
    suffix = f".{compression}" if compression else ""
    if head.startswith(_PARQUET_MAGIC):
        return CanonicalFile(_parquet(table, canonical, limits), PARQUET + suffix, ())
    if b"\x00" in head and not has_utf_16_mark(head) and not (options.encoding or "").startswith("utf-16"):
        raise UnsupportedMedia("the file is neither CSV nor Parquet", target="file")
    rows, notes = _csv(table, canonical, limits, options, as_text)
    return CanonicalFile(rows, CSV + suffix, notes)


def _head(local: Path) -> bytes:
    with local.open("rb") as source:
        head = source.read(_HEAD)
    if not head:
        raise InvalidContent("the file is empty", target="file", details=[FieldError("file", "is empty")])
    return head


def _parquet(table: Path, canonical: Path, limits: DatasetLimits) -> int:
    import polars as pl

    try:
        frame = pl.scan_parquet(table)
        schema = frame.collect_schema()
        _check_columns(schema, limits)
        texts = [name for name, kind in schema.items() if _column_type(kind) == "string" and kind != pl.Null]
        # Repeated values take no room in Parquet: what they take when they are read must be asked for before that.
        sizes = [pl.col(name).cast(pl.String).str.len_bytes().alias(name) for name in texts]
        longest = [pl.col(name).max().alias(f"{name}\x00longest") for name in texts]
        total = pl.sum_horizontal(pl.col(name).sum() for name in texts) if texts else pl.lit(0)
        asked = frame.select(*sizes, pl.lit(1, pl.Int8).alias("\x00row"))
        found = asked.select(pl.len().alias("rows"), total.alias("bytes"), *longest).collect(engine="streaming")
        measured = found.row(0, named=True)
        _check_size(int(measured["rows"]), int(measured["bytes"] or 0), limits)
        for name in texts:
            if (measured[f"{name}\x00longest"] or 0) > limits.cell_bytes:
                raise _long_cell(frame, name, limits)
        frame.select(_canonical(schema)).sink_parquet(canonical, compression="zstd")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise Malformed("the file cannot be read as parquet", target="file") from error
    return int(measured["rows"])


def _csv(
    table: Path, canonical: Path, limits: DatasetLimits, options: FileOptions, as_text: Collection[str]
) -> tuple[int, tuple[Note, ...]]:
    import polars as pl

    table, encoding = to_utf_8(table, table.with_name(f"{table.name}.text"), options.encoding)
    file = open_csv(table, options.delimiter, limits)
    _check_size(file.structure.rows, 0, limits)
    kept = _write_csv(file, canonical, limits, as_text)
    notes: list[Note] = [("kept_as_text", name, _KEPT[reason]) for name, reason in kept.items()]
    if encoding != UTF_8 and options.encoding is None:
        notes.append(("encoding", None, f"the file is not UTF-8; it was read as {encoding}"))
    if file.separator != "," and options.delimiter is None:
        notes.append(("delimiter", None, f"fields are separated by the {SEPARATORS[file.separator]}"))
    if file.decimal_comma:
        notes.append(("decimal_comma", None, "numbers have a decimal comma"))
    for name, kind in pl.scan_parquet(canonical).collect_schema().items():
        if kind.is_temporal() and file.day_first(name):
            notes.append(("day_first", name, "dates are read as day, month, year; ISO 8601 cannot be misread"))
    return file.structure.rows, tuple(notes)


def _write_csv(file: CsvFile, canonical: Path, limits: DatasetLimits, as_text: Collection[str]) -> dict[str, str]:
    """Write the table; the columns that are kept as text, and why."""
    import polars as pl

    for every_row in (False, True):
        try:
            table = scan(file, as_text, every_row=every_row)
            schema = table.frame.collect_schema()
            _check_columns(schema, limits)
            table.frame.select(_canonical(schema)).sink_parquet(canonical, compression="zstd")
            return table.kept_as_text
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            # A value further down may not fit the type that the first rows suggest: then every row has its say.
            if every_row:
                raise Malformed("the file cannot be read as csv", target="file") from error
    raise AssertionError("one of the two attempts returns or raises")


def _check_size(rows: int, text_bytes: int, limits: DatasetLimits) -> None:
    if rows <= 0:
        raise InvalidContent("the file has no rows", target="file", details=[FieldError("file", "has no rows")])
    if rows > limits.rows:
        raise TooLarge(f"the file has {rows} rows; at most {limits.rows} are accepted", target="file")
    if text_bytes > limits.direct_bytes:
        raise TooLarge(f"unpacked, the file has more than {limits.direct_bytes} bytes", target="file")


def _long_cell(frame: "pl.LazyFrame", name: str, limits: DatasetLimits) -> TooLarge:
    import polars as pl

    long = pl.col(name).cast(pl.String).str.len_bytes()
    row = frame.select(long.alias("bytes")).with_row_index("row", 1).filter(pl.col("bytes") > limits.cell_bytes).head(1)
    number, size = row.collect(engine="streaming").row(0)
    message = f"has {size:,} bytes in row {number}; at most {limits.cell_bytes:,} are accepted"
    return TooLarge(f"{name!r} {message}", target="file", details=[FieldError(name, message)])


def _column_type(dtype: "pl.DataType") -> ColumnType | None:
    import polars as pl

    if dtype.is_integer():
        return "integer"
    if dtype.is_float() or dtype.is_decimal():
        return "float"
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return "string"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.Datetime:
        return "datetime"
    return "date" if dtype == pl.Date else None


def _check_columns(schema: "pl.Schema", limits: DatasetLimits) -> None:
    if len(schema) > limits.columns:
        raise TooLarge(f"the file has {len(schema)} columns; at most {limits.columns} are accepted", target="file")
    details = []
    for name, dtype in schema.items():
        if not _NAME.fullmatch(name):
            details.append(FieldError(name[:_MAX_NAME].replace("\x00", "�"), _NAME_RULE))
        elif _column_type(dtype) is None:
            details.append(FieldError(name, f"columns of type {dtype} are not supported"))
    if details:
        raise InvalidContent("some columns cannot be used", target=details[0].field, details=details)


def _canonical(schema: "pl.Schema") -> "list[pl.Expr]":
    """One plain type per kind: Int64, Float64, String, Boolean, Date, Datetime in UTC (naive times are UTC)."""
    import polars as pl

    expressions = []
    for name, dtype in schema.items():
        column = pl.col(name)
        kind = _column_type(dtype)
        if kind == "integer":
            wide = pl.Float64 if dtype in (pl.UInt64, pl.Int128) else pl.Int64
            column = column.cast(wide)
        elif kind == "float":
            column = column.cast(pl.Float64)
        elif kind == "string":
            column = column.cast(pl.String)
        elif kind == "datetime":
            aware = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
            column = column.dt.convert_time_zone("UTC") if aware else column.dt.replace_time_zone("UTC")
            column = column.cast(pl.Datetime("us", "UTC"))
        expressions.append(column)
    return expressions
