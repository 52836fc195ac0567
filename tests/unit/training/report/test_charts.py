"""Charts show the data that they were given: drawn positions are read back by their axes."""

from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from shared.training.evaluation import ScoreCurve
from shared.training.report.charts.beeswarm import LEVELS, beeswarm_chart, stacked, value_levels
from shared.training.report.charts.curves import (
    early_roc_chart,
    monthly_chart,
    precision_recall_chart,
    roc_chart,
    training_chart,
)
from shared.training.report.charts.intervals import Interval, importance_chart, interval_chart
from shared.training.report.charts.scores import reliability_chart, score_distribution_chart
from shared.training.report.charts.trials import trials_chart
from shared.training.report.reliability import reliability
from tests.unit.training.report.pictures import SVG, dots, of_class, parsed, path_points, read_off

NEAR = 0.002  # half a unit of a picture and a tenth from rounding, in shares of an axis
SCORES, LABELS = [0.9, 0.8, 0.3, 0.1], [1, 0, 1, 0]


def _scored(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.05).astype(np.int8)
    labels[:2] = 0, 1
    return np.round(1 / (1 + np.exp(-rng.normal(3 * labels - 2, 1.5))), 4), labels


def test_the_roc_curve_goes_through_the_known_points() -> None:
    """Four rows, five corners; the chosen threshold is where it was said to be."""
    picture = parsed(roc_chart(ScoreCurve.of(SCORES, LABELS), 0.5, 0.5))
    [line] = of_class(picture, "path", "line a")
    expected = [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert read_off(picture, path_points(line)) == pytest.approx(np.array(expected), abs=NEAR)
    assert read_off(picture, dots(picture, "chosen")) == pytest.approx(np.array([(0.5, 0.5)]), abs=NEAR)


def test_the_roc_curve_of_many_rows_is_scikit_learns_and_never_falls() -> None:
    """Thinned, it stays within half a unit of every point of the oracle."""
    scores, labels = _scored(20_000)
    picture = parsed(roc_chart(ScoreCurve.of(scores, labels), 0, 0))
    drawn = path_points(of_class(picture, "path", "line a")[0])
    assert len(drawn) < 2_000
    assert (np.diff(drawn[:, 0]) >= 0).all()
    assert (np.diff(drawn[:, 1]) <= 0).all()
    found = read_off(picture, drawn)
    oracle = np.column_stack(roc_curve(labels, scores, drop_intermediate=False)[:2])
    away = np.abs(oracle[:, None, :] - found[None, :, :]).max(axis=2).min(axis=1)
    assert away.max() < 2 * NEAR


def test_precision_and_recall_are_steps_through_scikit_learns_points() -> None:
    """Between two thresholds precision is that of the lower one, as average precision counts."""
    scores, labels = _scored(300)
    picture = parsed(precision_recall_chart(ScoreCurve.of(scores, labels), 0.5, 0.5))
    found = read_off(picture, path_points(of_class(picture, "path", "line a")[0]))
    precision, recall, _ = precision_recall_curve(labels, scores)
    oracle = np.column_stack((recall, precision))[:-1]  # the last is a convention, not a threshold
    away = np.abs(oracle[:, None, :] - found[None, :, :]).max(axis=2).min(axis=1)
    assert away.max() < 2 * NEAR


def test_the_stretched_roc_curve_marks_recall_at_few_false_alarms() -> None:
    """At 0.1, 1 and 5 %, where the axis is logarithmic; limits finer than the rows allow have no mark."""
    scores, labels = _scored(20_000)
    curve = ScoreCurve.of(scores, labels)
    marks = dots(parsed(early_roc_chart(curve, 0.02, 0.5)), "a")
    assert len(marks) == 3
    assert marks[2, 0] - marks[1, 0] == pytest.approx((marks[1, 0] - marks[0, 0]) * np.log10(5), abs=0.2)
    few = ScoreCurve.of(*_scored(60))
    assert len(dots(parsed(early_roc_chart(few, 0.02, 0.5)), "a")) == 1


def test_training_curves_show_every_round_and_mark_the_best() -> None:
    """Validation each round, training rows each fifth."""
    curves = {"validation": ([1, 2, 3, 4, 5, 6], [6.0, 4, 3, 2, 3, 4]), "train": ([1, 6], [6.0, 1.0])}
    picture = parsed(training_chart("rounds", "log loss", curves, 4))
    drawn = read_off(picture, path_points(of_class(picture, "path", "line a")[0]))
    assert drawn == pytest.approx(np.column_stack(curves["validation"]), abs=0.03)
    [mark] = of_class(picture, "line", "mark")
    at_best = np.array([[float(mark.get("x1", "")), 0.0]])
    assert read_off(picture, at_best)[0, 0] == pytest.approx(4, abs=0.03)


@pytest.mark.parametrize(
    "curves", [{"validation": ([1], [0.5])}, {"validation": ([1, 2, 3], [0.5, 0.5, 0.5])}, {"train": ([7], [0.0])}]
)
def test_short_and_flat_training_curves_can_be_drawn(curves: dict[str, tuple[list[float], list[float]]]) -> None:
    """One round, or nothing learned."""
    parsed(training_chart("rounds", "log loss", curves, 1))


def test_the_score_distribution_counts_every_row() -> None:
    """The heights of the steps, read off the logarithmic axis, are numpy's histogram by class."""
    scores, labels = _scored(5_000)
    picture = parsed(score_distribution_chart(scores, labels, 0.5))
    ticks = {
        float(text.text.replace("k", "e3")): float(text.get("y", "")) - 4
        for text in picture.iter(SVG + "text")
        if text.text and text.get("text-anchor") == "end" and text.get("class") is None and "thres" not in text.text
    }
    low, high = min(ticks), max(ticks)
    decade = (ticks[low] - ticks[high]) / np.log10(high / low)
    for css, part in (("b", 0), ("a", 1)):
        points = path_points(of_class(picture, "path", f"line {css}")[0])
        middles = np.interp((np.arange(50) + 0.5) / 50, [0, 1], points[[0, -1], 0])
        heights = np.array([points[np.searchsorted(points[:, 0], x) - 1, 1] for x in middles])
        counts = low * 10 ** ((ticks[low] - heights) / decade)
        expected = np.histogram(scores[labels == part], 50, (0, 1))[0]
        assert np.where(counts < 0.9, 0, counts) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("scores", [[0.5] * 3, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.1, 0.9, 1.0]])
