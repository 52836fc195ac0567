"""The algorithm library: every algorithm that a training job can name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from shared.platform.errors import FieldError, InvalidContent, invalid_field
from shared.training.algorithms.base import Algorithm, FittedModel, Hyperparameters, Trainer
from shared.training.algorithms.xgboost import XGBoost

__all__ = ["ALGORITHMS", "Algorithm", "FittedModel", "Hyperparameters", "Trainer", "algorithm", "catalogue", "parse"]

ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType({entry.name: entry for entry in (XGBoost(),)})


def algorithm(name: str) -> Algorithm:
    """:raises InvalidContent: there is none of this name."""
    try:
        return ALGORITHMS[name]
    except KeyError:
        raise invalid_field("algorithm", f"{name!r} is not one of {', '.join(ALGORITHMS)}") from None


def parse(name: str, given: Mapping[str, Any]) -> Hyperparameters:
    """The hyperparameters of an algorithm, complete with defaults.

    :raises InvalidContent: unknown algorithm, unknown names, values out of range; each field is told.
    """
    try:
        return algorithm(name).hyperparameters.model_validate(dict(given))
    except ValidationError as error:
        details = [
            FieldError(".".join(("hyperparameters", *map(str, problem["loc"][:1]))), problem["msg"])
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise InvalidContent("hyperparameters are not valid", target=details[0].field, details=details) from error


def catalogue() -> list[dict[str, Any]]:
    """Every algorithm with the JSON schema of its hyperparameters, enough to draw a form."""
    return [
        {
            "name": entry.name,
            "title": entry.title,
            "description": entry.description,
            "needs_labels": entry.needs_labels,
            "hyperparameters": entry.hyperparameters.model_json_schema(),
        }
        for entry in ALGORITHMS.values()
    ]
