"""The batch executor: fits a plan on the training part and runs it over a file, with Polars.

Every pass is a lazy query on the streaming engine; only history holds columns of the dataset in memory.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.datasets.model import ColumnType
from shared.features.fitting import column_type, training_statistics
from shared.features.history.events import EncodedEvents, EventLayout, encode_frame
from shared.features.inputs import Read, batch_input
from shared.features.kinds.behavioural import history_read
from shared.features.labels import known_at_expression, label_expression
from shared.features.plan import FeaturePlan, plan_from_statistics
from shared.platform.errors import FieldError, InvalidContent

if TYPE_CHECKING:
    import polars as pl

    from shared.features.config import FeatureConfig

_HISTORY: Final = "__history__"
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


def fit_plan(frame: "pl.LazyFrame", config: "FeatureConfig") -> FeaturePlan:
    """Fit every kind of the plan on ``frame``, which must hold the training part only.

    :param config: complete, as ``inference.infer_config`` returns it.
    :raises InvalidContent: no rows, or no feature is left.
    """
    return plan_from_statistics(training_statistics(frame, config), config)


def transform(plan: FeaturePlan, frame: "pl.LazyFrame") -> "pl.LazyFrame":
    """The plan's features of every row as Float32 columns in plan order; row order is kept, missing is NaN.

    Finite values beyond float32 become its largest magnitude.

    :raises InvalidContent: the frame lacks a column the plan reads, or has it in another type.
    """
    frame = with_history(plan, frame)
    return frame.select(feature_expressions(plan, frame))


def with_history(plan: FeaturePlan, frame: "pl.LazyFrame", scratch: Path | None = None) -> "pl.LazyFrame":
    """``frame`` with one more column for each history feature, which :func:`feature_expressions` reads.

    The whole frame is everybody's past, whatever part of it the plan was fitted on. Holds the columns of the events
    in memory, and the new columns too unless there is a ``scratch`` folder to put them in.

    :raises InvalidContent: the frame does not fit the plan.
    """
    import polars as pl

    from shared.features.history.batch_history import history_columns

    layout = plan.layout
    if layout is None:
        return frame
    events = encode_events(plan, layout, frame)
    features = plan.history_features
    parts = [frame]
    for found in history_columns(layout, events, [feature.spec(layout) for feature in features]):
        part = pl.DataFrame({_HISTORY + features[position].name: values for position, values in found.items()})
        if scratch is None:
            parts.append(part.lazy())
        else:
            file = scratch / f"history-{len(parts)}.parquet"
            part.write_parquet(file, compression="lz4")
            parts.append(pl.scan_parquet(file))
    return pl.concat(parts, how="horizontal")


def encode_events(plan: FeaturePlan, layout: EventLayout, frame: "pl.LazyFrame") -> EncodedEvents:
    """Every row of ``frame`` as an event of the plan's ``layout``, in memory.

    :raises InvalidContent: the frame does not fit the plan.
    """
    return encode_frame(layout, _event_columns(layout, plan.config, frame, _checked_types(plan, frame)))


def _event_columns(
    layout: EventLayout, config: "FeatureConfig", frame: "pl.LazyFrame", types: dict[str, ColumnType]
) -> "dict[str, pl.Series]":
    """What ``encode_frame`` reads; ids are those that have a canonical text, see ``events.id_text``."""
    schema = frame.collect_schema()
    wanted = {"time": batch_input(Read(layout.time_column, "instant"), types[layout.time_column])}
    for name, _ in layout.numbers:
        wanted[f"number:{name}"] = batch_input(Read(name, "number"), types[name])
    for name in layout.category_columns:
        wanted[f"category:{name}"] = batch_input(Read(name, "category"), types[name])
    identifier = layout.id_column
    if (
        identifier is not None
        and identifier in schema
        and column_type(schema[identifier]) in {"string", "integer", "boolean"}
    ):
        wanted["id"] = batch_input(Read(identifier, "category"), "string")
    if layout.uses_labels:
        lacking = [name for name in (config.label_column, config.label_time_column) if name and name not in schema]
        if lacking:
            raise InvalidContent(
                "the plan looks at past labels, which the dataset does not have",
                details=[FieldError(name, "the dataset has no such column") for name in lacking],
            )
        assert config.label_column is not None
        wanted["label"] = label_expression(config.label_column, frame)
        wanted["known_at"] = known_at_expression(config, frame)
    read = frame.select(expression.alias(name) for name, expression in wanted.items()).collect(engine="streaming")
    return {name: read[name] for name in wanted}


def feature_expressions(plan: FeaturePlan, frame: "pl.LazyFrame") -> "list[pl.Expr]":
    """One named Float32 expression a feature, over the columns of ``frame``, which :func:`with_history` has seen."""
    import polars as pl

    types = _checked_types(plan, frame)
    inputs = {read: batch_input(read, types[read.column]) for read in plan.reads()}
    inputs |= {history_read(feature.name): pl.col(_HISTORY + feature.name) for feature in plan.history_features}
    return [
        feature.batch(inputs)
        .cast(pl.Float64)
        .clip(-_FLOAT32_MAX, _FLOAT32_MAX)
        .cast(pl.Float32)
        .fill_null(float("nan"))
        .alias(feature.name)
        for feature in plan.features
    ]


def _checked_types(plan: FeaturePlan, frame: "pl.LazyFrame") -> dict[str, ColumnType]:
    schema = frame.collect_schema()
    errors: list[FieldError] = []
    types: dict[str, ColumnType] = {}
    for column in plan.inputs:
        found = column_type(schema[column.name]) if column.name in schema else None
        if column.name not in schema:
            errors.append(FieldError(column.name, "the dataset has no such column"))
        elif found != column.type and {found, column.type} != {"integer", "float"}:
            errors.append(FieldError(column.name, f"the plan reads a {column.type}, the dataset holds a {found}"))
        else:
            types[column.name] = found or column.type
    for feature in plan.features:
        for name, form in feature.reads():
            if form == "category" and types.get(name) == "float":
                errors.append(FieldError(name, "the plan reads an integer category, the dataset holds a float"))
    if errors:
        raise InvalidContent("the dataset does not fit the plan", details=dict.fromkeys(errors))
    return types
