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

from shared.features.fitting import training_part
from shared.features.plan import FeaturePlan
from shared.features.selection import SelectionResult, select_features, stratified_sample, variance
from shared.features.tables import ID, LABEL, TIME
from shared.monitoring.profile import ReferenceProfile, profile_feature
from shared.platform.errors import InvalidContent

if TYPE_CHECKING:
    import polars as pl

PREVIEW_ROWS = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """The outcome: the plan of the selected features, why them, their profile, and a preview of everything.

    There is no ``selection`` without a label column, or where a plan was given and the training part lacks labels of
    both classes.
    """

    plan: FeaturePlan
    selection: SelectionResult | None
    profile: ReferenceProfile
    preview: dict[str, Any]

    def report(self) -> dict[str, Any]:
        """What ``feature_sets.selection_report`` says of the choice."""
        if self.selection is not None:
            return self.selection.report()
        return {
            "part": "training",
            "training_rows": self.profile.rows,
            "ranking": [],
            "unranked": "the training part does not have labels of both classes",
        }


def choose_features(plan: FeaturePlan, table: Path, *, plan_given: bool = False) -> Choice:
    """Select on the training part of the feature table and profile it. Without a label column nothing can be ranked:
    every feature that varies stays.

    :param plan: of every feature in the table.
    :param plan_given: keep the plan as it is; its features are only ranked, and only where there are labels.
    :raises InvalidContent: the training part has no rows, no feature varies in it, or elimination was asked for and has
        too few labels.
    """
    import polars as pl

    context = pl.read_parquet(table, columns=[LABEL, TIME])
    rows = _training_rows(plan, context)
    labels = context[LABEL][:rows].fill_null(-1).to_numpy()
    config = plan.config.selection
    if plan_given:
        config = config.model_copy(update={"enabled": False, "recursive_elimination": None})
    labelled = plan.config.label_column is not None
    positions = (
        stratified_sample(labels, config.sample_rows, config.seed)
        if labelled
        else np.unique(np.linspace(0, rows - 1, min(config.sample_rows, rows)).astype(np.int64))
    )
    sample: dict[str, NDArray[np.float32]] = {}
    statistics: dict[str, dict[str, Any]] = {}
    for name, values in _columns(table, plan.feature_names):
        sample[name] = values[:rows][positions]
        statistics[name] = basic_statistics(values)
    selection, chosen = None, plan
    if not labelled and not plan_given:
        chosen = plan.select(name for name, values in sample.items() if variance(values) > config.min_variance)
    elif not plan_given or len(np.unique(labels[positions])) == 2:
        selection = select_features(pl.DataFrame(sample), labels[positions], config, training_rows=rows)
    if selection is not None and not plan_given:
        chosen = plan.select(feature.name for feature in selection.selected)
    if not chosen.feature_names:
        raise InvalidContent("no feature varies in the training part: nothing to learn from", target="dataset_id")
    profile = ReferenceProfile(
        rows=rows,
        features=tuple(profile_feature(name, values[:rows]) for name, values in _columns(table, chosen.feature_names)),
    )
    return Choice(chosen, selection, profile, _preview(plan, table, statistics))


def _training_rows(plan: FeaturePlan, context: "pl.DataFrame") -> int:
    """How many of the table's first rows are its training part."""
    import polars as pl

    time = TIME if plan.config.time_column is not None else None
    part, _ = training_part(context.lazy(), time, plan.config.train_fraction)
    rows = int(part.select(pl.len()).collect().item())
    if not rows:
        raise InvalidContent("the dataset has no rows to describe features on", target="dataset_id")
    return rows


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
