"""Curves over scores: scikit-learn's where there is one, rising always, and only where they help."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from shared.training.algorithms.base import ExplanationKind, Features
from shared.training.calibration import (
    CalibratedModel,
    Calibration,
    IsotonicCalibration,
    SigmoidCalibration,
    calibrate,
)
from shared.training.evaluation import calibration_error


def _scored(rows: int = 20_000, slope: float = 2.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """float32 scores whose log-odds are ``slope`` times too large, and labels."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(scale=1.5, size=rows) - 3
    labels = (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    return (1 / (1 + np.exp(-slope * margin - 1))).astype(np.float32), labels


class _LogOdds(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator whose decision is its one feature."""

    def fit(self, features: np.ndarray, labels: np.ndarray) -> "_LogOdds":
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0] > 0

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0]


def test_the_sigmoid_is_scikit_learns() -> None:
    """Platt's method on the log-odds gives the probabilities of CalibratedClassifierCV."""
    scores, labels = _scored()
    margin = np.log(scores.astype(np.float64) / (1 - scores.astype(np.float64)))[:, None]
    oracle = CalibratedClassifierCV(FrozenEstimator(_LogOdds().fit(margin, labels)), method="sigmoid").fit(
        margin, labels
    )
    ours = SigmoidCalibration.fit(scores, labels)
    assert ours is not None
    assert ours.apply(scores) == pytest.approx(oracle.predict_proba(margin)[:, 1], abs=2e-4)
    assert ours.slope == pytest.approx(0.5, abs=0.02)  # what was made twice too steep
    assert ours.intercept == pytest.approx(-0.5, abs=0.1)


def test_the_knots_lie_on_scikit_learns_isotonic_regression() -> None:
    """At every knot the curve has the height of the isotonic step function; the knots are inside their steps."""
    scores, labels = _scored(5000)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(scores.astype(np.float64), labels)
    ours = IsotonicCalibration.fit(scores, labels)
    assert ours is not None
    assert len(ours.scores) > 5
    assert oracle.predict(np.array(ours.scores)) == pytest.approx(np.array(ours.probabilities), abs=1e-9)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), min_size=2, max_size=60))
def test_curves_rise_strictly_and_keep_the_ranking(rows: list[tuple[int, int]]) -> None:
    """Whatever they are fitted on, higher scores stay higher and equal ones equal, so ROC-AUC and average precision
    stay what they are."""
    scores = np.array([score for score, _ in rows], dtype=np.float32) / 30
    labels = np.array([label for _, label in rows])
    for curve in (SigmoidCalibration.fit(scores, labels), IsotonicCalibration.fit(scores, labels)):
        if curve is None:
            continue
        grid = np.linspace(0, 1, 101).astype(np.float32)
        applied = curve.apply(grid)
        assert applied.min() >= 0
        assert applied.max() <= 1
        if isinstance(curve, IsotonicCalibration):
            assert (np.diff(applied) > 0).all()
            calibrated = curve.apply(scores.astype(np.float32))
            assert roc_auc_score(labels, calibrated) == pytest.approx(roc_auc_score(labels, scores))
            assert average_precision_score(labels, calibrated) == pytest.approx(average_precision_score(labels, scores))
        else:
            assert (np.diff(applied) >= 0).all()  # a steep one may reach the last float32 below 1


@pytest.mark.parametrize("method", [SigmoidCalibration, IsotonicCalibration])
def test_a_score_does_not_depend_on_its_neighbours(method: type[SigmoidCalibration | IsotonicCalibration]) -> None:
    """Many at a time, one at a time, or every third: the same bits."""
    scores, labels = _scored()
    curve = method.fit(scores, labels)
    assert curve is not None
    scores[:4] = [0, 1, 1e-40, 1 - 2**-24]
    together = curve.apply(scores)
    assert np.array_equal(together[:3000], np.concatenate([curve.apply(scores[i : i + 1]) for i in range(3000)]))
    assert np.array_equal(together[::3], curve.apply(scores[::3]))
    for size in (2, 3, 5, 7, 8, 15, 17):
        assert np.array_equal(together[:size], curve.apply(scores[:size]))


@pytest.mark.parametrize("method", [SigmoidCalibration, IsotonicCalibration])
def test_plain_numbers_are_all_there_is(method: type[SigmoidCalibration | IsotonicCalibration]) -> None:
    """Written to JSON and read back it is the same curve, bit for bit."""
    curve = method.fit(*_scored(3000))
    assert curve is not None
    again = TypeAdapter[SigmoidCalibration | IsotonicCalibration](Calibration).validate_json(curve.model_dump_json())
    assert again == curve
    assert type(again) is method


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([0.1, 0.5, 0.9], [0, 0, 0]),
        ([0.5] * 20, [0] * 20),
        ([0.0, 0.0], [0, 0]),
    ],
)
def test_one_class_gives_no_curve(scores: list[float], labels: list[int]) -> None:
    """There is nothing to fit, and saying so is no error."""
    assert SigmoidCalibration.fit(scores, labels) is None
    assert IsotonicCalibration.fit(scores, labels) is None


