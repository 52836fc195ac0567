"""What a round says of the model on the validation part, for algorithms that do not compute it themselves."""

import numpy as np
import numpy.typing as npt

from shared.training.evaluation import ScoreCurve, log_loss
from shared.training.progress import RoundFigures


def labelled_figures(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int8]) -> RoundFigures:
    """Log loss and average precision of probabilities; improvement means the latter."""
    precision = ScoreCurve.of(scores, labels).auc_pr()
    assert precision is not None  # the validation part has frauds
    return RoundFigures(precision, {"logloss": log_loss(scores, labels), "aucpr": precision}, {})
