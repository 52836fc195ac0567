"""Labels by category as they were known at a few instants of the training part: what target encoding is fitted on."""

from typing import TYPE_CHECKING

from shared.features.inputs import Read, batch_input, utc_instant
from shared.features.labels import known_at_expression, label_expression
from shared.features.statistics import KnownLabels

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from shared.datasets.model import ColumnType
    from shared.features.config import FeatureConfig


def known_labels(
    frame: "pl.LazyFrame", config: "FeatureConfig", types: "Mapping[str, ColumnType]"
) -> KnownLabels | None:
    """Count, for each column of ``config.target_columns`` in one streaming pass, the labels that were known when each
    block of time began, and when the last one ended; ``None`` when no row has a time.

    Blocks are cut at quantiles of the time, so that rows of one time share a block. A label whose delay the
    configuration does not tell counts as known right after its transaction.

    :param frame: the training part; it has a time and a label column.
    """
    import polars as pl

    assert config.time_column is not None
    assert config.label_column is not None
    columns = tuple(dict.fromkeys(config.target_columns or ()))
    time = utc_instant(config.time_column, frame)
    instants = _block_ends(frame, time, config.target_folds)
    if not instants:
        return None
    # The first microsecond at which the row is in the past and its label known.
    counts_from = time.dt.epoch("us") + 1
    if config.label_time_column is not None or config.label_delay_days is not None:
        known_at = known_at_expression(config, frame)
        both = known_at.is_not_null() & time.is_not_null()
        counts_from = pl.when(both).then(pl.max_horizontal(counts_from, known_at))
    label = label_expression(config.label_column, frame)
    counted = [(pl.col("from") <= instant).sum().alias(f"known_{n}") for n, instant in enumerate(instants)]
    counted += [
        ((pl.col("from") <= instant) & (pl.col("label") == 1)).sum().alias(f"fraud_{n}")
        for n, instant in enumerate(instants)
    ]
    labelled = frame.select(
        counts_from.alias("from"),
        label.alias("label"),
        *(batch_input(Read(name, "category"), types[name]).alias(f"of {name}") for name in columns),
    ).drop_nulls(["from", "label"])
    newest = f"known_{len(instants) - 1}"
    # Ties are broken by the value, so that the same data always gives the same plan.
    by_category = [
        labelled.rename({f"of {name}": "value"})
        .drop_nulls("value")
        .group_by("value")
        .agg(counted)
        .filter(pl.col(newest) > 0)
        .sort([newest, "value"], descending=[True, False])
        .head(config.frequency_limit)
        for name in columns
    ]
    total, *tables = pl.collect_all([labelled.select(counted), *by_category], engine="streaming")
    return KnownLabels(
        instants=instants,
        total=total.row(0),
        categories={
            name: {value: tuple(counts) for value, *counts in table.iter_rows()}
            for name, table in zip(columns, tables, strict=True)
        },
    )


def _block_ends(frame: "pl.LazyFrame", time: "pl.Expr", blocks: int) -> tuple[int, ...]:
    """Ascending; fewer than ``blocks`` where many rows share a time, none where none has one."""
    ends = [time.quantile(n / blocks, "lower").dt.epoch("us").alias(str(n)) for n in range(1, blocks)]
    last = (time.max().dt.epoch("us") + 1).alias(str(blocks))
    found = frame.select(*ends, last).collect(engine="streaming").row(0)
    return tuple(sorted({end for end in found if end is not None}))
