"""The batch executor: fits a plan on the training part and runs it over a file, with Polars.

Every pass is a lazy query on the streaming engine; only history holds columns of the dataset in memory.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from shared.datasets.model import ColumnType
from shared.features.compatibility import input_types
from shared.features.fitting import column_type, training_statistics
from shared.features.history.events import EncodedEvents, EventLayout, encode_frame
from shared.features.inputs import Read, batch_input, column_named
from shared.features.kinds.behavioural import Behavioural, event_layout, history_read
from shared.features.labels import known_at_expression, label_expression
from shared.features.plan import FeaturePlan, plan_from_statistics
from shared.platform.errors import FieldError, InvalidContent

if TYPE_CHECKING:
    import polars as pl

    from shared.features.config import FeatureConfig

_HISTORY: Final = "__history__"
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
#: Rows a row group of files between two steps: readers hold several groups of each file at once.
SCRATCH_ROWS: Final = 16_384


class EntityPart(NamedTuple):
    """The history features of one entity, and what events must carry for them alone."""

    layout: EventLayout
    features: tuple[Behavioural, ...]


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

    The whole frame is everybody's past, whatever part of it the plan was fitted on. Holds the events of one entity in
    memory at a time, and the new columns too unless there is a ``scratch`` folder to put them in.

    :raises InvalidContent: the frame does not fit the plan.
    """
    import polars as pl

    found = [frame]
    for part in entity_parts(plan):
        for column in history_columns(part, encode_events(plan, part.layout, frame)):
            if scratch is None:
                found.append(column.to_frame().lazy())
            else:
                file = scratch / f"history-{len(found)}.parquet"
                column.to_frame().write_parquet(file, compression="lz4", row_group_size=SCRATCH_ROWS)
                found.append(pl.scan_parquet(file))
    return pl.concat(found, how="horizontal") if len(found) > 1 else frame


def entity_parts(plan: FeaturePlan) -> tuple[EntityPart, ...]:
    """The plan's history features by entity, in the order of the entities in its layout."""
    if plan.layout is None:
        return ()
    parts = []
    for entity in plan.layout.entities:
        features = tuple(feature for feature in plan.history_features if feature.entity == entity)
        layout = event_layout(features, plan.layout.time_column, plan.layout.id_column, plan.layout.history_limit)
        parts.append(EntityPart(layout, features))
    return tuple(parts)


def history_columns(part: EntityPart, events: EncodedEvents) -> "Iterator[pl.Series]":
    """The features of ``part`` for every row of ``events``, in their order, one after the other."""
    import polars as pl

    from shared.features.history import batch_history

    features = part.features
    specs = [feature.spec(part.layout) for feature in features]
    for position, values in batch_history.history_columns(part.layout, events, specs):
        yield pl.Series(_HISTORY + features[position].name, values)


def encode_events(plan: FeaturePlan, layout: EventLayout, frame: "pl.LazyFrame") -> EncodedEvents:
    """Every row of ``frame`` as an event of ``layout``, which is the plan's or a part of it, in memory.

    :raises InvalidContent: the frame does not fit the plan.
    """
    wanted = frame.select(event_columns(plan, layout, frame))
    # No name for the frame: each column goes as soon as it is encoded.
    return encode_frame(layout, wanted.collect(engine="streaming").to_dict())


def event_columns(plan: FeaturePlan, layout: EventLayout, frame: "pl.LazyFrame") -> "list[pl.Expr]":
    """What ``encode_frame`` reads; ids are those that have a canonical text, see ``events.id_text``.

    :raises InvalidContent: the frame does not fit the plan.
    """
    config, types, schema = plan.config, _checked_types(plan, frame), frame.collect_schema()
    wanted = {"time": batch_input(Read(layout.time_column, "instant"), types[layout.time_column])}
    for name, _ in layout.numbers:
        wanted[f"number:{name}"] = batch_input(Read(name, "number"), types[name])
    for name in layout.category_columns:
        wanted[f"category:{name}"] = _hashable(name, types[name])
    identifier = layout.id_column
    identifier_type = column_type(schema[identifier]) if identifier and identifier in schema else None
    if identifier and identifier_type in ("string", "integer", "boolean"):
        wanted["id"] = _hashable(identifier, identifier_type)
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
    return [expression.alias(name) for name, expression in wanted.items()]


def _hashable(name: str, column_type: ColumnType) -> "pl.Expr":
    """A category column for ``encode_frame``: whole numbers stay numbers, half the size of their text."""
    return column_named(name) if column_type == "integer" else batch_input(Read(name, "category"), column_type)


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
    return input_types(plan, {name: column_type(dtype) for name, dtype in frame.collect_schema().items()})
