"""Rows of a file as transactions: what a checkout would have sent, and which rows need a closer look.

Columns are converted to the types that the plan reads, all rows at once. What does not convert, a required value that
is missing and texts that a transaction may not hold make a row doubtful; it is then read as a single transaction is,
which decides, and says what is wrong with it. Not finite numbers are missing, as in datasets.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from shared.datasets.model import ColumnType
from shared.features.fitting import column_type
from shared.features.inputs import column_named
from shared.features.plan import FeaturePlan
from shared.platform.errors import FieldError, InvalidContent
from shared.scoring.model import MAX_TEXT, MAX_TRANSACTION_ID

if TYPE_CHECKING:
    import polars as pl

ROW: Final = "__row"
_DOUBTFUL: Final = "__doubtful"
_ID: Final = "transaction_id"


def text_columns(plan: FeaturePlan) -> frozenset[str]:
    """Columns of a CSV file that are read as text first, so that one bad value does not spoil its column."""
    values = {column.name for column in plan.inputs if column.type not in ("datetime", "date")}
    return frozenset(name for name in (_ID, plan.config.id_column, *values) if name is not None)


def require_columns(plan: FeaturePlan, columns: "Mapping[str, Any]") -> None:
    """Refuse a file of which no row can fit.

    :raises InvalidContent: a required column is missing, or every column that the plan reads.
    """
    missing = [column for column in plan.inputs if column.name not in columns]
    needed = missing if len(missing) == len(plan.inputs) else [column for column in missing if column.required]
    if needed:
        details = [FieldError(column.name, "the file has no such column") for column in needed]
        raise InvalidContent("the file does not fit the model's features", target="source", details=details)


class FileRows:
    """Rows of a canonical file, see ``datasets.ingest``, read for a plan.

    ``typed`` has the columns that the plan reads in its types; ``sent`` is what a checkout would have sent, without
    labels and with times in ISO 8601; ``identifiers`` are the transactions' ids. They count for rows that are not
    ``doubtful``.
    """

    def __init__(self, plan: FeaturePlan, frame: "pl.DataFrame") -> None:
        """:param frame: with the row's number in the file as :data:`ROW`."""
        import polars as pl

        schema = frame.schema
        finite = frame.with_columns(_finite(name) for name, dtype in schema.items() if dtype.is_float())
        typed, doubts = [], [_unsendable(name) for name, dtype in schema.items() if dtype == pl.String]
        for column in plan.inputs:
            raw, kind = _raw(column.name, schema)
            value = _converted(raw, kind, column.type)
            typed.append(value.alias(column.name))
            doubts.append(raw.is_not_null() & value.is_null())
            if column.required:
                doubts.append(value.is_null())
        identifier, plain = _identifier(_ID if _ID in schema else plan.config.id_column, schema)
        checked = finite.select(identifier.alias(_ID), (pl.any_horizontal(doubts) | ~plain).alias(_DOUBTFUL))
        labels = (plan.config.label_column, plan.config.label_time_column)
        self._hidden = [ROW, *(name for name in labels if name is not None)]
        self._raw = self._as_sent(finite)
        self.typed: Final = finite.with_columns(typed)
        self.sent: Final = self._as_sent(self.typed)
        self.identifiers: Final = checked[_ID]
        self.doubtful: Final = checked[_DOUBTFUL]

    def transactions(self) -> list[dict[str, Any]]:
        """Each row as a single transaction; of doubtful ones what does not convert is there as it was."""
        found: list[dict[str, Any]] = self.sent.to_dicts()
        for position in self.doubtful.arg_true():
            as_read = found[position]
            for name, value in self._raw.row(position, named=True).items():
                if as_read[name] is None:
                    as_read[name] = value
        return found

    def _as_sent(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        import polars as pl

        kept = frame.drop(self._hidden, strict=False)
        return kept.with_columns(
            column_named(name).dt.to_string("iso:strict" if isinstance(dtype, pl.Datetime) else "iso").alias(name)
            for name, dtype in kept.schema.items()
            if dtype.is_temporal()
        )


def time_order(plan: FeaturePlan, frame: "pl.LazyFrame") -> "pl.LazyFrame":
    """The rows in order of time, ties in file order, those without a time last."""
    assert plan.layout is not None
    raw, kind = _raw(plan.layout.time_column, frame.collect_schema())
    return frame.sort(_converted(raw, kind, "datetime"), nulls_last=True, maintain_order=True)


def _raw(name: str, schema: "pl.Schema") -> "tuple[pl.Expr, ColumnType | None]":
    import polars as pl

    return (column_named(name), column_type(schema[name])) if name in schema else (pl.lit(None), None)


def _finite(name: str) -> "pl.Expr":
    import polars as pl

    column = column_named(name)
    return pl.when(column.is_finite()).then(column).alias(name)


def _unsendable(name: str) -> "pl.Expr":
    column = column_named(name)
    too_long = column.str.len_chars() > MAX_TEXT
    return (too_long | column.str.contains("\x00", literal=True)).fill_null(False)


def _identifier(name: str | None, schema: "pl.Schema") -> "tuple[pl.Expr, pl.Expr]":
    """The ids as text, and whether each is beyond doubt."""
    import polars as pl

    if name is None or name not in schema:
        return pl.lit(None, pl.String), pl.lit(True)
    column = column_named(name)
    if schema[name] not in (pl.String, pl.Int64):
        return pl.lit(None, pl.String), column.is_null()
    text = column.cast(pl.String)
    return text, text.str.len_chars().is_between(1, MAX_TRANSACTION_ID).fill_null(True)


def _converted(raw: "pl.Expr", kind: ColumnType | None, wanted: ColumnType) -> "pl.Expr":
    """``raw`` as ``wanted``; null where it is not that beyond doubt."""
    import polars as pl

    instant = pl.Datetime("us", "UTC")
    target: dict[ColumnType, Any] = {
        "integer": pl.Int64, "float": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "datetime": instant,
        "date": pl.Date,
    }  # fmt: skip
    nothing = pl.lit(None, target[wanted])
    if kind is None:
        return nothing
    if kind == wanted:
        return raw.cast(target[wanted])
    match kind, wanted:
        case ("integer", "float") | ("datetime", "date"):
            return raw.cast(target[wanted])
        case "date", "datetime":
            return raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case "float", "integer":
            whole = raw.cast(pl.Int64, strict=False)
            return pl.when(whole.cast(pl.Float64) == raw).then(whole)
        case "string", _:
            return _from_text(raw, wanted)
    return nothing


def _from_text(raw: "pl.Expr", wanted: ColumnType) -> "pl.Expr":
    """As reading a CSV file would have made it; null where it is something else."""
    import polars as pl

    if wanted == "boolean":
        return raw.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
    if wanted == "datetime":
        return raw.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    if wanted == "date":
        return raw.str.to_date(strict=False)
    number = raw.cast(pl.Float64, strict=False)
    if wanted == "float":
        return pl.when(number.is_finite()).then(number)
    whole = pl.coalesce(raw.cast(pl.Int64, strict=False), number.cast(pl.Int64, strict=False))
    return pl.when(whole.cast(pl.Float64) == number).then(whole)
