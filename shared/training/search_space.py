"""From a space to trials: checked against the algorithm's hyperparameters, drawn by a seed."""

import json
import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from pydantic import TypeAdapter

from shared.platform.errors import FieldError, InvalidContent, invalid_field
from shared.training.algorithms import Hyperparameters, algorithm, parse
from shared.training.search import Range, Search, SearchRequest, Space, Trial, plan_rungs


def plan_search(name: str, base: Hyperparameters, request: SearchRequest) -> Search:
    """A search with its trials drawn, none begun.

    :param name: the algorithm.
    :param base: hyperparameters of what the space does not name.
    :raises InvalidContent: the space names what is no hyperparameter, has values out of range, or too few of them; each
        field is told.
    """
    entry, given = algorithm(name), base.model_dump()
    space = request.space if request.space is not None else TypeAdapter(Space).validate_python(entry.search_space)
    if not space:
        raise invalid_field("search.space", f"{name} has no space of its own: one must be given")
    _check(name, given, space)
    drawn = draw(space, request.trials, request.seed, whole={key for key in space if _is_whole(type(base), key)})
    if len(drawn) < 2:
        raise invalid_field("search.space", "holds only one combination")
    trials = [
        Trial(number=number, hyperparameters=chosen, total_rounds=entry.total_rounds(parse(name, {**given, **chosen})))
        for number, chosen in enumerate(drawn)
    ]
    resource, rungs = plan_rungs(request.method, len(trials), entry.total_rounds(base))
    return Search(
        method=request.method,
        metric=request.metric,
        seed=request.seed,
        space=space,
        resource=resource,
        rungs=rungs,
        trials=trials,
    )


def draw(space: Mapping[str, list[Any] | Range], trials: int, seed: int, whole: set[str]) -> list[dict[str, Any]]:
    """Up to ``trials`` different combinations; fewer only where the space seems to hold no more.

    :param whole: hyperparameters that are whole numbers.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, Any]] = {}
    for _ in range(50 * trials):
        chosen = {name: _value(rng, space[name], name in whole) for name in sorted(space)}
        found.setdefault(json.dumps(chosen), chosen)
        if len(found) == trials:
            break
    return list(found.values())


def _value(rng: np.random.Generator, values: list[Any] | Range, whole: bool) -> Any:
    if isinstance(values, list):
        return values[int(rng.integers(len(values)))]
    margin = 0.5 if whole else 0.0  # every whole number has its full width, the ends too
    low, high = values.low - margin, values.high + margin
    drawn = math.exp(rng.uniform(math.log(low), math.log(high))) if values.log else rng.uniform(low, high)
    drawn = round(drawn) if whole else float(f"{drawn:.6g}")
    return type(drawn)(min(max(drawn, values.low), values.high))


def _check(name: str, given: Mapping[str, Any], space: Space) -> None:
    known = algorithm(name).hyperparameters.model_fields
    problems: list[FieldError] = []
    for key, values in space.items():
        field = f"search.space.{key}"
        if key not in known:
            problems.append(FieldError(field, f"{name} has no such hyperparameter"))
            continue
        for value in (values.low, values.high) if isinstance(values, Range) else values:
            try:
                parse(name, {**given, key: value})
            except InvalidContent as error:
                problems.append(FieldError(field, f"{value!r}: {error.details[0].message}"))
                break
    if problems:
        raise InvalidContent("the search space is not valid", target=problems[0].field, details=problems)


def _is_whole(hyperparameters: type[Hyperparameters], name: str) -> bool:
    types = _types(hyperparameters.model_fields[name].annotation)
    return int in types and float not in types


def _types(annotation: Any) -> set[Any]:
    inner = get_args(annotation)
    return set().union(*map(_types, inner)) if inner else {annotation}
