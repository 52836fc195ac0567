"""Figures by month and by group."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from shared.training.breakdown import by_group, by_month
from shared.training.intervals import wilson


def _rows(rows: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels and times over three months."""
    rng = np.random.default_rng(4)
    labels = (rng.random(rows) < 0.1).astype(np.int8)
    scores = 1 / (1 + np.exp(-(rng.normal(size=rows) + 2 * labels - 2)))
    start = np.datetime64("2023-12-01T00:00:00", "us")
    times = (start + np.sort(rng.integers(0, 91, rows)) * np.timedelta64(1, "D")).astype(np.int64)
    return scores, labels, times


def test_months_have_the_figures_of_their_rows() -> None:
    """Each UTC month's figures are scikit-learn's on that month's rows, across the turn of the year."""
    scores, labels, times = _rows()
    found = by_month(scores, labels, times, 0.5)
    assert [month["month"] for month in found] == ["2023-12", "2024-01", "2024-02"]
    january = (times.astype("datetime64[us]") >= np.datetime64("2024-01-01")) & (
        times.astype("datetime64[us]") < np.datetime64("2024-02-01")
    )
    s, y = scores[january], labels[january]
    decided = s >= 0.5
    assert found[1] == pytest.approx(
        {
            "month": "2024-01",
            "rows": january.sum(),
            "frauds": y.sum(),
            "fraud_rate": y.mean(),
            "flag_rate": decided.mean(),
            "precision": oracle.precision_score(y, decided),
            "recall": oracle.recall_score(y, decided),
            "f1_score": oracle.f1_score(y, decided),
            "fpr": decided[y == 0].mean(),
            "auc_roc": oracle.roc_auc_score(y, s),
            "auc_pr": oracle.average_precision_score(y, s),
        }
    )


def test_a_month_of_one_class_says_what_is_undefined() -> None:
    """Without frauds there is no recall and no ranking, without flags no precision; the rest stays."""
    [month] = by_month([0.1, 0.2], [0, 0], np.array([0, 1]), 0.5)
    undefined = {name for name, value in month.items() if value is None}
    assert undefined == {"precision", "recall", "f1_score", "auc_roc", "auc_pr"}
    assert (month["month"], month["fpr"]) == ("1970-01", 0.0)


def test_groups_have_the_rates_of_their_rows() -> None:
    """Rates and Wilson intervals by group; rows without the attribute are counted apart."""
    scores, labels, _ = _rows()
    codes = np.random.default_rng(1).integers(0, 3, len(scores)).astype(np.uint8)
    found = by_group(scores, labels, codes, ["F", "M"], 0.5)
    assert found["missing_rows"] == (codes == 0).sum()
    group = found["groups"][1]
    s, y = scores[codes == 2], labels[codes == 2]
    decided = s >= 0.5
    assert group["group"] == "M"
    assert (group["rows"], group["frauds"]) == (len(y), y.sum())
    assert group["selection_rate"] == pytest.approx(decided.mean())
    assert group["tpr"] == pytest.approx(decided[y == 1].mean())
    assert group["fpr"] == pytest.approx(decided[y == 0].mean())
    assert group["precision"] == pytest.approx(y[decided].mean())
    assert group["mean_score"] == pytest.approx(s.mean())
    assert group["intervals"]["tpr"] == wilson(int((decided & (y == 1)).sum()), int(y.sum()))


def test_a_small_group_is_counted_and_not_judged() -> None:
    """Three rows say nothing about a group; a group without rows is not listed."""
    scores, labels = np.full(203, 0.7), np.array([0, 1, 0] + [0] * 200)
    codes = np.array([1] * 3 + [2] * 200, dtype=np.uint8)
    small, large = by_group(scores, labels, codes, ["X", "Y", "Z"], 0.5)["groups"]
    assert (small["rows"], small["frauds"], small["selection_rate"], small["fpr"]) == (3, 1, None, None)
    assert set(small["intervals"].values()) == {None}
    assert (large["selection_rate"], large["tpr"], large["intervals"]["tpr"]) == (1.0, None, None)
