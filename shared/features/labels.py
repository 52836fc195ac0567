"""Reading labels from a dataset, and when they became known (Polars)."""

from typing import TYPE_CHECKING

from shared.features.inputs import MICROSECONDS_PER_DAY, column_named, utc_instant

if TYPE_CHECKING:
    import polars as pl

    from shared.features.config import FeatureConfig

_FRAUD_WORDS = ["1", "true", "t", "yes", "y", "fraud", "fraudulent"]
_GENUINE_WORDS = ["0", "false", "f", "no", "n", "legit", "legitimate", "genuine", "normal", "not_fraud"]


def label_expression(column: str, frame: "pl.LazyFrame") -> "pl.Expr":
    """The label as Int8: 1, 0, or null where it is missing or not understood."""
    import polars as pl

    dtype = frame.collect_schema()[column]
    value = column_named(column)
    if dtype == pl.Boolean:
        return value.cast(pl.Int8)
    if dtype.is_numeric():
        return pl.when(value == 1).then(1).when(value == 0).then(0).cast(pl.Int8)
    word = value.cast(pl.String).str.strip_chars().str.to_lowercase()
    return pl.when(word.is_in(_FRAUD_WORDS)).then(1).when(word.is_in(_GENUINE_WORDS)).then(0).cast(pl.Int8)


def known_at_expression(config: "FeatureConfig", frame: "pl.LazyFrame") -> "pl.Expr":
    """When each label became known, Int64 microseconds since 1970 UTC; null where it never did."""
    import polars as pl

    if config.label_time_column is not None:
        return utc_instant(config.label_time_column, frame).dt.epoch("us")
    if config.label_delay_days is None or config.time_column is None:
        return pl.lit(None, pl.Int64)
    delay = round(config.label_delay_days * MICROSECONDS_PER_DAY)
    return utc_instant(config.time_column, frame).dt.epoch("us") + delay
