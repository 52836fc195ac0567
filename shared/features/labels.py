"""Reading labels from a dataset, and when they became known (Polars)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.features.inputs import MICROSECONDS_PER_DAY, column_named, utc_instant
from shared.platform.errors import invalid_field

if TYPE_CHECKING:
    import polars as pl

    from shared.datasets.model import ColumnType
    from shared.features.config import FeatureConfig
    from shared.features.model import SourceDataset

_FRAUD_WORDS = ["1", "true", "t", "yes", "y", "fraud", "fraudulent"]
_GENUINE_WORDS = ["0", "false", "f", "no", "n", "legit", "legitimate", "genuine", "normal", "not_fraud"]

_NEITHER = "are neither 0 (genuine) nor 1 (fraud)"


def why_no_labels(kind: "ColumnType", figures: Mapping[str, Any], rows: int) -> str | None:
    """Why a column cannot be the label of a dataset to learn from, as far as its statistics tell; else ``None``.

    What they leave open (a fraction between 0 and 1, classes missing from the training part only) is found by reading.

    :param figures: the column's entry in ``datasets.statistics``.
    :param rows: of the dataset.
    """
    if figures.get("null_count") == rows:
        return "no row has a label"
    if kind == "boolean":
        if (fraud := figures.get("true_count")) is None:
            return None
        return _one_class(fraud > 0, fraud < rows - figures.get("null_count", 0))
    if kind == "string":
        return _why_no_words(figures)
    least, most = figures.get("min"), figures.get("max")
    if least is None or most is None:
        return "no row has a label" if "min" in figures else None
    if strange := [f"{value:g}" for value in dict.fromkeys((least, most)) if value not in (0, 1)]:
        return f"values such as {' and '.join(strange)} {_NEITHER}"
    return _one_class(most == 1, least == 0)


def require_learnable(source: "SourceDataset", config: "FeatureConfig") -> None:
    """Refuse a dataset whose statistics tell that its labels, or its times, are of no use.

    :raises InvalidContent: naming the column's role.
    """
    columns = source.statistics.column_stats if source.statistics else {}
    rows, label, time = source.row_count, config.label_column, config.time_column
    if rows is None or label is None:
        return
    column = source.schema_.column(label)
    if column and label in columns and (reason := why_no_labels(column.type, columns[label], rows)):
        raise invalid_field("config.label_column", f"{label!r} cannot be the label: {reason}")
    if time in columns and columns[time].get("null_count") == rows:
        raise invalid_field("config.time_column", f"{time!r} holds no time")


def _why_no_words(figures: Mapping[str, Any]) -> str | None:
    counts = figures.get("values")
    if counts is None:
        return (
            f"about {figures['distinct_count']:,} different texts {_NEITHER}" if figures.get("distinct_count") else None
        )
    words = {word.strip().lower() for word in counts}
    if strange := sorted(words.difference(_FRAUD_WORDS, _GENUINE_WORDS)):
        return f"texts such as {strange[0]!r} {_NEITHER}"
    return _one_class(not words.isdisjoint(_FRAUD_WORDS), not words.isdisjoint(_GENUINE_WORDS))


def _one_class(fraud: bool, genuine: bool) -> str | None:
    if fraud and genuine:
        return None
    return f"every label is {'fraud' if fraud else 'genuine'}; both classes are needed"


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
