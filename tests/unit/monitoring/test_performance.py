"""Performance from counts by score cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from shared.monitoring.performance import Cells, change_point, estimated, measured, quantile_ms
from shared.monitoring.rollup import LATENCY_EDGES, UNKNOWN_LATENCY, Cube

SCORES = np.array([0.05, 0.2, 0.4, 0.6, 0.9])
FLAGGED_FROM = 3


def cells(of_row: np.ndarray, labels: np.ndarray) -> Cells:
    """Rows whose score is one of five, which are the cells; label -1 is unknown."""
    codes = of_row[:, None].astype(np.uint8)
    known = labels >= 0
    cube = Cube.of(codes)
    of_label = Cube.of(np.column_stack([codes[known], labels[known].astype(np.uint8)]))
    sums = np.zeros(7, dtype=np.int64)
    np.add.at(sums, of_row, np.rint(SCORES[of_row] * 2**32).astype(np.int64))
    return Cells.of(cube, of_label, sums, 0, FLAGGED_FROM)


@given(st.integers(0, 2**32), st.integers(5, 300))
def test_figures_equal_scikit_learns(seed: int, rows: int) -> None:
    """Of the labelled rows, scores of a cell being ties; Brier score from the cells' means."""
    rng = np.random.default_rng(seed)
    of_row = rng.integers(0, 5, rows)
    labels = rng.choice([-1, 0, 1], rows)
    labels[:2] = 0, 1
    found = measured(cells(of_row, labels))
    known = labels >= 0
    truth, scores, flagged = labels[known], SCORES[of_row[known]], of_row[known] >= FLAGGED_FROM
    expected = {
        "recall": oracle.recall_score(truth, flagged),
        "f1_score": oracle.f1_score(truth, flagged, zero_division=0),
        "fpr": 1 - oracle.recall_score(1 - truth, ~flagged),
        "auc_roc": oracle.roc_auc_score(truth, scores),
        "auc_pr": oracle.average_precision_score(truth, scores),
        "brier": oracle.brier_score_loss(truth, scores),
    }
    if flagged.any():
        expected["precision"] = oracle.precision_score(truth, flagged)
    else:
        assert found["precision"] is None
    for name, value in expected.items():
        each = found[name]
        assert each is not None
        assert each.value == pytest.approx(value, abs=1e-9)
        assert each.low <= each.value <= each.high


def test_unlabelled_rows_are_neither_genuine_nor_fraud() -> None:
    """Figures are of the labelled ones alone; without any there is none."""
    some = cells(np.array([4, 4, 0, 4]), np.array([1, 0, 0, -1]))
    assert measured(some)["precision"] is not None
    assert some.labelled == 3
    assert set(measured(cells(np.array([4, 0]), np.array([-1, -1]))).values()) == {None}


def test_estimates_are_right_where_scores_are_calibrated() -> None:
    """A million labels drawn from the scores: what was estimated without them is what they show."""
    rng = np.random.default_rng(1)
    of_row = rng.choice(5, 1_000_000, p=[0.7, 0.15, 0.08, 0.04, 0.03])
    labels = (rng.random(len(of_row)) < SCORES[of_row]).astype(np.int8)
    found, guessed = measured(cells(of_row, labels)), estimated(cells(of_row, np.full(len(of_row), -1)))
    for name, value in guessed.items():
        each = found[name]
        assert each is not None
        assert value == pytest.approx(each.value, abs=0.003)


def test_estimates_of_nothing_are_unknown() -> None:
    """No rows, no guess."""
    assert set(estimated(cells(np.empty(0, int), np.empty(0, int))).values()) == {None}


def test_intervals_hold_the_truth() -> None:
    """In at least 90 of 100 worlds, for recall and ROC-AUC of 60 frauds."""
    rng = np.random.default_rng(2)
    held = {"recall": 0, "auc_roc": 0}
    frauds, genuine = np.array([0.1, 0.1, 0.2, 0.3, 0.3]), np.array([0.6, 0.2, 0.1, 0.07, 0.03])
    below = np.concatenate([[0], np.cumsum(genuine)[:-1]])
    truth = {"recall": frauds[FLAGGED_FROM:].sum(), "auc_roc": float(np.sum(frauds * (below + genuine / 2)))}
    for _ in range(300):
        of_row = np.concatenate([rng.choice(5, 60, p=frauds), rng.choice(5, 2000, p=genuine)])
        found = measured(cells(of_row, np.repeat([1, 0], [60, 2000])))
        for name in held:
            each = found[name]
            assert each is not None
            held[name] += each.low <= truth[name] <= each.high
    assert min(held.values()) / 300 > 0.9


def test_a_concept_that_stays_raises_no_alarm() -> None:
    """A hundred series of 120 days of about ten frauds: hardly one seems to change."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(100):
        frauds = rng.poisson(10, 120)
        alarms += change_point(rng.binomial(frauds, 0.3).tolist(), frauds.tolist()) is not None
    assert alarms <= 2


def test_a_concept_that_changes_is_found_where_it_did() -> None:
    """From day 90 on twice as many frauds are missed; within a month that is known, and since when."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(50):
        frauds = rng.poisson(10, 120)
        missed = rng.binomial(frauds, np.where(np.arange(120) < 90, 0.25, 0.6))
        found.append(change_point(missed.tolist(), frauds.tolist()))
    assert all(position is not None and abs(position - 90) <= 12 for position in found)


@pytest.mark.parametrize(("missed", "frauds"), [([], []), ([0], [5]), ([0, 0, 0], [0, 0, 0]), ([1, 9], [5, 9])])
def test_short_series_say_nothing(missed: list[int], frauds: list[int]) -> None:
    """Too few frauds on one side of every split."""
    assert change_point(missed, frauds) is None


def test_quantiles_of_latency_are_upper_edges() -> None:
    """Within a cell, which is 25 % wide; unknown latencies do not count."""
    counts = np.zeros(UNKNOWN_LATENCY + 1, dtype=np.int64)
    assert quantile_ms(counts, 0.99) is None
    milliseconds = np.array([3] * 98 + [400, 500])
    np.add.at(counts, np.searchsorted(LATENCY_EDGES, milliseconds, side="right"), 1)
    counts[UNKNOWN_LATENCY] = 1000
    assert 3 <= (quantile_ms(counts, 0.5) or 0) <= 4
    assert 400 <= (quantile_ms(counts, 0.99) or 0) <= 500
