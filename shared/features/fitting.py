"""Reading the training part of a dataset: which rows it is, and what each column looks like there (Polars)."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.datasets.model import ColumnType
from shared.features.inputs import Read, batch_input, column_named, utc_instant
from shared.features.label_counts import known_labels
from shared.features.statistics import ColumnStatistics, NumericStatistics, TrainingStatistics
from shared.monitoring.categories import MAX_KNOWN
from shared.platform.errors import InvalidContent

if TYPE_CHECKING:
    import polars as pl

    from shared.features.config import FeatureConfig
    from shared.features.plan import FeaturePlan
    from shared.monitoring.categories import CategoryProfile


# Of a number in history; more decimal places are rounded.
MAX_DECIMALS: Final = 6


def column_type(dtype: "pl.DataType") -> ColumnType | None:
    """The schema type of a Polars type, or ``None`` for types that cannot be features (lists, structs, binary)."""
    import polars as pl

    if dtype.is_integer():
        return "integer"
    if dtype.is_float() or isinstance(dtype, pl.Decimal):
        return "float"
    if dtype == pl.Boolean:
        return "boolean"
    if isinstance(dtype, pl.Datetime):
        return "datetime"
    if dtype == pl.Date:
        return "date"
    return "string" if dtype in (pl.String, pl.Categorical, pl.Enum) else None


def training_part(
    frame: "pl.LazyFrame", time_column: str | None, fraction: float
) -> "tuple[pl.LazyFrame, datetime | None]":
    """The earliest ``fraction`` of the rows, and the time of the last of them.

    With a time column the part is every row at or before the quantile's time, so that equal times stay together; rows
    without a time do not belong to it. Without one it is the first rows of the file.
    """
    import polars as pl

    if time_column is None:
        rows = frame.select(pl.len()).collect().item()
        return frame.head(int(rows * fraction)), None
    instant = utc_instant(time_column, frame)
    until = frame.select(instant.quantile(fraction, interpolation="lower")).collect().item()
    if until is None:
        raise InvalidContent("the time column holds no time", target=time_column)
    return frame.filter(instant <= until), _as_utc(until)


def _as_utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None


def profile_categories(frame: "pl.LazyFrame", plan: "FeaturePlan") -> "tuple[CategoryProfile, ...]":
    """The categories that ``plan`` reads, as the training part of a dataset has them.

    Columns that the dataset lacks, or whose values are too many to know a new one by, have none.
    """
    import polars as pl

    from shared.monitoring.categories import profile_category

    present = set(frame.collect_schema())
    config = plan.config
    part, _ = training_part(frame, config.time_column if config.time_column in present else None, config.train_fraction)
    types = {column.name: column.type for column in plan.inputs}
    found = []
    for read in plan.reads():
        if read.form == "category" and read.column in present:
            value = batch_input(read, types[read.column]).alias("value")
            counted = part.group_by(value).agg(pl.len().alias("rows")).head(MAX_KNOWN + 2).collect(engine="streaming")
            counts = dict(zip(counted["value"].to_list(), counted["rows"].to_list(), strict=True))
            missing = counts.pop(None, 0)
            found.append(profile_category(read.column, counts, missing))
    return tuple(profile for profile in found if profile is not None)


def training_statistics(frame: "pl.LazyFrame", config: "FeatureConfig") -> TrainingStatistics:
    """Statistics of every column of the training part: one streaming pass, and one more a categorical column or target
    encoding.

    :raises InvalidContent: the part has no rows.
    """
    import polars as pl

    schema = frame.collect_schema()
    types = {name: kind for name, dtype in schema.items() if (kind := column_type(dtype)) is not None}
    time = utc_instant(config.time_column, frame) if config.time_column else None
    queries = [pl.len().alias("rows")]
    past = {feature.column for feature in config.history or ()}
    if time is not None:
        queries += [time.min().alias("since"), time.max().alias("until")]
    for name, typed in types.items():
        present = batch_input(Read(name, "presence"), typed)
        queries += [(~present).sum().alias(f"{name}|missing"), column_named(name).n_unique().alias(f"{name}|distinct")]
        if typed in ("integer", "float"):
            queries += _numeric_queries(name, typed, config, time)
        if typed == "float" and name in past:
            queries += _decimal_queries(name)
    found: dict[str, Any] = frame.select(queries).collect(engine="streaming").row(0, named=True)
    rows = int(found["rows"])
    if not rows:
        raise InvalidContent("the dataset has no rows to fit features on", target="dataset_id")
    counted_columns = dict.fromkeys([*(config.categorical_columns or ()), *(config.holiday_columns or ())])
    categorical = [name for name in counted_columns if types.get(name) in ("string", "integer")]
    counted = _category_counts(frame, categorical, config)
    columns = {
        name: ColumnStatistics(
            name=name,
            type=typed,
            missing=found[f"{name}|missing"],
            distinct=found[f"{name}|distinct"] - (1 if found[f"{name}|missing"] else 0),
            numeric=_numeric(name, found) if typed in ("integer", "float") else None,
            decimals=next((d for d in range(MAX_DECIMALS) if found.get(f"{name}|decimals_{d}", True)), MAX_DECIMALS),
            categories=counted.get(name, ()),
        )
        for name, typed in types.items()
    }
    return TrainingStatistics(
        rows=rows,
        columns=columns,
        since=_as_utc(found.get("since")),
        until=_as_utc(found.get("until")),
        labels=known_labels(frame, config, types) if config.target_columns else None,
    )


def _numeric_queries(name: str, kind: ColumnType, config: "FeatureConfig", time: "pl.Expr | None") -> "list[pl.Expr]":
    import polars as pl

    number = batch_input(Read(name, "number"), kind)
    queries = [
        number.mean().alias(f"{name}|mean"),
        number.std(ddof=0).alias(f"{name}|std"),
        number.min().alias(f"{name}|minimum"),
        number.max().alias(f"{name}|maximum"),
        number.quantile(0.01, "nearest").alias(f"{name}|quantile_01"),
        number.quantile(0.5, "nearest").alias(f"{name}|median"),
        number.quantile(0.99, "nearest").alias(f"{name}|quantile_99"),
        number.quantile(config.high_value_quantile, "nearest").alias(f"{name}|high_value"),
    ]
    if time is not None:
        clock = time.dt.epoch("us").cast(pl.Float64)
        queries.append(pl.corr(number, clock).alias(f"{name}|time_correlation"))
    return queries


def _decimal_queries(name: str) -> "list[pl.Expr]":
    """Whether so many decimal places hold every value of the column exactly."""
    number = batch_input(Read(name, "number"), "float")
    return [(number.round(d) == number).all().alias(f"{name}|decimals_{d}") for d in range(MAX_DECIMALS)]


def _numeric(name: str, found: dict[str, Any]) -> NumericStatistics | None:
    keys = ("mean", "std", "minimum", "maximum", "quantile_01", "median", "quantile_99", "high_value")
    values = {key: found[f"{name}|{key}"] for key in keys}
    if not all(value is not None and np.isfinite(value) for value in values.values()):
        return None
    correlation = found.get(f"{name}|time_correlation")
    known = correlation is not None and np.isfinite(correlation)
    return NumericStatistics(**values, time_correlation=correlation if known else None)


def _category_counts(
    frame: "pl.LazyFrame", columns: list[str], config: "FeatureConfig"
) -> dict[str, tuple[tuple[str, int], ...]]:
    import polars as pl

    limit = max(config.frequency_limit, config.one_hot_limit)
    # Ties are broken by the value, so that the same data always gives the same plan.
    queries = [
        frame.select(column_named(name).cast(pl.String).alias("value"))
        .drop_nulls()
        .group_by("value")
        .len("count")
        .sort(["count", "value"], descending=[True, False])
        .head(limit)
        for name in columns
    ]
    tables = pl.collect_all(queries, engine="streaming")
    return {name: tuple(table.iter_rows()) for name, table in zip(columns, tables, strict=True)}
