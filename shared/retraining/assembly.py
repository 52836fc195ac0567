"""From scored transactions and their labels to a file like the champion's dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.datasets.model import Column, DatasetSchema
from shared.features.config import FeatureConfig
from shared.features.inputs import online_input
from shared.platform.errors import Conflict
from shared.retraining.model import DataStrategy, Replace, SlidingWindow
from shared.retraining.repository import LabelledTransaction

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Assembled:
    """How many rows the file has, and how many of them were scored since."""

    rows: int
    new_rows: int


def write_part(
    transactions: Sequence[LabelledTransaction],
    schema: DatasetSchema,
    types: "pl.Schema",
    config: FeatureConfig,
    target: Path,
) -> None:
    """Transactions as rows of the dataset: its columns and types, label and the label's time filled in.

    A value that does not fit its column is missing; scoring has refused what the model's features need.

    :param types: of the champion's Parquet file.
    """
    import polars as pl

    columns = {column.name: _column(transactions, column, config) for column in schema.columns}
    frame = pl.DataFrame(
        [pl.Series(name, values, dtype=_carrier(schema.column(name)), strict=False) for name, values in columns.items()]
    )
    cast = [_cast(column, types[column.name]) for column in schema.columns]
    frame.select(cast).write_parquet(target)


def _carrier(column: Column | None) -> Any:
    """The type that values travel in before they are cast to the file's."""
    import polars as pl

    assert column is not None
    return {
        "integer": pl.Int64,
        "float": pl.Float64,
        "boolean": pl.Boolean,
        "datetime": pl.Int64,
        "date": pl.Int64,
        "string": pl.String,
    }[column.type]


def _cast(column: Column, wanted: "pl.DataType") -> "pl.Expr":
    import polars as pl

    found = pl.col(column.name)
    if column.type == "date":
        return found.cast(pl.Datetime("us")).cast(wanted, strict=False)
    if column.type == "datetime":
        zone = getattr(wanted, "time_zone", None)
        instant = found.cast(pl.Datetime("us"))
        return (instant.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else instant).cast(wanted)
    return found.cast(wanted, strict=False)


def _column(transactions: Sequence[LabelledTransaction], column: Column, config: FeatureConfig) -> list[Any]:
    if column.name == config.label_column:
        return [each.is_fraud if column.type == "boolean" else int(each.is_fraud) for each in transactions]
    if column.name == config.label_time_column:
        return [None if each.labeled_at is None else int(each.labeled_at.timestamp() * 1e6) for each in transactions]
    read = _reader(column)
    return [read(each.transaction.get(column.name)) for each in transactions]


def _reader(column: Column) -> Callable[[Any], Any]:
    """A function from a JSON value to the column's carrier, None where it does not fit."""
    if column.type in ("datetime", "date"):
        instant = online_input("instant", column.type)
    kinds: dict[str, Callable[[Any], Any]] = {
        "string": lambda value: value if isinstance(value, str) else str(value),
        "boolean": lambda value: value if isinstance(value, bool) else None,
        "integer": lambda value: int(value) if _is_whole(value) else None,
        "float": lambda value: float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None,
    }

    def read(value: Any) -> Any:
        if value is None:
            return None
        if column.type in kinds:
            return kinds[column.type](value)
        try:
            return instant(value)
        except ValueError:
            return None

    return read


def _is_whole(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**63 and float(value).is_integer()


def merge(
    champion: Path, parts: Sequence[Path], config: FeatureConfig, strategy: DataStrategy, target: Path
) -> Assembled:
    """The champion's file and the new rows as one file, in order of time.

    A transaction that both have is taken from the new rows, which know the later label; by the id column where there
    is one, else rows that are alike in all but the label are one.

    :param parts: files of :func:`write_part`.
    :raises Conflict: the strategy looks at time and the dataset has no time column.
    """
    import polars as pl

    new = pl.scan_parquet(list(parts))
    new_rows = int(new.select(pl.len()).collect().item())
    history = pl.scan_parquet(champion)
    label_columns = [name for name in (config.label_column, config.label_time_column) if name is not None]
    if isinstance(strategy, Replace):
        whole = new
    elif config.id_column is not None:
        whole = pl.concat([history.join(new.select(config.id_column), on=config.id_column, how="anti"), new])
    else:
        alike = [name for name in history.collect_schema().names() if name not in label_columns]
        whole = pl.concat([history.join(new.select(alike).unique(), on=alike, how="anti", nulls_equal=True), new])
    if config.time_column is not None:
        whole = whole.sort(config.time_column, maintain_order=True, nulls_last=False)
    if isinstance(strategy, SlidingWindow):
        if config.time_column is None:
            raise Conflict("sliding_window needs a dataset with a time column", target="data_strategy")
        time = pl.col(config.time_column)
        whole = whole.filter(time >= time.max() - timedelta(days=strategy.days))
    frame = whole.collect(engine="streaming")
    frame.write_parquet(target)
    return Assembled(len(frame), new_rows)