def test_scores_that_rank_the_wrong_way_get_no_sigmoid() -> None:
    """A falling curve would turn the model round; that is not what calibration is for."""
    scores, labels = _scored(2000)
    assert SigmoidCalibration.fit(1 - scores, labels) is None


def test_scores_that_separate_the_classes_stay_finite() -> None:
    """Perfect ranking does not drive the sigmoid to infinity: Platt's targets keep away from 0 and 1."""
    curve = SigmoidCalibration.fit([0.1] * 50 + [0.9] * 50, [0] * 50 + [1] * 50)
    assert curve is not None
    assert curve.apply(np.array([0.1, 0.9], dtype=np.float32)) == pytest.approx([1 / 52, 51 / 52], abs=1e-6)


def test_auto_helps_scores_that_are_too_sure() -> None:
    """Log-odds twice too large are put right by a sigmoid; on later rows the calibration error falls to noise."""
    scores, labels = _scored()
    result = calibrate(scores, labels, "auto")
    assert result.to_json()["method"] == "sigmoid"
    assert result.log_loss["sigmoid"] < 0.99 * result.log_loss["none"]
    later, later_labels = _scored(seed=2)
    assert result.calibration is not None
    calibrated = result.calibration.apply(later)
    assert calibration_error(calibrated, later_labels) < 0.3 * calibration_error(later, later_labels)


def test_auto_takes_isotonic_where_no_sigmoid_fits() -> None:
    """A staircase cannot be straightened by two numbers."""
    rng = np.random.default_rng(3)
    truth = rng.choice([0.01, 0.4, 0.5], size=20_000)
    scores = np.select([truth < 0.1, truth < 0.45], [0.2, 0.3], 0.95) + rng.random(20_000) * 0.02
    result = calibrate(scores, (rng.random(20_000) < truth).astype(int), "auto")
    assert result.to_json()["method"] == "isotonic"


@pytest.mark.parametrize("rows", [300, 20_000])
def test_auto_leaves_good_scores_alone(rows: int) -> None:
    """Scores that are probabilities already, or too few frauds to tell, get no curve."""
    rng = np.random.default_rng(6)
    margin = rng.normal(size=rows) - 3
    labels = (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(int)
    result = calibrate(1 / (1 + np.exp(-margin)), labels, "auto")
    assert result.calibration is None
    assert result.to_json()["method"] == "none"


def test_what_is_asked_for_is_done() -> None:
    """A method by name is fitted without comparison, and none is none."""
    scores, labels = _scored(2000)
    assert calibrate(scores, labels, "none").calibration is None
    assert isinstance(calibrate(scores, labels, "isotonic").calibration, IsotonicCalibration)
    assert isinstance(calibrate(scores, labels, "sigmoid").calibration, SigmoidCalibration)


@dataclass(frozen=True)
class _Linear:
    """A logistic model of two features, explained exactly."""

    explanation: ExplanationKind = field(default_factory=ExplanationKind)
    rounds: int = 1
    feature_count: int = 2

    def predict(self, features: Features) -> np.ndarray:
        margin = self.contributions(features).sum(axis=1)
        return np.asarray(1 / (1 + np.exp(-margin)), dtype=np.float32)

    def contributions(self, features: Features) -> Features:
        base = np.full((len(features), 1), -2.0, dtype=np.float32)
        return np.hstack((features * np.array([1.5, -0.5], dtype=np.float32), base)).astype(np.float32)


def test_contributions_add_up_to_the_calibrated_score() -> None:
    """Under a sigmoid the base value plus contributions is the log-odds of the calibrated score."""
    features = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32)
    model = CalibratedModel(_Linear(), SigmoidCalibration(slope=0.6, intercept=-1.0))
    margin = model.contributions(features).sum(axis=1)
    assert model.predict(features) == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-6)
    assert model.explanation.of == "score"
    assert (model.rounds, model.feature_count) == (1, 2)


def test_where_they_cannot_the_explanation_says_so() -> None:
    """Under isotonic lines, or where contributions are probabilities, they stay the model's own."""
    features = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32)
    knots = IsotonicCalibration(scores=(0.2, 0.5), probabilities=(0.05, 0.6))
    model = CalibratedModel(_Linear(), knots)
    assert np.array_equal(model.contributions(features), _Linear().contributions(features))
    assert np.array_equal(model.predict(features), knots.apply(_Linear().predict(features)))
    assert model.explanation.of == "uncalibrated_score"
    forest = _Linear(ExplanationKind(unit="probability"))
    assert CalibratedModel(forest, SigmoidCalibration(slope=2, intercept=0)).explanation.of == "uncalibrated_score"
