"""Spaces: checked at once, drawn by a seed."""

from typing import Any

import pytest

from shared.platform.errors import InvalidContent
from shared.training.algorithms import ALGORITHMS, parse
from shared.training.search import Search, SearchRequest
from shared.training.search_space import plan_search


def _plan(space: dict[str, Any] | None, given: dict[str, Any] | None = None, **changes: Any) -> Search:
    request = SearchRequest.model_validate({"trials": 10, "space": space, **changes})
    return plan_search("xgboost", parse("xgboost", given or {}), request)


def test_trials_are_different_and_within_the_space() -> None:
    """Lists by value, ranges between their ends, whole numbers whole."""
    space = {
        "max_depth": {"low": 2, "high": 4},
        "learning_rate": {"low": 0.01, "high": 0.3, "log": True},
        "subsample": [0.5, 1.0],
        "n_estimators": {"low": 10, "high": 1000, "log": True},
    }
    trials = _plan(space, trials=100).trials
    drawn = [trial.hyperparameters for trial in trials]
    assert [trial.number for trial in trials] == list(range(100))
    assert len({tuple(d.items()) for d in drawn}) == 100
    assert {d["max_depth"] for d in drawn} == {2, 3, 4}
    assert all(type(d["max_depth"]) is int for d in drawn)
    assert {d["subsample"] for d in drawn} == {0.5, 1.0}
    assert all(0.01 <= d["learning_rate"] <= 0.3 for d in drawn)
    assert 30 < sum(d["learning_rate"] < 0.0548 for d in drawn) < 70, "evenly by logarithm"
    assert all(10 <= trial.total_rounds == trial.hyperparameters["n_estimators"] <= 1000 for trial in trials)


def test_a_seed_decides_which_trials_there_are() -> None:
    """The order in which the space was written does not."""
    space = {"max_depth": [2, 3, 4, 5], "gamma": {"low": 0, "high": 5}}
    turned = dict(reversed(space.items()))
    assert _plan(space).trials == _plan(turned).trials
    assert _plan(space).trials != _plan(space, seed=7).trials


def test_a_small_space_gives_fewer_trials() -> None:
    """Each of its combinations once."""
    drawn = [trial.hyperparameters for trial in _plan({"max_depth": [2, 3], "max_bin": [64, 128]}, trials=50).trials]
    assert len(drawn) == 4


@pytest.mark.parametrize("name", [name for name, entry in ALGORITHMS.items() if entry.requires is None])
def test_every_algorithm_has_a_space_of_its_own(name: str) -> None:
    """Which its hyperparameters allow, and which is large enough to be searched."""
    search = plan_search(name, parse(name, {}), SearchRequest(trials=20))
    assert len(search.trials) == 20
    for trial in search.trials:
        parse(name, trial.hyperparameters)


@pytest.mark.parametrize(
    ("space", "field", "message"),
    [
        ({"depth": [1]}, "search.space.depth", "xgboost has no such hyperparameter"),
        ({"max_depth": [3, 99]}, "search.space.max_depth", "99: Input should be less than or equal to 16"),
        ({"max_depth": {"low": 0, "high": 5}}, "search.space.max_depth", "0.0: Input should be greater"),
        ({"max_depth": {"low": 2.5, "high": 5}}, "search.space.max_depth", "2.5: Input should be a valid integer"),
        ({"scale_pos_weight": ["sqrt", "cube"]}, "search.space.scale_pos_weight", "'cube'"),
        ({"max_depth": [3]}, "search.space", "only one combination"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(space: dict[str, Any], field: str, message: str) -> None:
    """At once, with the field and the reason."""
    with pytest.raises(InvalidContent) as refused:
        _plan(space)
    [problem] = refused.value.details
    assert problem.field == field
    assert message in problem.message


@pytest.mark.parametrize(
    "body",
    [
        {"trials": 1},
        {"trials": 101},
        {"space": {}},
        {"space": {"gamma": []}},
        {"space": {"gamma": {"low": 2, "high": 1}}},
        {"space": {"gamma": {"low": 0, "high": 1, "log": True}}},
        {"metric": "accuracy"},
        {"method": "bayesian"},
    ],
)
def test_a_request_out_of_bounds_is_refused(body: dict[str, Any]) -> None:
    """By its schema alone."""
    with pytest.raises(ValueError, match="validation error"):
        SearchRequest.model_validate(body)
