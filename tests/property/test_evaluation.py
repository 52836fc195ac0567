"""Our figures against scikit-learn's, on arbitrary scores with many ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms.figures import BoostingFigures
from shared.training.evaluation import Confusion, ScoreCurve, brier_score, calibration_error, evaluate, log_loss
from shared.training.threshold import (
    Fixed,
    FprLimit,
    LeastCost,
    MaxF1,
    ReviewCapacity,
    TargetPrecision,
    choose_threshold,
)

# Few distinct values make ties the rule; 0 and 1 are among them because logarithms fear them.
_SCORE = st.sampled_from([0.0, 1e-7, 0.1, 0.25, 0.5, 0.500001, 0.75, 1.0]) | st.floats(0, 1, width=32)


@st.composite
def _scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of 2 to 60 rows with at least one of each class."""
    size = draw(st.integers(2, 60))
    scores = draw(st.lists(_SCORE, min_size=size, max_size=size))
    labels = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    labels[0], labels[-1] = 0, 1
    order = draw(st.permutations(range(size)))
    return np.array(scores)[order], np.array(labels)[order]


@given(st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=1, max_size=60))
def test_the_figures_of_boosting_equal_xgboosts(rows: list[tuple[int, bool]]) -> None:
    """Log loss, AUC and PR-AUC of a round agree with XGBoost's own evaluation, ties included."""
    xgb = load_xgboost()
    margins, labels = (np.array(column, np.float32) for column in zip(*rows, (0, True), (1, False), strict=True))
    matrix = xgb.DMatrix(np.zeros((len(labels), 1), np.float32), labels, base_margin=margins)
    named = {"objective": "binary:logistic", "eval_metric": ["logloss", "auc", "aucpr"]}
    booster = xgb.train(named, matrix, 0)
    told = booster.eval_set([(matrix, "part")], 0)
    oracles = dict(figure.removeprefix("part-").split(":") for figure in told.split()[1:])
    ours = BoostingFigures(labels).of(booster.predict(matrix))
    assert ours == pytest.approx({name: float(value) for name, value in oracles.items()}, rel=1e-6)


@given(_scored())
def test_areas_equal_scikit_learn(scored: tuple[np.ndarray, np.ndarray]) -> None:
    """ROC-AUC and average precision agree with the reference implementation, ties included."""
    scores, labels = scored
    curve = ScoreCurve.of(scores, labels)
    assert curve.auc_roc() == pytest.approx(oracle.roc_auc_score(labels, scores), abs=1e-12)
    assert curve.auc_pr() == pytest.approx(oracle.average_precision_score(labels, scores), abs=1e-12)


@given(_scored(), st.sampled_from([0.001, 0.01, 0.05, 0.3, 1.0]))
def test_recall_at_fpr_is_the_best_point_of_the_roc_curve(scored: tuple[np.ndarray, np.ndarray], limit: float) -> None:
    """Recall at an FPR limit is the highest true positive rate that scikit-learn's ROC curve reaches within it."""
    scores, labels = scored
    fpr, tpr, _ = oracle.roc_curve(labels, scores, drop_intermediate=False)
    assert ScoreCurve.of(scores, labels).recall_at_fpr(limit) == pytest.approx(tpr[fpr <= limit].max(), abs=1e-12)


