"""Two models on the same rows, and how sure the difference between them is."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.training.breakdown import by_group
from shared.training.evaluation import Counts, Floats, evaluate
from shared.training.intervals import SEED, method, percentile
from shared.training.protected import ProtectedAttribute
from shared.training.resampling import ScoreGroups, day_numbers

COMPARED: Final = ("auc_pr", "auc_roc", "precision", "recall", "f1_score", "fpr", "recall_at_fpr_1pct", "brier")
_RESAMPLES: Final = 400
_FEWEST_DAYS: Final = 5

Scores = npt.NDArray[np.floating[Any]]


def head_to_head(
    champion: Scores,
    challenger: Scores,
    thresholds: tuple[float, float],
    labels: npt.NDArray[np.int8],
    times: Counts | None,
    protected: dict[str, tuple[ProtectedAttribute, npt.NDArray[np.uint8]]],
) -> dict[str, Any]:
    """Figures of both on the same rows, and of each the difference (challenger minus champion).

    Where there are times and at least five days, the difference has a 95 % interval: each resample draws the same days
    for both (paired bootstrap), so what is hard on a day is hard for both and drops out.

    :param champion: scores, shape (n,), probabilities; likewise ``challenger``.
    :param thresholds: of the champion, of the challenger.
    :param labels: shape (n,), 0 or 1, both present.
    :param times: shape (n,), microseconds since 1970 UTC.
    :param protected: by attribute, with the codes of these rows.
    """
    days = None if times is None else day_numbers(times)
    if days is not None and days.max() + 1 < _FEWEST_DAYS:
        days = None
    sides = {"champion": (champion, thresholds[0]), "challenger": (challenger, thresholds[1])}
    figures = {name: evaluate(scores, labels, threshold) for name, (scores, threshold) in sides.items()}
    drawn = {
        name: _draws(scores, labels, threshold, days) for name, (scores, threshold) in sides.items() if days is not None
    }
    differences = {}
    for name in COMPARED:
        here, there = figures["challenger"][name], figures["champion"][name]
        known = here is not None and there is not None
        differences[name] = {
            "difference": here - there if known else None,
            "interval": percentile(drawn["challenger"][name] - drawn["champion"][name]) if drawn and known else None,
        }
    return {
        "rows": len(labels),
        "frauds": int(labels.sum()),
        "champion": {name: figures["champion"][name] for name in COMPARED},
        "challenger": {name: figures["challenger"][name] for name in COMPARED},
        "differences": differences,
        "method": {**method(None), "unit": "day", "paired": True, "resamples": _RESAMPLES} if drawn else None,
        "by_group": {
            side: {
                name: by_group(scores, labels, codes, attribute.groups, threshold)
                for name, (attribute, codes) in protected.items()
            }
            for side, (scores, threshold) in sides.items()
        },
    }


def _draws(scores: Scores, labels: npt.NDArray[np.int8], threshold: float, days: Counts) -> dict[str, Floats]:
    """Resampled figures; equal seeds and days draw equal days whatever the scores."""
    groups = ScoreGroups.of(scores, labels, threshold, days=days)
    rng = np.random.default_rng(SEED)
    parts = [groups.figures(drawn) for drawn in groups.draws(rng, _RESAMPLES)]
    return {name: np.concatenate([part[name] for part in parts]) for name in COMPARED}