@pytest.mark.parametrize("labels", [None, [0, 0, 0], [1, 1, 1], [0, 1, 0]])
def test_few_or_equal_scores_and_any_labels_can_be_drawn(scores: list[float], labels: list[int] | None) -> None:
    """Three rows, one class, no labels."""
    parsed(score_distribution_chart(scores, labels, scores[0]))
    if labels is not None:
        parsed(reliability_chart(reliability(scores, labels)))


def test_reliability_bins_hold_all_rows_with_their_rates() -> None:
    """A score of 1 is in the last tenth, and empty tenths are left out."""
    bins = reliability([0.05, 0.07, 0.95, 1.0, 1.0], [0, 1, 1, 1, 0])
    assert [(b.rows, b.frauds) for b in bins] == [(2, 1), (3, 2)]
    assert bins[0].mean_score == pytest.approx(0.06)
    assert bins[1].fraud_rate == pytest.approx(2 / 3)
    assert all(b.low < b.fraud_rate < b.high for b in bins)


def test_reliability_shows_both_before_and_after_calibration() -> None:
    """Dots at mean score and fraud rate, each in its colour."""
    scores, labels = _scored(5_000)
    after, before = reliability(scores, labels), reliability(np.sqrt(scores), labels)
    picture = parsed(reliability_chart(after, before))
    for css, bins in (("a", after), ("b", before)):
        expected = np.array([(b.mean_score, b.fraud_rate) for b in bins])
        assert read_off(picture, dots(picture, css)) == pytest.approx(expected, abs=NEAR)


def test_months_without_a_figure_have_no_dot() -> None:
    """A gap is not a zero."""
    picture = parsed(monthly_chart("m", "by month", ["2024-01", "2024-02", "2024-03"], {"recall": [0.5, None, 0.25]}))
    assert len(dots(picture, "a")) == 2
    assert {"2024-01", "2024-02", "2024-03"} <= {text.text for text in picture.iter(SVG + "text")}
    parsed(monthly_chart("m", "by month", ["2024-01"], {"recall": [None]}))
    parsed(monthly_chart("m", "by month", ["2024-01"], {"fpr": [0.0]}))


