"""Models side by side. Every list of values is in the order of the models, so that a chart takes it as it is."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from shared.registry.metrics import BETTER, figure, recorded
from shared.registry.model import Model
from shared.registry.provenance import Provenance, differences

_MOST_FEATURES: Final = 50


def compare(models: Sequence[Model], provenance: Mapping[UUID, Provenance]) -> dict[str, Any]:
    """What differs and what does not, plain and ready for JSON.

    - ``models``: who they are, what they were trained and tested on;
    - ``metrics``: a row a figure with ``values``, ``low`` and ``high`` of the 95 % interval, ``better`` ("higher",
      "lower", or None for a figure that only describes) and ``best`` (positions of the best, several where equal);
    - ``hyperparameters``: ``same``, and ``different`` with None where a model has none of this name;
    - ``features``: how many are ``shared`` by all, and for the others which model has them (``present``);
    - ``importance``: mean absolute contribution of the features that matter most to any model, None where one lacks it;
    - ``by_month``: the main figures along time;
    - ``warnings``: why figures are not quite comparable with those of the first model.
    """
    first = models[0]
    return {
        "models": [_described(model, provenance[model.id]) for model in models],
        "metrics": _metrics(models),
        "hyperparameters": _hyperparameters([model.hyperparameters for model in models]),
        "features": _features([set(model.feature_names or ()) for model in models]),
        "importance": _importance([model.feature_importance or {} for model in models]),
        "by_month": _by_month([model.metrics.get("by_month") or [] for model in models]),
        "warnings": [
            {"model_id": model.id, "message": message}
            for model in models[1:]
            for message in differences(provenance[first.id], first.metrics, provenance[model.id], model.metrics)
        ],
    }


def _described(model: Model, source: Provenance) -> dict[str, Any]:
    months = [month["month"] for month in model.metrics.get("by_month") or []]
    job, feature_set, dataset = source.training_job, source.feature_set, source.dataset
    return {
        **model.model_dump(include={"id", "name", "version", "algorithm", "status", "threshold", "created_at"}),
        "feature_count": len(model.feature_names or ()),
        "training_job": job and job.model_dump(include={"id", "name", "train_test_split"}),
        "feature_set": feature_set and feature_set.model_dump(include={"id", "name", "content_hash"}),
        "dataset": dataset and dataset.model_dump(include={"id", "name", "version", "row_count"}),
        "test": {
            "from": source.tested_from,
            "months": [months[0], months[-1]] if months else None,
            "rows": model.metrics.get("rows"),
            "frauds": model.metrics.get("frauds"),
        },
    }


def _metrics(models: Sequence[Model]) -> list[dict[str, Any]]:
    names = {name for model in models for name in recorded(model.metrics)}
    rows = []
    for name in (*(name for name in BETTER if name in names), *sorted(names - set(BETTER))):
        figures = [figure(model.metrics, name) for model in models]
        values = [found.value for found in figures]
        rows.append(
            {
                "metric": name,
                "better": BETTER.get(name),
                "values": values,
                "low": [found.low for found in figures],
                "high": [found.high for found in figures],
                "best": _best(values, BETTER.get(name)),
            }
        )
    return rows


def _best(values: Sequence[float | None], better: str | None) -> list[int]:
    known = [value for value in values if value is not None]
    if better is None or len(known) < 2:
        return []
    best = max(known) if better == "higher" else min(known)
    return [position for position, value in enumerate(values) if value == best]


def _hyperparameters(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    same, different = {}, []
    for name in sorted({name for parameters in given for name in parameters}):
        values = [parameters.get(name) for parameters in given]
        if all(name in parameters and parameters[name] == values[0] for parameters in given):
            same[name] = values[0]
        else:
            different.append({"name": name, "values": values})
    return {"same": same, "different": different}


def _features(sets: Sequence[set[str]]) -> dict[str, Any]:
    every, shared = set().union(*sets), set.intersection(*sets)
    different = [
        {"feature": name, "present": [name in features for features in sets]} for name in sorted(every - shared)
    ]
    return {"shared": len(shared), "different": different}


def _importance(given: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Ranked by the largest share of any one model's total, because units differ between algorithms."""
    shares: dict[str, float] = {}
    for importance in given:
        total = sum(importance.values())
        for name, value in importance.items():
            shares[name] = max(shares.get(name, 0.0), value / total if total else 0.0)
    ranked = sorted(shares, key=lambda name: (-shares[name], name))[:_MOST_FEATURES]
    return [{"feature": name, "values": [importance.get(name) for importance in given]} for name in ranked]


def _by_month(given: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    by_model = [{month["month"]: month for month in months} for months in given]
    months = sorted({month for model in by_model for month in model})
    names = sorted({name for model in by_model for month in model.values() for name in month} - {"month"})
    series = [
        {"metric": name, "values": [[model.get(month, {}).get(name) for month in months] for model in by_model]}
        for name in names
    ]
    return {"months": months, "series": series}
