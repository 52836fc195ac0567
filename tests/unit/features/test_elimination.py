"""Recursive elimination on data whose informative features are known."""

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from shared.features.config import RecursiveElimination, SelectionConfig
from shared.features.elimination import Elimination, eliminate
from shared.features.ranking_plot import elimination_svg
from shared.features.selection import SelectionResult, select_features
from shared.platform.errors import InvalidContent

N = 4_000
INFORMATIVE = ("first", "second", "third")
CONFIG = RecursiveElimination(step=0.3, min_features=1, tolerance=0.01)
NOISE = tuple(f"noise_{number}" for number in range(9))


@pytest.fixture(scope="module")
def data() -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int8]]:
    """Three features that the label depends on, nine that are noise."""
    random = np.random.default_rng(11)
    columns = {name: random.normal(size=N).astype(np.float32) for name in (*NOISE, *INFORMATIVE)}
    odds = 2 * columns["first"] + 2 * columns["second"] + 2 * columns["third"] - 1
    labels = (random.random(N) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    return columns, labels


@pytest.fixture(scope="module")
def elimination(data: tuple[dict[str, NDArray[np.float32]], NDArray[np.int8]]) -> Elimination:
    """What is left when noise stands before information."""
    return eliminate((*NOISE, *INFORMATIVE), *data, CONFIG, seed=7)


def test_noise_goes_and_information_stays(elimination: Elimination) -> None:
    """Exactly the features that made the label are kept, in the order given."""
    assert elimination.kept == INFORMATIVE


def test_the_curve_goes_from_all_features_to_the_fewest(elimination: Elimination) -> None:
    """Each round has fewer features; the kept set is the smallest within the tolerance of the best."""
    counts = [entry.features for entry in elimination.rounds]
    assert counts == sorted(set(counts), reverse=True)
    assert (counts[0], counts[-1]) == (12, 1)
    best = max(entry.average_precision for entry in elimination.rounds)
    good = [entry for entry in elimination.rounds if entry.average_precision >= best - 0.01]
    assert elimination.chosen == min(good, key=lambda entry: entry.features)
    assert elimination.rounds[-1].average_precision < best - 0.1, "one feature alone cannot do as well"


def test_the_same_rows_give_the_same_rounds(
    data: tuple[dict[str, NDArray[np.float32]], NDArray[np.int8]], elimination: Elimination
) -> None:
    """Nothing depends on chance but the seed."""
    again = eliminate((*NOISE, *INFORMATIVE), *data, CONFIG, seed=7)
    assert again == elimination


def test_at_least_so_many_are_kept(data: tuple[dict[str, NDArray[np.float32]], NDArray[np.int8]]) -> None:
    """The last round has exactly the fewest features allowed."""
    found = eliminate(INFORMATIVE + NOISE[:6], *data, RecursiveElimination(min_features=4, step=0.5), seed=7)
    assert [entry.features for entry in found.rounds] == [9, 5, 4]


def test_a_class_that_is_missing_from_the_later_rows_is_named(
    data: tuple[dict[str, NDArray[np.float32]], NDArray[np.int8]],
) -> None:
    """Without fraud among the later rows nothing can be judged."""
    columns, labels = data
    early = np.where(np.arange(N) < N // 2, labels, 0).astype(np.int8)
    with pytest.raises(InvalidContent, match="recursive_elimination"):
        eliminate(INFORMATIVE, columns, early, RecursiveElimination(), seed=7)


@pytest.fixture(scope="module")
def selection(data: tuple[dict[str, NDArray[np.float32]], NDArray[np.int8]]) -> SelectionResult:
    """A selection with elimination as its last step."""
    config = SelectionConfig(recursive_elimination=CONFIG)
    return select_features(pl.DataFrame(data[0]), data[1], config, training_rows=N)


def test_selection_eliminates_only_when_asked_to(
    data: tuple[dict[str, NDArray[np.float32]], NDArray[np.int8]], selection: SelectionResult
) -> None:
    """Without the setting noise stays; with it the ranking says of each dropped feature why."""
    usual = select_features(pl.DataFrame(data[0]), data[1], SelectionConfig(), training_rows=N)
    assert len(usual.selected) == 12
    assert usual.report()["recursive_elimination"] is None
    assert {feature.name for feature in selection.selected} == set(INFORMATIVE)
    assert {feature.reason for feature in selection.ranking if not feature.selected} == {
        "eliminated: 3 others do as well"
    }


def test_report_and_picture_show_the_curve(selection: SelectionResult) -> None:
    """Every round is in the report, and is a dot of the picture."""
    report = selection.report()["recursive_elimination"]
    assert report["kept"] == 3
    assert report["rounds"][0]["features"] == 12
    assert selection.elimination is not None
    picture = elimination_svg(selection.elimination, title="<b>").decode()
    assert picture.startswith("<svg")
    assert picture.count("<circle") == len(report["rounds"])
    assert picture.count('<circle class="gain"') == 1
    assert "&lt;b&gt;" in picture
