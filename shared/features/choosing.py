"""The last step over a feature table: choose features, profile the chosen ones, describe them all.

Reads one column at a time, so that memory holds a sample and a column, never the table.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.features.plan import FeaturePlan
from shared.features.selection import SelectionResult, select_features, stratified_sample
from shared.features.tables import ID, LABEL, TIME
from shared.monitoring.profile import ReferenceProfile, profile_feature

if TYPE_CHECKING:
    import polars as pl

PREVIEW_ROWS = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """The outcome: the plan of the selected features, why them, their profile, and a preview of everything."""

    plan: FeaturePlan
    selection: SelectionResult
    profile: ReferenceProfile
    preview: dict[str, Any]


def choose_features(plan: FeaturePlan, table: Path) -> Choice:
    """Select on the training part of the feature table and profile it.

    :param plan: of every feature in the table.
    """
    import polars as pl

    context = pl.read_parquet(table, columns=[LABEL, TIME])
    rows = training_rows(plan, context)
    labels = context[LABEL][:rows].fill_null(-1).to_numpy()
    positions = stratified_sample(labels, plan.config.selection.sample_rows, plan.config.selection.seed)
    sample: dict[str, NDArray[np.float32]] = {}
    statistics: dict[str, dict[str, Any]] = {}
    for name, values in _columns(table, plan.feature_names):
        sample[name] = values[:rows][positions]
        statistics[name] = basic_statistics(values)
    selection = select_features(pl.DataFrame(sample), labels[positions], plan.config.selection, training_rows=rows)
    chosen = plan.select(feature.name for feature in selection.selected)
    profile = ReferenceProfile(
        rows=rows,
        features=tuple(profile_feature(name, values[:rows]) for name, values in _columns(table, chosen.feature_names)),
    )
    return Choice(chosen, selection, profile, _preview(plan, table, statistics))


def training_rows(plan: FeaturePlan, context: "pl.DataFrame") -> int:
    """How many of the table's first rows the plan was fitted on."""
    if plan.fit.until is None:
        return min(plan.fit.rows, context.height)
    return int((context[TIME] <= plan.fit.until).sum())


def basic_statistics(values: NDArray[np.float32]) -> dict[str, Any]:
    """Counts and moments of one feature over all rows, in double precision."""
    present = values[~np.isnan(values)].astype(np.float64)
    known = len(present) > 0
    return {
        "missing": int(len(values) - len(present)),
        "mean": float(present.mean()) if known else None,
        "std": float(present.std()) if known else None,
        "minimum": float(present.min()) if known else None,
        "maximum": float(present.max()) if known else None,
    }


def _columns(table: Path, names: tuple[str, ...]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    import polars as pl

    for name in names:
        yield name, pl.read_parquet(table, columns=[name])[name].to_numpy()


def _preview(plan: FeaturePlan, table: Path, statistics: dict[str, dict[str, Any]]) -> dict[str, Any]:
    import polars as pl

    columns = [ID, TIME, LABEL, *plan.feature_names]
    first = pl.scan_parquet(table).head(PREVIEW_ROWS).select(columns).collect()
    rows = [
        {
            "id": identifier,
            "time": time.isoformat() if time else None,
            "label": label,
            "features": {
                name: None if math.isnan(value) else value
                for name, value in zip(plan.feature_names, values, strict=True)
            },
        }
        for identifier, time, label, *values in first.iter_rows()
    ]
    features = [
        {"name": feature.name, "kind": feature.kind, "description": feature.describe(), **statistics[feature.name]}
        for feature in plan.features
    ]
    return {"features": features, "rows": rows}
