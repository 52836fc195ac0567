"""The algorithm library: every algorithm that a training job can name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from shared.platform.errors import FieldError, InvalidContent, invalid_field
from shared.training.algorithms.base import Algorithm, FittedModel, Hyperparameters, Trainer
from shared.training.algorithms.forest import RandomForest
from shared.training.algorithms.isolation import IsolationForest
from shared.training.algorithms.lightgbm import LightGBM
from shared.training.algorithms.linear import LogisticRegression
from shared.training.algorithms.network import NeuralNetwork
from shared.training.algorithms.xgboost import XGBoost

__all__ = ["ALGORITHMS", "Algorithm", "FittedModel", "Hyperparameters", "Trainer", "algorithm", "catalogue", "parse"]

_LIBRARY: Final[tuple[Algorithm, ...]] = (
    XGBoost(),
    LightGBM(),
    RandomForest(),
    LogisticRegression(),
    NeuralNetwork(),
    IsolationForest(),
)
ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType({entry.name: entry for entry in _LIBRARY})


def algorithm(name: str) -> Algorithm:
    """The algorithm to train with.

    :raises InvalidContent: there is none of this name, or its library is not installed.
    """
    entry = ALGORITHMS.get(name)
    if entry is None:
        raise invalid_field("algorithm", f"{name!r} is not one of {', '.join(ALGORITHMS)}")
    if entry.requires is not None:
        raise invalid_field("algorithm", f"{name!r} is not available here: {entry.requires} is not installed")
    return entry


def parse(name: str, given: Mapping[str, Any]) -> Hyperparameters:
    """The hyperparameters of an algorithm, complete with defaults.

    :raises InvalidContent: unknown algorithm, unknown names, values out of range; each field is told.
    """
    try:
        return algorithm(name).hyperparameters.model_validate(dict(given))
    except ValidationError as error:
        details = [
            FieldError(
                ".".join(("hyperparameters", *map(str, problem["loc"][:1]))),
                f"{name} has no such hyperparameter" if problem["type"] == "extra_forbidden" else problem["msg"],
            )
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise InvalidContent("hyperparameters are not valid", target=details[0].field, details=details) from error


def catalogue() -> list[dict[str, Any]]:
    """Every algorithm, whether it can be used here, and the schema of its hyperparameters, enough for a form."""
    return [
        {
            "name": entry.name,
            "title": entry.title,
            "description": entry.description,
            "needs_labels": entry.needs_labels,
            "available": entry.requires is None,
            "hyperparameters": entry.hyperparameters.model_json_schema(),
            "search_space": dict(entry.search_space),
        }
        for entry in ALGORITHMS.values()
    ]
