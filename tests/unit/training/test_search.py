"""Rungs, promotion and winners, as pure functions of the scores."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.training.search import Search, Trial, plan_rungs


def _search(trials: int, rungs: list[float], resource: str = "rounds", rounds: int = 270) -> Search:
    return Search.model_validate(
        {
            "method": "successive_halving" if len(rungs) > 1 else "random",
            "metric": "auc_pr",
            "seed": 1,
            "space": {"max_depth": [2, 3]},
            "resource": resource,
            "rungs": rungs,
            "trials": [Trial(number=n, hyperparameters={}, total_rounds=rounds) for n in range(trials)],
        }
    )


def _judged(search: Search, scores: Mapping[int, float]) -> Search:
    """Every named trial gets its score in the present rung."""
    for number, score in scores.items():
        trial = search.trials[number]
        done = {"scores": [*trial.scores, score], "rounds": search.budget(trial), "status": "RUNNING"}
        search = search.with_trial(trial.model_copy(update=done))
    return search


@pytest.mark.parametrize(
    ("method", "trials", "rounds", "expected"),
    [
        ("random", 50, 500, ("rounds", [1.0])),
        ("successive_halving", 2, 500, ("rounds", [1.0])),
        ("successive_halving", 9, 500, ("rounds", [1 / 9, 1 / 3, 1.0])),
        ("successive_halving", 100, 500, ("rounds", [1 / 27, 1 / 9, 1 / 3, 1.0])),
        ("successive_halving", 100, 60, ("rounds", [1 / 3, 1.0])),
        ("successive_halving", 9, 1, ("rows", [1 / 9, 1 / 3, 1.0])),
    ],
)
def test_rungs_have_enough_to_tell_trials_apart(
    method: str, trials: int, rounds: int, expected: tuple[str, list[float]]
) -> None:
    """As many halvings as there are trials for, at least ten rounds in the first; few rounds: rows instead."""
    resource, rungs = plan_rungs(method, trials, rounds)
    assert (resource, rungs) == (expected[0], pytest.approx(expected[1]))


def test_the_best_third_goes_on_until_one_has_won() -> None:
    """Nine, three, one; who stays behind is stopped with the score that it has."""
    search = _search(9, [1 / 9, 1 / 3, 1.0])
    assert search.advanced() == search
    search = _judged(search, {n: n / 10 for n in range(8)})
    assert search.advanced() == search, "one is still at work"
    search = _judged(search, {8: 0.05}).advanced()
    assert [trial.number for trial in search.trials if trial.waits] == [5, 6, 7]
    assert {trial.status for trial in search.trials if not trial.waits} == {"STOPPED"}
    assert [search.budget(search.trials[n]) for n in (5, 0)] == [90, 30]
    search = _judged(search, {5: 0.9, 6: 0.1, 7: 0.2}).advanced()
    assert [trial.number for trial in search.trials if trial.waits] == [5]
    search = _judged(search, {5: 0.95}).advanced()
    assert (search.winner, search.trials[5].status) == (5, "COMPLETED")
    assert search.trials[5].scores == [0.5, 0.9, 0.95]
    assert search.advanced() == search


def test_equal_scores_are_decided_by_number() -> None:
    """Not by who was quicker."""
    search = _judged(_search(4, [1.0]), {3: 0.5, 1: 0.5, 0: 0.1, 2: 0.5})
    assert search.advanced().winner == 1


def test_trials_that_failed_are_passed_over() -> None:
    """The others go on; when none is left the search has failed."""
    search = _search(3, [1 / 3, 1.0])
    gone = search.trials[2].model_copy(update={"status": "FAILED", "reason": "no"})
    search = _judged(search.with_trial(gone), {0: 0.1, 1: 0.2}).advanced()
    assert [trial.status for trial in search.trials] == ["STOPPED", "QUEUED", "FAILED"]
    assert not search.failed
    last = search.trials[1].model_copy(update={"status": "FAILED"})
    assert search.with_trial(last).failed


def test_what_comes_late_changes_nothing() -> None:
    """A worker believed dead reports an earlier standing, or on a trial that has ended."""
    search = _judged(_search(3, [1 / 3, 1.0]), {0: 0.3, 1: 0.2, 2: 0.1})
    behind = search.trials[0].model_copy(update={"scores": [], "rounds": 5})
    assert search.with_trial(behind) == search
    onward = search.advanced()
    stopped = search.trials[2].model_copy(update={"scores": [0.99], "rounds": 999})
    assert onward.with_trial(stopped) == onward


def test_rows_start_over_and_rounds_go_on() -> None:
    """A trial's rounds count within a rung when the rungs differ in rows."""
    scores = {0: 0.3, 1: 0.2, 2: 0.1}
    rounds = _judged(_search(3, [1 / 3, 1.0]), scores).advanced().trials[0]
    rows = _judged(_search(3, [1 / 3, 1.0], "rows", rounds=2), scores).advanced().trials[0]
    assert (rounds.rounds, rows.rounds) == (90, 0)


def test_lanes_share_out_what_waits() -> None:
    """Every waiting trial in exactly one of at most four lanes."""
    search = _judged(_search(10, [1.0]), {4: 0.5})
    lanes = search.lanes()
    assert len(lanes) == 4
    assert sorted(n for lane in lanes for n in lane) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert _search(2, [1.0]).lanes() == [[0], [1]]


def test_the_fraction_grows_to_what_the_winners_own_training_leaves() -> None:
    """Nine trials in three rungs are 1 + 2/3 + 2/3 trainings; with the winner's own they are 10/3."""
    search, seen = _search(9, [1 / 9, 1 / 3, 1.0]), [0.0]
    steps: list[dict[int, float]] = [{n: n / 10 for n in range(9)}, {6: 0.1, 7: 0.2, 8: 0.3}, {8: 0.4}]
    for scores in steps:
        for number, score in scores.items():
            search = _judged(search, {number: score})
            seen.append(search.fraction)
        search = search.advanced()
    assert seen == sorted(seen)
    assert seen[9] == pytest.approx(0.3)
    assert search.fraction == pytest.approx(0.7)


def test_the_search_survives_the_database() -> None:
    """As JSON and back."""
    search: Any = _judged(_search(3, [1.0]), {0: 0.25})
    assert Search.model_validate(search.model_dump(mode="json")) == search
    assert search.model_dump(mode="json")["trials"][0]["score"] == 0.25