@given(_scored(), _SCORE)
def test_decisions_equal_scikit_learn(scored: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    """Everything that follows from one threshold agrees with the reference implementation."""
    scores, labels = scored
    decided = (scores >= threshold).astype(int)
    ours = evaluate(scores, labels, threshold)
    tn, fp, fn, tp = oracle.confusion_matrix(labels, decided, labels=[0, 1]).ravel()
    assert ours["confusion"] == {
        "true_positives": tp,
        "false_positives": fp,
        "true_negatives": tn,
        "false_negatives": fn,
    }
    assert ours["precision"] == pytest.approx(oracle.precision_score(labels, decided, zero_division=0))
    assert ours["recall"] == pytest.approx(oracle.recall_score(labels, decided))
    assert ours["f1_score"] == pytest.approx(oracle.f1_score(labels, decided, zero_division=0))
    assert ours["accuracy"] == pytest.approx(oracle.accuracy_score(labels, decided))
    assert ours["fpr"] == pytest.approx(fp / (fp + tn))


@given(_scored())
def test_probability_figures_equal_scikit_learn(scored: tuple[np.ndarray, np.ndarray]) -> None:
    """Brier score and log loss agree with the reference implementation, certain scores included."""
    scores, labels = scored
    assert brier_score(scores, labels) == pytest.approx(oracle.brier_score_loss(labels, scores), abs=1e-12)
    assert log_loss(scores, labels) == pytest.approx(oracle.log_loss(labels, scores, labels=[0, 1]), rel=1e-9)


@given(_scored())
def test_calibration_error_is_bounded_by_its_definition(scored: tuple[np.ndarray, np.ndarray]) -> None:
    """Calibration error lies between the gap of the overall means and the mean absolute difference."""
    scores, labels = scored
    error = calibration_error(scores, labels)
    assert abs(scores.mean() - labels.mean()) - 1e-12 <= error <= np.abs(scores - labels).mean() + 1e-12


@settings(max_examples=200)
@given(_scored(), st.sampled_from(["max_f1", "precision", "fpr", "capacity", "cost"]), st.floats(0.01, 0.99))
def test_no_other_threshold_serves_a_policy_better(
    scored: tuple[np.ndarray, np.ndarray], kind: str, target: float
) -> None:
    """Against every possible threshold tried one by one, the chosen one is the best that the policy allows."""
    scores, labels = scored
    policy = {
        "max_f1": MaxF1(),
        "precision": TargetPrecision(type="target_precision", precision=target),
        "fpr": FprLimit(type="fpr_limit", fpr=target),
        "capacity": ReviewCapacity(type="review_capacity", per_day=target * 20),
        "cost": LeastCost(type="least_cost", missed_fraud=target * 10, false_alarm=1),
    }[kind]
    choice = choose_threshold(ScoreCurve.of(scores, labels), policy, days=2)
    chosen = Confusion.at(scores, labels, choice.threshold)
    others = [Confusion.at(scores, labels, t) for t in [*np.unique(scores), np.nextafter(scores.max(), 2)]]

    def flagged(c: Confusion) -> int:
        return c.true_positives + c.false_positives

    if kind == "max_f1":
        assert chosen.f1 == max(c.f1 for c in others)
    elif kind == "precision":
        good = [c for c in others if flagged(c) and c.precision >= target]
        assert choice.met == bool(good)
        assert (
            chosen.recall == max(c.recall for c in good)
            if good
            else chosen.precision == max(c.precision for c in others)
        )
    elif kind == "fpr":
        assert chosen.fpr <= target
        assert chosen.recall == max(c.recall for c in others if c.fpr <= target)
    elif kind == "capacity":
        assert flagged(chosen) == max(flagged(c) for c in others if flagged(c) <= target * 20 * 2)
    else:

        def cost(c: Confusion) -> float:
            return target * 10 * c.false_negatives + c.false_positives

        assert cost(chosen) == pytest.approx(min(map(cost, others)))


@given(_scored(), st.floats(0, 1))
def test_fixed_threshold_is_taken_as_it_is(scored: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    """A threshold set by hand does not depend on the scores."""
    choice = choose_threshold(ScoreCurve.of(*scored), Fixed(type="fixed", threshold=threshold))
    assert (choice.threshold, choice.met) == (threshold, True)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [0], "one length"),
        ([], [], "no rows"),
        ([0.1, float("nan")], [0, 1], "finite"),
        ([0.1, 0.2], [0, 2], "0 or 1"),
        ([0.1, 1.2], [0, 1], "between 0 and 1"),
    ],
)
def test_unusable_input_is_refused(scores: list[float], labels: list[int], message: str) -> None:
    """Figures are never computed from input that cannot carry them."""
    with pytest.raises(ValueError, match=message):
        evaluate(scores, labels, 0.5)


def test_one_class_leaves_ranking_figures_undefined() -> None:
    """Without frauds there is nothing to rank: None, not 0 or NaN."""
    figures = evaluate([0.1, 0.9], [0, 0], 0.5)
    assert figures["auc_roc"] is None
    assert figures["auc_pr"] is None
    assert figures["recall_at_fpr_1pct"] is None
    assert figures["fpr"] == 0.5
