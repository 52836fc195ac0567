"""Where a model is good and where it is not: figures by month, and by group of a protected attribute."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.training.evaluation import Confusion, Counts, ScoreCurve, checked
from shared.training.intervals import wilson

# With fewer rows a group's rates say more about chance than about the model.
MINIMUM_GROUP_ROWS: Final = 100


def by_month(scores: npt.ArrayLike, labels: npt.ArrayLike, times: Counts, threshold: float) -> list[dict[str, Any]]:
    """The main figures of each UTC month, oldest first; None where a month leaves one undefined.

    :param times: shape (n,), microseconds since 1970 UTC.
    """
    s, y = checked(scores, labels)
    months = np.asarray(times).astype("datetime64[us]").astype("datetime64[M]")
    return [{"month": str(month), **_month(s[months == month], y[months == month], threshold)}
            for month in np.unique(months)]  # fmt: skip


def _month(scores: npt.NDArray[np.float64], labels: Counts, threshold: float) -> dict[str, Any]:
    curve, counts = ScoreCurve.of(scores, labels), Confusion.at(scores, labels, threshold)
    rows, flagged = len(labels), counts.true_positives + counts.false_positives
    return {
        "rows": rows,
        "frauds": curve.positives,
        "fraud_rate": curve.positives / rows,
        "flag_rate": flagged / rows,
        "precision": counts.precision if flagged else None,
        "recall": counts.recall if curve.positives else None,
        "f1_score": counts.f1 if flagged or curve.positives else None,
        "fpr": counts.fpr if curve.negatives else None,
        "auc_roc": curve.auc_roc(),
        "auc_pr": curve.auc_pr(),
    }


def by_group(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    codes: npt.NDArray[np.uint8],
    names: Sequence[str],
    threshold: float,
    minimum_rows: int = MINIMUM_GROUP_ROWS,
) -> dict[str, Any]:
    """Decisions by group: what fairness is judged by.

    ``selection_rate`` is the share that is flagged, ``tpr`` of the frauds, ``fpr`` of the genuine; ``precision`` is the
    share of frauds among the flagged. Each has Wilson's 95 % interval. A group of fewer than ``minimum_rows`` is only
    counted, its figures are None.

    :param codes: shape (n,), 0 where the attribute is missing, else a position in ``names`` plus 1.
    """
    s, y = checked(scores, labels)
    # Rows by group, class and decision, from one count.
    flagged = s >= threshold
    cells = np.bincount(codes.astype(np.int64) * 4 + y * 2 + flagged, minlength=4 * (len(names) + 1)).reshape(-1, 2, 2)
    sums = np.bincount(codes, weights=s, minlength=len(names) + 1)
    groups = [
        {"group": name, **_group(cells[code], float(sums[code]), minimum_rows)}
        for code, name in enumerate(names, start=1)
        if cells[code].any()
    ]
    return {"minimum_rows": minimum_rows, "missing_rows": int(cells[0].sum()), "groups": groups}


def _group(cells: Counts, score_sum: float, minimum_rows: int) -> dict[str, Any]:
    """:param cells: counts by class (genuine, fraud) and decision (passed, flagged)."""
    (_, alarms), (_, hits) = cells.tolist()
    rows, frauds = int(cells.sum()), int(cells[1].sum())
    shares: Mapping[str, tuple[int, int]] = {
        "selection_rate": (hits + alarms, rows),
        "tpr": (hits, frauds),
        "fpr": (alarms, rows - frauds),
        "precision": (hits, hits + alarms),
    }
    enough = rows >= minimum_rows
    return {
        "rows": rows,
        "frauds": frauds,
        "fraud_rate": frauds / rows if enough else None,
        "mean_score": score_sum / rows if enough else None,
        **{name: part / whole if enough and whole else None for name, (part, whole) in shares.items()},
        "intervals": {name: wilson(part, whole) if enough else None for name, (part, whole) in shares.items()},
    }
