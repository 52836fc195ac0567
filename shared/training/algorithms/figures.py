"""What a round says of the model on the validation part, for algorithms that do not compute it themselves."""

import numpy as np
import numpy.typing as npt

from shared.training.evaluation import ScoreCurve, log_loss
from shared.training.progress import RoundFigures

_LEAST_PROBABILITY = np.float32(1e-16)  # XGBoost's, so that one confident mistake is not infinitely bad


def labelled_figures(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int8]) -> RoundFigures:
    """Log loss and average precision of probabilities; improvement means the latter."""
    precision = ScoreCurve.of(scores, labels).auc_pr()
    assert precision is not None  # the validation part has frauds
    return RoundFigures(precision, {"logloss": log_loss(scores, labels), "aucpr": precision}, {})


class BoostingFigures:
    """XGBoost's own log loss, AUC and PR-AUC of one part, a round at a time.

    Its evaluation sorts all rows with their labels on one thread, which costs a third of growing a tree. Here the
    genuine scores alone are sorted, and the few frauds are looked up among them.

    :param labels: shape (n,), 0 or 1, both present.
    """

    def __init__(self, labels: npt.NDArray[np.floating]) -> None:
        self._frauds = labels == 1

    def log_loss(self, scores: npt.NDArray[np.float32]) -> float:
        """Mean of the negative logarithm of what the truth was given, of probabilities of shape (n,)."""
        of_truth = np.where(self._frauds, scores, 1 - scores)
        return -float(np.mean(np.log(np.maximum(of_truth, _LEAST_PROBABILITY)), dtype=np.float64))

    def of(self, scores: npt.NDArray[np.float32]) -> dict[str, float]:
        """``logloss``, ``auc`` and ``aucpr`` of probabilities, shape (n,)."""
        fraud, genuine = scores[self._frauds], np.sort(scores[~self._frauds])
        values, counts = np.unique(fraud, return_counts=True)
        below, up_to = np.searchsorted(genuine, values, "left"), np.searchsorted(genuine, values, "right")
        outscored = np.sum(counts * (below + up_to)) / 2
        return {
            "logloss": self.log_loss(scores),
            "auc": float(outscored / (len(fraud) * len(genuine))),
            "aucpr": _area(counts[::-1], len(genuine) - up_to[::-1], len(genuine) - below[::-1]),
        }


def _area(gained: npt.NDArray[np.intp], false_before: npt.NDArray[np.intp], false_after: npt.NDArray[np.intp]) -> float:
    """Area under the precision-recall curve, interpolated between its points (Davis and Goadrich 2006, as XGBoost).

    :param gained: frauds at each distinct score of a fraud, falling; shape (m,).
    :param false_before: genuine rows that score more; shape (m,).
    :param false_after: genuine rows that score as much or more; shape (m,).
    """
    total = gained.sum()
    after = np.cumsum(gained)
    recall, recall_before = after / total, (after - gained) / total
    slope = (false_after - false_before) / gained
    a, b = slope + 1, (false_before - slope * (after - gained)) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = np.where(b == 0, 0, b / a * np.log((a * recall + b) / (a * recall_before + b)))
    return float(np.sum((recall - recall_before - bend) / a))
