"""The batch executor: fits a plan on the training part and runs it over a file, with Polars.

Nothing here holds a dataset in memory by itself: every pass is a lazy query on the streaming engine.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from shared.datasets.model import ColumnType
from shared.features.fitting import column_type, training_statistics
from shared.features.inputs import batch_input
from shared.features.plan import FeaturePlan, plan_from_statistics
from shared.platform.errors import FieldError, InvalidContent

if TYPE_CHECKING:
    import polars as pl

    from shared.features.config import FeatureConfig

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
    return frame.select(feature_expressions(plan, frame))


def feature_expressions(plan: FeaturePlan, frame: "pl.LazyFrame") -> "list[pl.Expr]":
    """One named Float32 expression a feature, over the columns of ``frame``."""
    import polars as pl

    types = _checked_types(plan, frame)
    inputs = {read: batch_input(read, types[read.column]) for read in plan.reads()}
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
