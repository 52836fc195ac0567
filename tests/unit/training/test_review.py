"""What a review team would find."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.training.review import ReviewDays

_DAY = 86_400_000_000


def _review(rows: list[tuple[int, float, int]], per_day: float) -> ReviewDays:
    """Rows of day, score and label."""
    days, scores, labels = zip(*rows, strict=True)
    return ReviewDays.of(scores, labels, np.array(days, dtype=np.int64) * _DAY + 5, per_day)


def test_each_day_has_its_own_capacity() -> None:
    """The two highest of each day are looked at; a quiet day's rest is not lent to a busy one."""
    rows = [(0, 0.9, 1), (0, 0.8, 0), (0, 0.7, 1), (1, 0.1, 1), (4, 0.3, 0), (4, 0.2, 0), (4, 0.25, 1)]
    assert _review(rows, 2).summary() == {
        "per_day": 2,
        "days": 3,
        "reviewed": 5,
        "frauds_found": 3,
        "precision": 3 / 5,
        "recall": 3 / 4,
    }


def test_ties_for_the_last_place_count_as_expected() -> None:
    """Of four equal scores, one of them fraud, two are looked at: half a fraud is found."""
    found = _review([(0, 0.5, 1), (0, 0.5, 0), (0, 0.5, 0), (0, 0.5, 0)], 2).summary()
    assert (found["reviewed"], found["frauds_found"]) == (2, 0.5)


def test_days_before_1970_and_without_fraud_are_days() -> None:
    """A day is a UTC day whatever its sign; without any fraud there is no recall."""
    found = _review([(-2, 0.5, 0), (-1, 0.5, 0)], 1).summary()
    assert (found["days"], found["reviewed"], found["recall"]) == (2, 2, None)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100), st.integers(0, 1)), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_without_ties_it_is_the_head_of_every_day(rows: list[tuple[int, int, int]], per_day: int) -> None:
    """Sorting each day by hand and taking its head finds the same frauds."""
    distinct = [(day, score / 100 - i * 1e-6, label) for i, (day, score, label) in enumerate(rows)]
    heads = []
    for day in {day for day, _, _ in distinct}:
        heads += sorted((score, label) for other, score, label in distinct if other == day)[-per_day:]
    found = _review(distinct, per_day).summary()
    assert found["reviewed"] == len(heads)
    assert found["frauds_found"] == pytest.approx(sum(label for _, label in heads))


def test_intervals_come_from_days() -> None:
    """Sixty days that differ give intervals around the figures; nine days give none."""
    rng = np.random.default_rng(2)
    labels = rng.random(6000) < 0.05
    rows = [(i // 100, float(rng.normal() + 2 * label), int(label)) for i, label in enumerate(labels)]
    review = _review(rows, 5)
    summary, intervals = review.summary(), review.intervals()
    for name in ("precision", "recall"):
        interval = intervals[f"{name}_at_capacity"]
        assert interval is not None
        assert interval["low"] < summary[name] < interval["high"]
        assert interval["high"] - interval["low"] < 0.2
    assert intervals == review.intervals()
    assert set(_review(rows[:900], 5).intervals().values()) == {None}
