"""Reading an uploaded file: what format it is, whether it can be used, and what is in it.

Files are read lazily and in a streaming fashion; memory holds neither the file nor the table.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.datasets.csv_faults import describe_fault, read_header
from shared.datasets.model import Column, ColumnType, DatasetLimits, DatasetSchema, DatasetStatistics, Profile
from shared.platform.errors import FieldError, InvalidContent, Malformed, TooLarge, UnsupportedMedia

if TYPE_CHECKING:
    import polars as pl

PARQUET: Final = "parquet"
CSV: Final = "csv"

_PARQUET_MAGIC = b"PAR1"
_COMPRESSED_MAGICS = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_INFERENCE_ROWS = 10_000
_MAX_NAME = 100
# Not "__…", which the app uses itself, and neither "*" nor "^…", which Polars reads as patterns.
_NAME = re.compile(rf"(?!__|\s*$|[*^])[^\x00]{{1,{_MAX_NAME}}}", re.DOTALL)
_NAME_RULE = f"a column name has 1 to {_MAX_NAME} characters and does not begin with *, ^ or two underscores"
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_LISTED_CATEGORIES = 50
_LISTED_LENGTH = 200


def detect_format(local: Path) -> str:
    """``parquet`` or ``csv``, from the file's first bytes; what the sender calls it does not count.

    :raises InvalidContent: the file is empty.
    :raises UnsupportedMedia: it is an archive or a binary format that is not read here.
    """
    with local.open("rb") as source:
        head = source.read(4096)
    if not head:
        raise InvalidContent("the file is empty", target="file", details=[FieldError("file", "is empty")])
    if head.startswith(_PARQUET_MAGIC):
        return PARQUET
    if head.startswith(_COMPRESSED_MAGICS):
        raise UnsupportedMedia("compressed files are not accepted; upload CSV or Parquet", target="file")
    if b"\x00" in head:
        raise UnsupportedMedia("the file is neither CSV (UTF-8) nor Parquet", target="file")
    return CSV


def read_profile(local: Path, file_format: str, canonical: Path, limits: DatasetLimits) -> Profile:
    """Check and profile the file ``local``, and write it to ``canonical`` as Parquet with plain column types.

    :raises Malformed: the file cannot be read as what it claims to be.
    :raises InvalidContent: it has no rows, or columns that cannot be used; each is named.
    :raises TooLarge: more rows or columns than ``limits`` allow.
    """
    import polars as pl

    rows = write_canonical(local, file_format, canonical, limits)
    with _readable(local, file_format):
        return _profile(pl.scan_parquet(canonical), rows)


def write_canonical(
    local: Path, file_format: str, canonical: Path, limits: DatasetLimits, *, as_text: Collection[str] = ()
) -> int:
    """Check the file ``local`` and write it to ``canonical``; the number of rows. Raises as :func:`read_profile`.

    :param as_text: columns of a CSV file whose values stay the text that they are.
    """
    import polars as pl

    header = read_header(local) if file_format == CSV else []
    with _readable(local, file_format):
        frame = pl.scan_parquet(local) if file_format == PARQUET else _scan_csv(local, header, as_text)
        _check_columns(frame.collect_schema(), limits)
        rows = int(frame.select(pl.len()).collect(engine="streaming").item())
        if rows == 0:
            raise InvalidContent("the file has no rows", target="file", details=[FieldError("file", "has no rows")])
        if rows > limits.rows:
            raise TooLarge(f"the file has {rows} rows; at most {limits.rows} are accepted", target="file")
        frame.select(_canonical(frame.collect_schema())).sink_parquet(canonical, compression="zstd")
    return rows


@contextmanager
def _readable(local: Path, file_format: str) -> Iterator[None]:
    """Say what is wrong with a file that Polars cannot read."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError) as error:
        reason = describe_fault(local) if file_format == CSV else None
        told = f"the file cannot be read as {file_format}" + (f": {reason}" if reason else "")
        raise Malformed(told, target="file", details=[FieldError("file", reason)] if reason else []) from error


def _scan_csv(local: Path, header: list[str], as_text: Collection[str]) -> "pl.LazyFrame":
    import polars as pl

    types: dict[str, type[pl.DataType]] = {name: pl.String for name in header if name in as_text}
    scan = partial(pl.scan_csv, local, try_parse_dates=True, schema_overrides=types)
    sampled = scan(infer_schema_length=_INFERENCE_ROWS)
    try:
        sampled.select(pl.all().null_count()).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        # A value further down does not fit the type that the first rows suggest: let every row have its say.
        sampled = scan(infer_schema_length=None)
    names = sampled.collect_schema().names()
    # Polars leaves doubled quotes in names as they are.
    return sampled.rename(dict(zip(names, header, strict=True))) if len(names) == len(header) else sampled


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


def _profile(frame: "pl.LazyFrame", rows: int) -> Profile:
    import polars as pl

    schema = frame.collect_schema()
    wanted: list[pl.Expr] = []
    for name, dtype in schema.items():
        wanted += [expression.alias(f"{name}\x00{key}") for key, expression in _figures(name, dtype).items()]
    found = frame.select(wanted).collect(engine="streaming").row(0, named=True)
    stats: dict[str, dict[str, Any]] = {name: {} for name in schema}
    for label, value in found.items():
        name, _, key = label.partition("\x00")
        stats[name][key] = _json_value(value)
    listed = [
        name
        for name, dtype in schema.items()
        if dtype == pl.String
        and 0 < stats[name]["distinct_count"] <= _LISTED_CATEGORIES
        and (stats[name]["max_length"] or 0) <= _LISTED_LENGTH
    ]
    for name in listed:
        counts = frame.group_by(name).len().sort(["len", name], descending=[True, False]).collect(engine="streaming")
        # PostgreSQL's JSON cannot hold NUL.
        stats[name]["values"] = {
            str(value).replace("\x00", "�"): count for value, count in counts.iter_rows() if value is not None
        }
    columns = [
        Column(name=name, type=_column_type(dtype) or "string", nullable=stats[name]["null_count"] > 0)
        for name, dtype in schema.items()
    ]
    return Profile(DatasetSchema(columns=columns), DatasetStatistics(column_stats=stats), rows)


def _figures(name: str, dtype: "pl.DataType") -> "dict[str, pl.Expr]":
    import polars as pl

    column = pl.col(name)
    figures = {"null_count": column.null_count(), "distinct_count": column.approx_n_unique()}
    if dtype.is_numeric():
        finite = column.filter(column.is_finite()) if dtype.is_float() else column
        figures |= {"min": finite.min(), "max": finite.max(), "mean": finite.mean(), "std": finite.std()}
        figures |= {f"p{round(100 * q):02d}": finite.quantile(q, "linear") for q in _QUANTILES}
        if dtype.is_float():
            figures["not_finite_count"] = (~column.is_finite()).sum()
    elif dtype == pl.String:
        lengths = column.str.len_chars()
        figures |= {"min_length": lengths.min(), "max_length": lengths.max()}
    elif dtype == pl.Boolean:
        figures["true_count"] = column.sum()
    else:
        figures |= {"min": column.min(), "max": column.max()}
    return figures


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else value
