"""Which rows are learned from, and what that does to the odds."""

import numpy as np
import pytest

from shared.training.algorithms.base import LabelledHyperparameters
from shared.training.algorithms.imbalance import fit_sample, rows_left_out
from shared.training.evaluation import ScoreCurve
from shared.training.model import UntrainableData
from shared.training.split import temporal_split
from shared.training.training_set import UNKNOWN_TIME, FeatureTable, TrainingSet
from tests.unit.training.runs import LABELLED, fitted

DAY = 86_400_000_000


def _given(**given: object) -> LabelledHyperparameters:
    return LabelledHyperparameters.model_validate({"scale_pos_weight": "none", **given})


def test_without_undersampling_every_row_is_used_in_place(data: TrainingSet) -> None:
    """Nothing is drawn, copied or corrected."""
    sample = fit_sample(data, _given())
    assert sample.rows is None
    assert sample.odds_factor == 1
    assert np.shares_memory(sample.features(data), data.table.features)


def test_undersampling_keeps_frauds_and_so_many_genuine_rows_for_each(data: TrainingSet) -> None:
    """The factor on the odds is the share of genuine rows that stayed, the correction of Dal Pozzolo et al."""
    labels = data.labels(data.split.fit)
    sample = fit_sample(data, _given(undersampling=4))
    frauds = int(labels.sum())
    assert sample.rows is not None
    assert (int(sample.labels.sum()), len(sample.labels)) == (frauds, 5 * frauds)
    assert (np.diff(sample.rows) > 0).all()
    np.testing.assert_array_equal(sample.labels, labels[sample.rows])
    beta, score = sample.odds_factor, 0.6
    assert beta == pytest.approx(4 * frauds / (len(labels) - frauds))
    odds = beta * score / (1 - score)
    assert odds / (1 + odds) == pytest.approx(beta * score / (1 - score + beta * score))


def test_the_seed_decides_which_rows_are_drawn(data: TrainingSet) -> None:
    """Equal seeds draw equal rows, others draw others."""
    first, again = (fit_sample(data, _given(undersampling=2, seed=1)).rows for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, fit_sample(data, _given(undersampling=2, seed=2)).rows)


def test_too_many_rows_leave_room_for_the_frauds(data: TrainingSet) -> None:
    """Genuine rows are drawn, frauds stay while they are at most half, and a warning says so."""
    labels = data.labels(data.split.fit)
    frauds = int(labels.sum())
    sample = fit_sample(data, _given(), max_rows=1000)
    assert (len(sample.labels), int(sample.labels.sum())) == (1000, frauds)
    assert sample.odds_factor == pytest.approx((1000 - frauds) / (len(labels) - frauds))
    scarce = fit_sample(data, _given(), max_rows=100)
    assert (len(scarce.labels), int(scarce.labels.sum())) == (100, 50)
    assert scarce.odds_factor == pytest.approx((50 / (len(labels) - frauds)) / (50 / frauds))
    assert rows_left_out(data, 1000) == [
        f"of {len(labels):,} rows in the fitting part 1,000 are learned from (max_rows), frauds first"
    ]
    assert rows_left_out(data, len(labels)) == []


def test_weights_and_undersampling_are_corrected_together(data: TrainingSet) -> None:
    """The odds are divided by the weight and multiplied by the share that stayed."""
    sample = fit_sample(data, _given(undersampling=9, scale_pos_weight="sqrt"))
    assert sample.weight == pytest.approx(3)
    assert set(sample.weights) == {np.float32(1), np.float32(3)}
    plain = fit_sample(data, _given(undersampling=9))
    assert sample.odds_factor == pytest.approx(plain.odds_factor / 3)
    assert np.exp(sample.log_odds) == pytest.approx(3 / 9, rel=1e-3)


def _days(rows: int, times: np.ndarray | None) -> TrainingSet:
    """One feature whose meaning turns around half way."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(rows, 2)).astype(np.float32)
    sign = np.where(np.arange(rows) < rows * 0.4, -1, 1)
    labels = (sign * values[:, 0] + rng.normal(scale=0.3, size=rows) > 1.2).astype(np.int8)
    table = FeatureTable(values, labels, times, ("turning", "noise"))
    return TrainingSet(table, temporal_split(labels, times, 0.8))


def test_a_row_weighs_half_as_much_for_each_half_life_of_its_age() -> None:
    """Relative to the newest row; one whose time is unknown is as old as the oldest."""
    times = np.concatenate(([UNKNOWN_TIME], np.arange(999) * DAY)).astype(np.int64)
    data = _days(1000, times)
    fit = data.labels(data.split.fit)
    sample = fit_sample(data, _given(half_life_days=10))
    assert sample.recency is not None
    assert sample.recency[[-1, -11, -21]] == pytest.approx([1, 0.5, 0.25])
    assert sample.recency[0] == sample.recency[1] == pytest.approx(1e-6)
    np.testing.assert_array_equal(sample.weights, np.where(fit == 1, sample.weight, 1) * sample.recency)


@pytest.mark.parametrize("name", LABELLED)
def test_every_algorithm_learns_more_of_what_is_recent(name: str) -> None:
    """A feature that has turned around is read as it is now."""
    data = _days(6000, np.arange(6000, dtype=np.int64) * (DAY // 24))
    found = {}
    for half_life in (None, 10.0):
        scores = fitted(data, name, half_life_days=half_life).predict(data.features(data.split.test))
        found[half_life] = ScoreCurve.of(scores, data.labels(data.split.test)).auc_pr() or 0
    assert found[10.0] > found[None] + 0.05


def test_weighing_by_age_needs_times() -> None:
    """Without them nothing is newer than anything."""
    with pytest.raises(UntrainableData, match="time column"):
        fit_sample(_days(1000, None), _given(half_life_days=10))