def test_intervals_lie_around_their_figures() -> None:
    """A dot for the figure, a span for the interval, none where it is unknown."""
    picture = parsed(interval_chart("i", "figures", [Interval("recall", 0.5, 0.25, 1.0), Interval("precision", 0.2)]))
    [span] = of_class(picture, "line", "span")
    zero, one = (float(t.get("x", "")) for t in picture.iter(SVG + "text") if t.text in {"0\xa0%", "100\xa0%"})
    shares = [(float(span.get(end, "")) - zero) / (one - zero) for end in ("x1", "x2")]
    assert shares == pytest.approx([0.25, 1.0], abs=NEAR)
    assert (dots(picture, "a")[:, 0] - zero) / (one - zero) == pytest.approx([0.5, 0.2], abs=NEAR)


def test_bars_are_as_long_as_features_are_strong() -> None:
    """In the order given; a model that uses nothing has bars of no length."""
    picture = parsed(importance_chart({"amount": 2.0, "hour": 0.5, "unused": 0.0}, "log-odds"))
    widths = [float(bar.get("width", "")) for bar in of_class(picture, "rect", "bar b")]
    assert np.array(widths) / widths[0] == pytest.approx([1, 0.25, 0], abs=0.001)
    parsed(importance_chart({"amount": 0.0}, "log-odds"))


def test_trials_ring_the_winner() -> None:
    """Dots at number and score."""
    picture = parsed(trials_chart([0, 1, 3], [0.5, 0.75, 0.6], 1, "average precision"))
    assert read_off(picture, dots(picture, "chosen")) == pytest.approx(np.array([(1, 0.75)]), abs=0.01)
    assert len(dots(picture, "b")) == 3
    parsed(trials_chart([4], [-0.01], None, "log loss"))


def _swarm_dots(picture: ElementTree.Element) -> dict[str, np.ndarray]:
    """Places of the dots by class: relative steps, added up."""
    found = {}
    for path in picture.iter(SVG + "path"):
        steps = [step.split() for step in path.get("d", "").replace("h0", "").split("m")[1:]]
        found[path.get("class", "")] = np.cumsum(np.array(steps, dtype=np.int64), axis=0)
    return found


def test_every_row_of_the_beeswarm_is_at_its_shap_value() -> None:
    """Rounded to the cell, low values blue, high ones red, missing ones grey."""
    values = np.array([[1.0], [2.0], [3.0], [np.nan]], dtype=np.float32)
    shap = np.array([[-1.0], [0.0], [1.0], [0.5]], dtype=np.float32)
    picture = parsed(beeswarm_chart(["amount"], values, shap, "log-odds"))
    ticks = {
        text.text: float(text.get("x", "")) for text in picture.iter(SVG + "text") if text.text in {"-1", "0", "1"}
    }
    found = _swarm_dots(picture)
    assert set(found) == {"swarm v2", "swarm v6", "swarm v10", "swarm vm"}
    expected = {"swarm v2": "-1", "swarm v6": "0", "swarm v10": "1"}
    for css, tick in expected.items():
        assert found[css][0, 0] == pytest.approx(ticks[tick], abs=1.1)
    assert found["swarm vm"][0, 0] == pytest.approx((ticks["0"] + ticks["1"]) / 2, abs=1.1)


def test_dots_of_one_column_lie_beside_each_other_as_far_as_they_fit() -> None:
    """Few are stacked one by one around the middle; many are pressed into the row."""
    assert sorted(stacked(np.array([7, 7, 7, 9])).tolist()) == [-2, 0, 0, 2]
    crowd = stacked(np.zeros(2_000, dtype=np.int64))
    assert np.abs(crowd).max() <= 12


def test_a_value_that_many_rows_share_does_not_flatten_the_others() -> None:
    """The crowd is pressed together, a column beside it is not."""
    columns = np.concatenate((np.zeros(900, dtype=np.int64), np.repeat(np.arange(1, 21), 5)))
    moved = stacked(columns)
    assert np.ptp(moved[-5:]) == 8


def test_colours_follow_ranks_and_equal_values_share_one() -> None:
    """However skewed the values; a constant is in the middle."""
    skewed = np.exp(np.arange(24, dtype=np.float32))
    assert value_levels(skewed).tolist() == [level for level in range(LEVELS) for _ in range(2)]
    assert set(value_levels(np.ones(9, dtype=np.float32)).tolist()) == {LEVELS // 2}
    assert value_levels(np.array([np.nan, 1.0], dtype=np.float32)).tolist() == [-1, LEVELS // 2]


def test_a_feature_without_effect_or_values_can_be_drawn() -> None:
    """All SHAP values 0, all values missing."""
    nothing = np.zeros((3, 1), dtype=np.float32)
    parsed(beeswarm_chart(["x"], np.full((3, 1), np.nan, dtype=np.float32), nothing, "log-odds"))
