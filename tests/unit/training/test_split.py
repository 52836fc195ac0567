"""The temporal split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.training.model import UntrainableData
from shared.training.split import SplitError, temporal_split


@given(st.lists(st.integers(0, 30), min_size=10, max_size=200), st.floats(0.5, 0.95))
def test_parts_lie_in_time_order_and_no_instant_is_divided(instants: list[int], fraction: float) -> None:
    """Every row of a later part is later than every row of an earlier one, whatever the ties."""
    times = np.sort(np.array(instants, dtype=np.int64))
    labels = np.tile(np.array([0, 1], dtype=np.int8), 100)[: len(times)]
    try:
        split = temporal_split(labels, times, fraction)
    except SplitError:
        return
    assert 0 < split.fit_end < split.train_end < split.rows == len(times)
    if split.ordered_by == "time":
        assert times[split.fit][-1] < times[split.validation][0]
        assert times[split.validation][-1] < times[split.test][0]
        assert split.test_from == times[split.train_end]


def test_fraction_is_met_where_times_allow() -> None:
    """With distinct times the training part has exactly the fraction asked for, the validation part its last tenth."""
    labels = np.tile(np.array([0, 1], dtype=np.int8), 500)
    split = temporal_split(labels, np.arange(1000), 0.8)
    assert (split.fit_end, split.train_end, split.rows) == (720, 800, 1000)


@pytest.mark.parametrize("times", [None, np.zeros(100, dtype=np.int64)])
def test_without_usable_times_file_order_counts_and_is_told(times: np.ndarray | None) -> None:
    """A table without times, or with one time only, is split by position."""
    split = temporal_split(np.tile(np.array([0, 1], dtype=np.int8), 50), times, 0.7)
    assert split.ordered_by == "file"
    assert split.train_end == 70
    assert split.test_from is None


def test_validation_widens_until_it_has_fraud() -> None:
    """Rare fraud pulls the beginning of the validation part back, not the training part's end."""
    labels = np.zeros(1000, dtype=np.int8)
    labels[[5, 650, 900]] = 1
    split = temporal_split(labels, np.arange(1000), 0.8)
    assert split.train_end == 800
    assert split.fit_end <= 650
    assert labels[split.validation].sum() == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "2 labelled rows are too few"),
        ([0] * 50, "all 50 labelled rows are genuine"),
        ([1] * 50, "all 50 labelled rows are fraud"),
        ([1] * 10 + [0] * 40, "the validation part holds no fraud row"),
        ([0, 1] * 20 + [0] * 10, "the test part holds no fraud row"),
    ],
)
def test_rows_that_cannot_be_split_are_refused_with_the_reason(labels: list[int], message: str) -> None:
    """Each way of being unusable has its own sentence."""
    with pytest.raises(UntrainableData, match=message):
        temporal_split(np.array(labels, dtype=np.int8), np.arange(len(labels)), 0.8)


def test_one_instant_that_fills_most_of_the_table_is_refused() -> None:
    """When nearly all rows share one time there is no earlier and later."""
    times = np.array([0] * 99 + [1])
    labels = np.tile(np.array([0, 1], dtype=np.int8), 50)
    with pytest.raises(SplitError, match="same time"):
        temporal_split(labels, times, 0.8)
