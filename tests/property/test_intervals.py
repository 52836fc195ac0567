"""Intervals: figures against scikit-learn, ends against a plain bootstrap, and how often they hold the truth."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from shared.training.evaluation import evaluate
from shared.training.intervals import figure_intervals, method, wilson
from shared.training.resampling import Costs, ScoreGroups, day_numbers

_COSTS = Costs(missed_fraud=50, false_alarm=3)


@st.composite
def _weighted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of few values, labels with a fraud at every value, and how often each row was drawn."""
    values = draw(st.lists(st.integers(0, 1000), min_size=1, max_size=12, unique=True))
    extra = draw(st.lists(st.tuples(st.sampled_from(values), st.integers(0, 1)), min_size=1, max_size=30))
    scores = np.array([*values, *(value for value, _ in extra)]) / 1000
    labels = np.array([*(1 for _ in values), *(label for _, label in extra)])
    labels[-1] = 0
    weights = draw(st.lists(st.integers(0, 3), min_size=len(scores), max_size=len(scores)))
    weights[0], weights[-1] = max(weights[0], 1), max(weights[-1], 1)
    return scores, labels, np.array(weights)


def _drawn(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    """Weights of rows, gathered by falling score."""
    distinct = np.unique(scores)[::-1]
    counts = [[[weights[(scores == s) & (labels == y)].sum() for s in distinct]] for y in (1, 0)]
    return [np.array(part, dtype=np.int64) for part in counts]


@settings(max_examples=200)
@given(_weighted(), st.floats(0, 1))
def test_resampled_figures_equal_scikit_learn_with_weights(
    weighted: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float
) -> None:
    """A resample's figures are those of rows that count as often as they were drawn."""
    scores, labels, weights = weighted
    groups = ScoreGroups.of(scores, labels, threshold, max_groups=100)
    frauds, genuine = _drawn(scores, labels, weights)
    drawn = groups.drawn(frauds, genuine, None)
    assert groups.actual().frauds.shape == drawn.frauds.shape
    found = {name: value[0] for name, value in groups.figures(drawn, _COSTS).items()}
    decided = (scores >= threshold).astype(int)
    tn, fp, fn, tp = oracle.confusion_matrix(labels, decided, labels=[0, 1], sample_weight=weights).ravel()
    fpr, tpr, _ = oracle.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    expected = {
        "precision": tp / (tp + fp) if tp + fp else np.nan,
        "recall": oracle.recall_score(labels, decided, sample_weight=weights),
        "f1_score": oracle.f1_score(labels, decided, sample_weight=weights, zero_division=0),
        "fpr": fp / (fp + tn),
        "accuracy": oracle.accuracy_score(labels, decided, sample_weight=weights),
        "auc_roc": oracle.roc_auc_score(labels, scores, sample_weight=weights),
        "auc_pr": oracle.average_precision_score(labels, scores, sample_weight=weights),
        "recall_at_fpr_0_1pct": tpr[fpr <= 0.001].max(),
        "recall_at_fpr_5pct": tpr[fpr <= 0.05].max(),
        "brier": oracle.brier_score_loss(labels, scores, sample_weight=weights),
        "log_loss": oracle.log_loss(labels, scores, labels=[0, 1], sample_weight=weights),
        "fraud_rate": np.average(labels, weights=weights),
        "flag_rate": np.average(decided, weights=weights),
        "cost_total": 50 * fn + 3 * fp,
        "cost_per_transaction": (50 * fn + 3 * fp) / weights.sum(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1)), min_size=2, max_size=80), st.floats(0, 1))
def test_figures_of_the_rows_themselves_are_those_of_the_evaluation(
    rows: list[tuple[int, int]], threshold: float
) -> None:
    """Gathering rows into groups changes no figure, whatever the ties; one class leaves the same ones undefined."""
    scores, labels = np.array([score for score, _ in rows]) / 50, np.array([label for _, label in rows])
    figures = evaluate(scores, labels, threshold)
    groups = ScoreGroups.of(scores, labels, threshold, max_groups=1000)
    for name, value in groups.figures(groups.actual()).items():
        if np.isfinite(value[0]) and figures[name] is not None:
            assert value[0] == pytest.approx(figures[name], rel=1e-9, abs=1e-12), name
        else:
            assert figures[name] in (None, 0.0), name


