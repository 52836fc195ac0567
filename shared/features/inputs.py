"""How a column of a dataset, or a field of a transaction, is read: both sides of every form, next to each other.

A feature never touches raw input. It declares :class:`Read`\\ s, a column in one of four forms:

========== ================================== ==========================
form       batch (Polars)                     online (Python)
========== ================================== ==========================
number     Float64, finite                    float
category   String                             str
instant    Int64, microseconds since 1970 UTC int
presence   Boolean, never null                bool
history    Float64                            float
========== ================================== ==========================

``history`` is no reading of a column: the executors fill it in with history features, under their names.

Missing is null in batch and ``None`` online. NaN and infinity in a file are read as missing; in a transaction they are
refused. A timestamp without an offset is UTC. A date is its midnight UTC.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from shared.datasets.model import ColumnType

if TYPE_CHECKING:
    import polars as pl

Form = Literal["number", "category", "instant", "presence", "history"]

FORMS: dict[ColumnType, frozenset[Form]] = {
    "integer": frozenset({"number", "category", "presence"}),
    "float": frozenset({"number", "presence"}),
    "string": frozenset({"category", "presence"}),
    "boolean": frozenset({"number", "category", "presence"}),
    "datetime": frozenset({"instant", "presence"}),
    "date": frozenset({"instant", "presence"}),
}

MICROSECONDS_PER_DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_INSTANT = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST_INSTANT = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
# Integers beyond this are not exact in float64; a file of 64-bit integers cannot hold more than 2**64 either.
_LARGEST_INTEGER = 2**64


class Read(NamedTuple):
    """One column in one form."""

    column: str
    form: Form


def column_named(name: str) -> "pl.Expr":
    """The column of exactly this name; Polars would take ``*`` and ``^…$`` for patterns."""
    import polars as pl

    pattern = name == "*" or (name.startswith("^") and name.endswith("$"))
    return pl.col(f"^{re.escape(name)}$") if pattern else pl.col(name)


def batch_input(read: Read, column_type: ColumnType) -> "pl.Expr":
    """The expression that reads ``read`` from a dataset whose column has ``column_type``."""
    import polars as pl

    column = column_named(read.column)
    if read.form == "number":
        number = column.cast(pl.Float64)
        return pl.when(number.is_finite()).then(number) if column_type == "float" else number
    if read.form == "category":
        return column.cast(pl.String)
    if read.form == "instant":
        # A naive cast of an aware column keeps the UTC instant.
        return column.cast(pl.Datetime("us")).dt.epoch("us")
    present = column.is_not_null()
    return (present & column.cast(pl.Float64).is_finite().fill_null(False)) if column_type == "float" else present


def utc_instant(column: str, frame: "pl.LazyFrame") -> "pl.Expr":
    """A timestamp or date column as a UTC Datetime in microseconds."""
    import polars as pl

    dtype = frame.collect_schema()[column]
    instant = column_named(column).cast(pl.Datetime("us", dtype.time_zone if isinstance(dtype, pl.Datetime) else None))
    aware = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    return instant.dt.convert_time_zone("UTC") if aware else instant.dt.replace_time_zone("UTC")


def online_input(form: Form, column_type: ColumnType) -> Callable[[Any], Any]:
    """A function from one JSON value, never ``None``, to its form; it raises :class:`ValueError` with the reason."""
    return _READERS[column_type, form]


def _number(value: Any) -> float:
    if value.__class__ is float or value.__class__ is int:
        if -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER:
            return float(value)
        if value.__class__ is float and math.isfinite(value):
            return value
        raise ValueError("must be a finite number")
    raise ValueError(f"must be a number, not {_json_type(value)}")


def _flag(value: Any) -> float:
    if value is True:
        return 1.0
    if value is False:
        return 0.0
    raise ValueError(f"must be true or false, not {_json_type(value)}")


def _string(value: Any) -> str:
    if value.__class__ is str:
        return value
    raise ValueError(f"must be a string, not {_json_type(value)}")


def _integer_category(value: Any) -> str:
    number = _number(value)
    if value.__class__ is int:
        return str(value)
    if not number.is_integer():
        raise ValueError("must be a whole number")
    return str(int(number))


def _boolean_category(value: Any) -> str:
    return "true" if _flag(value) else "false"


def _instant(value: Any) -> int:
    if value.__class__ is str:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a timestamp in ISO 8601, such as 2026-01-31T12:30:00Z") from None
    elif isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        raise ValueError(f"must be a timestamp in ISO 8601, not {_json_type(value)}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    instant = (moment - _EPOCH) // _MICROSECOND
    # An offset may lead out of the calendar.
    if not _FIRST_INSTANT <= instant <= _LAST_INSTANT:
        raise ValueError("must be a time in the years 1 to 9999, UTC")
    return instant


def _calendar_day(value: Any) -> int:
    instant = _instant(value)
    return instant - instant % MICROSECONDS_PER_DAY


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list | tuple) else "an object"


def _checked(reader: Callable[[Any], Any]) -> Callable[[Any], bool]:
    """Presence of a value still demands that the value is one its column could hold."""

    def present(value: Any) -> bool:
        reader(value)
        return True

    return present


_READERS: dict[tuple[ColumnType, Form], Callable[[Any], Any]] = {
    ("integer", "number"): _number,
    ("float", "number"): _number,
    ("boolean", "number"): _flag,
    ("integer", "category"): _integer_category,
    ("string", "category"): _string,
    ("boolean", "category"): _boolean_category,
    ("datetime", "instant"): _instant,
    ("date", "instant"): _calendar_day,
    ("integer", "presence"): _checked(_number),
    ("float", "presence"): _checked(_number),
    ("boolean", "presence"): _checked(_flag),
    ("string", "presence"): _checked(_string),
    ("datetime", "presence"): _checked(_instant),
    ("date", "presence"): _checked(_calendar_day),
}
