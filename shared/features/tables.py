"""A dataset file becomes the feature table: labels checked, rows in order of time, features beside their context.

The table's columns are the plan's features (Float32) and, for training and monitoring, ``__label`` (Int8, null where
unknown), ``__time`` (Datetime in microseconds, UTC), ``__id`` (String) and ``__protected_<name>`` (String).
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.features.batch import feature_expressions, with_history
from shared.features.config import FeatureConfig
from shared.features.fitting import training_part
from shared.features.inputs import column_named, utc_instant
from shared.features.labels import label_expression
from shared.features.plan import FeaturePlan
from shared.platform.errors import invalid_field

if TYPE_CHECKING:
    import polars as pl

LABEL: Final = "__label"
TIME: Final = "__time"
ID: Final = "__id"
PROTECTED_PREFIX: Final = "__protected_"

#: Rows a row group of feature tables.
ROW_GROUP: Final = 131_072


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """What a dataset holds for a configuration."""

    rows: int
    positives: int
    labelled: int
    timeless: int


def check_dataset(frame: "pl.LazyFrame", config: FeatureConfig, *, to_fit: bool = True) -> DatasetCheck:
    """Refuse a dataset that no model can be trained on, before anything is computed.

    :param to_fit: whether a plan will be fitted on the dataset; without that, or a label column, it needs no labels.
    :raises InvalidContent: labels that are neither 0 nor 1, or a training part to fit on without both classes.
    """
    import polars as pl

    label = _label(config, frame)
    given = _label_given(config, frame)
    timeless = column_named(config.time_column).is_null().sum() if config.time_column else pl.lit(0)
    found = (
        frame.select(
            pl.len().alias("rows"),
            label.sum().alias("positives"),
            label.is_not_null().sum().alias("labelled"),
            (given & label.is_null()).sum().alias("strange"),
            timeless.alias("timeless"),
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    if found["strange"]:
        raise invalid_field(
            "config.label_column",
            f"{found['strange']} values of {config.label_column!r} are neither 0 (genuine) nor 1 (fraud)",
        )
    checked = DatasetCheck(found["rows"], found["positives"] or 0, found["labelled"], found["timeless"])
    if not to_fit or config.label_column is None:
        return checked
    part, _ = training_part(frame, config.time_column, config.train_fraction)
    classes = part.select(label.sum().alias("positives"), label.is_not_null().sum().alias("labelled"))
    positives, labelled = classes.collect(engine="streaming").row(0)
    if not positives or positives == labelled:
        raise invalid_field(
            "config.label_column",
            f"the training part (the first {config.train_fraction:.0%} of the rows) has {positives or 0} fraudulent "
            f"and {(labelled or 0) - (positives or 0)} genuine rows; both are needed",
        )
    return checked


def write_feature_table(plan: FeaturePlan, dataset: Path, table: Path) -> None:
    """Run ``plan`` over the Parquet file ``dataset`` and write the feature table.

    :raises InvalidContent: the dataset does not fit the plan.
    """
    import polars as pl

    frame = pl.scan_parquet(dataset)
    if plan.config.time_column is not None:
        frame = _in_order(frame, plan.config.time_column)
    with tempfile.TemporaryDirectory(prefix="history-", dir=table.parent) as scratch:
        frame = with_history(plan, frame, Path(scratch))
        frame.select(table_columns(plan, frame)).sink_parquet(table, row_group_size=ROW_GROUP, engine="streaming")


def table_columns(plan: FeaturePlan, frame: "pl.LazyFrame") -> "list[pl.Expr]":
    """The columns of the feature table, over a ``frame`` that has its history from ``batch.with_history``."""
    return [*feature_expressions(plan, frame), *_context(plan.config, frame)]


def context_columns(config: FeatureConfig, frame: "pl.LazyFrame") -> tuple[str, ...]:
    """Columns of ``frame`` that the table's context is made of."""
    named = (config.label_column, config.time_column, config.id_column, *(config.protected_columns or ()))
    present = frame.collect_schema()
    return tuple(name for name in named if name is not None and name in present)


def _in_order(frame: "pl.LazyFrame", time_column: str) -> "pl.LazyFrame":
    """Rows by time, ties in file order, rows without a time last; a file that is in order is not sorted again."""

    instant = utc_instant(time_column, frame)
    rising = (instant.diff().dt.total_microseconds() >= 0).all() & (instant.null_count() == 0)
    if frame.select(rising).collect().item():
        return frame
    return frame.sort(column_named(time_column), nulls_last=True, maintain_order=True)


def _context(config: FeatureConfig, frame: "pl.LazyFrame") -> "list[pl.Expr]":
    import polars as pl

    # A dataset that a plan is reused on may lack what no feature reads.
    present = frame.collect_schema().names()
    time = utc_instant(config.time_column, frame) if config.time_column else pl.lit(None, pl.Datetime("us", "UTC"))
    identifier = pl.lit(None, pl.String)
    if config.id_column in present:
        identifier = column_named(config.id_column).cast(pl.String)
    protected = [
        column_named(name).cast(pl.String).alias(f"{PROTECTED_PREFIX}{name}")
        for name in config.protected_columns or ()
        if name in present
    ]
    return [
        _label(config, frame).alias(LABEL),
        time.alias(TIME),
        identifier.alias(ID),
        *protected,
    ]


def _label(config: FeatureConfig, frame: "pl.LazyFrame") -> "pl.Expr":
    """The label as Int8; null everywhere in a dataset that has none."""
    import polars as pl

    if config.label_column is None or config.label_column not in frame.collect_schema():
        return pl.lit(None, pl.Int8)
    return label_expression(config.label_column, frame)


def _label_given(config: FeatureConfig, frame: "pl.LazyFrame") -> "pl.Expr":
    """Whether the dataset says anything about the label; NaN in a float label is a label that is missing."""
    import polars as pl

    schema = frame.collect_schema()
    if config.label_column is None or config.label_column not in schema:
        return pl.lit(False)
    source = column_named(config.label_column)
    return source.is_not_null() & (source.is_not_nan() if schema[config.label_column].is_float() else True)