def _binormal(rng: np.random.Generator, rows: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Frauds lie two standard deviations higher in log-odds; the scores are calibrated badly on purpose."""
    labels = (rng.random(rows) < rate).astype(np.int8)
    margin = rng.normal(size=rows) + 2 * labels - 3
    return 1 / (1 + np.exp(-margin)), labels


def _log_odds(share: Any) -> Any:
    return np.log(share) - np.log1p(-np.asarray(share))


def test_ends_equal_those_of_a_plain_bootstrap() -> None:
    """Drawing rows one by one and computing each figure anew gives the same interval but for chance."""
    rng = np.random.default_rng(5)
    scores, labels = _binormal(rng, 2000, 0.05)
    figures = evaluate(scores, labels, 0.3)
    ours = figure_intervals(scores, labels, figures)
    names = ["auc_roc", "auc_pr", "brier", "log_loss", "f1_score", "recall_at_fpr_5pct", "precision"]
    slow: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(1000):
        rows = rng.integers(0, len(scores), len(scores))
        drawn = evaluate(scores[rows], labels[rows], 0.3)
        for name in names:
            slow[name].append(drawn[name])
    for name in names:
        low, high = np.percentile(slow[name], [2.5, 97.5])
        if name in ("auc_roc", "auc_pr"):
            drawn = _log_odds(slow[name])
            ends = 2 * _log_odds(figures[name]) - drawn.mean() + np.array([-1.96, 1.96]) * drawn.std()
            low, high = 1 / (1 + np.exp(-ends))
        interval = ours[name]
        assert interval is not None
        # The Monte Carlo error of a 2.5 % quantile of 1000 draws is about 0.08 standard deviations.
        assert [interval["low"], interval["high"]] == pytest.approx(
            [low, high], abs=0.35 * float(np.std(slow[name]))
        ), name


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Over 300 simulated test parts of about 100 frauds, each 95 % interval holds the true figure in 91 to 99 %."""
    rng = np.random.default_rng(11)
    big_scores, big_labels = _binormal(rng, 1_000_000, 0.03)
    truth = evaluate(big_scores, big_labels, 0.25)
    truth["auc_roc"] = stats.norm.cdf(np.sqrt(2))  # of two normal distributions two standard deviations apart
    names = ["auc_roc", "auc_pr", "recall_at_fpr_1pct", "recall_at_fpr_5pct", "precision", "recall", "f1_score", "fpr"]
    names += ["brier", "log_loss", "calibration_error", "flag_rate", "fraud_rate"]
    held = dict.fromkeys(names, 0)
    for seed in range(300):
        scores, labels = _binormal(rng, 3000, 0.03)
        found = figure_intervals(scores, labels, evaluate(scores, labels, 0.25), resamples=300, seed=seed)
        for name in names:
            interval = found[name]
            assert interval is not None
            held[name] += interval["low"] <= truth[name] <= interval["high"]
    assert {name: count / 300 for name, count in held.items() if not 0.91 <= count / 300 <= 0.99} == {}


_DAY = 86_400_000_000


def test_days_are_drawn_whole() -> None:
    """With times the ends are those of drawing days one by one and computing each figure anew, but for chance."""
    rng = np.random.default_rng(9)
    scores, labels = _binormal(rng, 3000, 0.05)
    days = rng.integers(0, 40, 3000)
    figures = evaluate(scores, labels, 0.3)
    ours = figure_intervals(scores, labels, figures, times=days * _DAY + 7)
    names = ["brier", "log_loss", "f1_score"]  # the others are widened, or intervals of another kind
    rows_of = [np.flatnonzero(days == day) for day in range(40)]
    slow: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(600):
        rows = np.concatenate([rows_of[day] for day in rng.integers(0, 40, 40)])
        drawn = evaluate(scores[rows], labels[rows], 0.3)
        for name in names:
            slow[name].append(drawn[name])
    for name in names:
        low, high = np.percentile(slow[name], [2.5, 97.5])
        interval = ours[name]
        assert interval is not None
        assert [interval["low"], interval["high"]] == pytest.approx([low, high], abs=0.4 * float(np.std(slow[name])))


def test_series_of_frauds_widen_the_interval_as_they_should() -> None:
    """Frauds of one day that are all alike count as few: days hold the truth in nine of ten cases, rows do not."""
    rng = np.random.default_rng(21)

    def series(days: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        labels = np.tile(np.r_[np.ones(8), np.zeros(92)], days).astype(np.int8)
        day = np.repeat(np.arange(days), 100)
        shift = np.repeat(rng.normal(size=days), 100)  # how well this day's series is seen
        margin = rng.normal(size=len(day)) + labels * (1.5 + shift) - 3
        return 1 / (1 + np.exp(-margin)), labels, day * _DAY

    big, big_labels, _ = series(10_000)
    truth = evaluate(big, big_labels, 0.25)
    names = ["auc_roc", "auc_pr", "recall", "recall_at_fpr_1pct"]
    held = {unit: dict.fromkeys(names, 0) for unit in ("day", "row")}
    for seed in range(150):
        scores, labels, times = series(60)
        figures = evaluate(scores, labels, 0.25)
        for unit, given_times in (("day", times), ("row", None)):
            found = figure_intervals(scores, labels, figures, times=given_times, resamples=300, seed=seed)
            for name in names:
                interval = found[name]
                assert interval is not None
                held[unit][name] += interval["low"] <= truth[name] <= interval["high"]
    assert min(held["day"].values()) / 150 > 0.89, held["day"]
    assert max(held["row"].values()) / 150 < 0.85, held["row"]


def test_few_days_and_very_many_have_their_own_ways() -> None:
    """Below 20 days rows are drawn; beyond 400 several days make one block."""
    scores, labels = _binormal(np.random.default_rng(2), 2000, 0.05)
    figures, day = evaluate(scores, labels, 0.3), np.arange(2000) % 19
    few = figure_intervals(scores, labels, figures, times=day * _DAY)
    assert few == figure_intervals(scores, labels, figures)
    assert (method(day * _DAY)["unit"], method(np.arange(20) * _DAY)["unit"]) == ("row", "day")
    assert day_numbers(np.arange(-1000, 1000) * _DAY).max() < 401


def test_merging_groups_hardly_moves_an_interval() -> None:
    """With many frauds and few groups the ends stay within a tenth of the interval's width."""
    scores, labels = _binormal(np.random.default_rng(3), 40_000, 0.4)
    figures = evaluate(scores, labels, 0.3)
    exact = figure_intervals(scores, labels, figures, resamples=400, max_groups=10**6)
    merged = figure_intervals(scores, labels, figures, resamples=400, max_groups=1024)
    for name, interval in exact.items():
        other = merged[name]
        assert interval is not None
        assert other is not None
        width = interval["high"] - interval["low"]
        # Other groups are other draws: the ends of 400 differ by chance as well.
        assert abs(other["low"] - interval["low"]) < 0.2 * width, name
        assert abs(other["high"] - interval["high"]) < 0.2 * width, name


def test_intervals_hold_their_figure_and_repeat() -> None:
    """The same rows give the same intervals, each with its figure inside."""
    scores, labels = _binormal(np.random.default_rng(8), 5000, 0.02)
    figures = evaluate(scores, labels, 0.3)
    found = figure_intervals(scores, labels, figures, _COSTS)
    assert found == figure_intervals(scores, labels, figures, _COSTS)
    for name, interval in found.items():
        if name in figures:
            assert interval is not None
            assert interval["low"] <= figures[name] <= interval["high"], name


@pytest.mark.parametrize(("scores", "labels"), [([0.1, 0.2, 0.9], [0, 0, 1]), ([0.5] * 30, [0, 1] * 15), ([0.2], [0])])
def test_tiny_and_tied_test_parts_get_what_they_can_carry(scores: list[float], labels: list[int]) -> None:
    """Shares always have an interval that is not a point; ranking figures need ten rows of each class."""
    figures = evaluate(scores, labels, 0.5)
    found = figure_intervals(scores, labels, figures)
    accuracy = found["accuracy"]
    assert accuracy is not None
    assert accuracy["low"] < accuracy["high"]
    if len(scores) < 30:
        assert found["auc_roc"] is None
    else:
        assert found["auc_roc"] == {"low": 0.5, "high": 0.5}  # all scores equal: no resample ranks them


def test_a_perfect_ranking_is_not_certain() -> None:
    """Ten frauds above everything else: every resample ranks perfectly, and still the interval has a width."""
    scores, labels = np.r_[np.full(10, 0.9), np.linspace(0, 0.5, 500)], np.r_[np.ones(10), np.zeros(500)]
    found = figure_intervals(scores, labels, evaluate(scores, labels, 0.6))
    for name in ("auc_roc", "auc_pr", "recall_at_fpr_1pct", "precision"):
        assert found[name] == wilson(10, 10), name


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_equals_scipy(part: int, whole: int) -> None:
    """Wilson's interval is scipy's, and holds the share."""
    part = min(part, whole)
    ours = wilson(part, whole)
    assert ours is not None
    expected: Any = stats.binomtest(part, whole).proportion_ci(0.95, method="wilson")
    assert [ours["low"], ours["high"]] == pytest.approx([expected.low, expected.high], abs=1e-12)
    assert ours["low"] <= part / whole <= ours["high"]
