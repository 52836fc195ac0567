"""Where the past ends: fitting, validation and test parts of a table, each later in time than the one before."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shared.training.model import UntrainableData

VALIDATION_FRACTION = 0.1
NO_LABEL = -1  # of every row of data without labels
_WIDEST_VALIDATION = 0.4


class SplitError(UntrainableData):
    """The rows cannot be split into parts that a model can be fitted and judged on; the message says why."""


@dataclass(frozen=True, slots=True)
class TemporalSplit:
    """Half-open row ranges over a table in time order: fit ``[0, fit_end)``, validation ``[fit_end, train_end)``,
    test ``[train_end, rows)``.

    ``ordered_by`` is ``"time"``, or ``"file"`` when the table has no usable time, so that "later" means "further down".
    ``validation_from`` and ``test_from`` are the times at which those parts begin, in microseconds since 1970 UTC.
    """

    rows: int
    fit_end: int
    train_end: int
    ordered_by: Literal["time", "file"]
    validation_from: int | None = None
    test_from: int | None = None

    @property
    def fit(self) -> slice:
        """Rows the model is fitted on."""
        return slice(0, self.fit_end)

    @property
    def validation(self) -> slice:
        """Rows that stop the fitting and choose the threshold: the end of the training part."""
        return slice(self.fit_end, self.train_end)

    @property
    def test(self) -> slice:
        """Rows that only the final figures see."""
        return slice(self.train_end, self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a job's metrics."""
        return asdict(self)


def temporal_split(
    labels: npt.NDArray[np.int8],
    times: npt.NDArray[np.int64] | None,
    fraction: float,
    validation_fraction: float = VALIDATION_FRACTION,
) -> TemporalSplit:
    """Split rows that are in time order so that each part lies after the one before.

    Rows of one instant are never divided: a cut that would fall among them moves to the nearer end of the instant.
    The validation part is the last ``validation_fraction`` of the training part, and is widened (up to 40 %) until
    both classes occur in it. Rows without labels are only split.

    :param labels: shape (n,), 0 or 1, or -1 throughout, in time order.
    :param times: shape (n,), microseconds, not decreasing; None where the table has no time, then file order counts.
    :param fraction: share of the rows that belongs to training (fitting and validation).
    :raises SplitError: a part would be empty, or would lack one of the classes.
    """
    rows = len(labels)
    labelled = has_labels(labels)
    if rows < 10:
        kind = "labelled rows" if labelled else "rows"
        raise SplitError(f"{rows} {kind} are too few to split into fitting, validation and test parts")
    if labelled and not _both(labels):
        found = "fraud" if labels.any() else "genuine"
        raise SplitError(f"all {rows} labelled rows are {found}: there is nothing to tell apart")
    ordered_by: Literal["time", "file"] = "file"
    if times is not None and times[0] != times[-1]:
        ordered_by = "time"
    instants = times if ordered_by == "time" else None

    train_end = _cut(instants, rows, round(rows * fraction))
    share = validation_fraction
    fit_end = _cut(instants, train_end, round(train_end * (1 - share)))
    while labelled and not _both(labels[fit_end:train_end]) and share < _WIDEST_VALIDATION:
        share = min(share + 0.05, _WIDEST_VALIDATION)
        fit_end = _cut(instants, train_end, round(train_end * (1 - share)))
    split = TemporalSplit(
        rows,
        fit_end,
        train_end,
        ordered_by,
        validation_from=None if instants is None else int(instants[fit_end]),
        test_from=None if instants is None else int(instants[train_end]),
    )
    if labelled:
        for name, part in (("fitting", split.fit), ("validation", split.validation), ("test", split.test)):
            _require_both(name, labels[part])
    return split


def has_labels(labels: npt.NDArray[np.int8]) -> bool:
    """Whether these are labels, not the marks of rows that have none."""
    return len(labels) > 0 and bool(labels[0] != NO_LABEL)


def _cut(times: npt.NDArray[np.int64] | None, end: int, target: int) -> int:
    """The position nearest to ``target``, strictly inside ``[0, end)``, that divides no instant."""
    target = min(max(target, 1), end - 1)
    if times is None:
        return target
    before = int(np.searchsorted(times[:end], times[target], side="left"))
    after = int(np.searchsorted(times[:end], times[target], side="right"))
    inside = [cut for cut in (before, after) if 0 < cut < end]
    if not inside:
        raise SplitError("too many rows carry the same time to split them into earlier and later ones")
    return min(inside, key=lambda cut: abs(cut - target))


def _both(labels: npt.NDArray[np.int8]) -> bool:
    return bool(0 < labels.sum() < len(labels))


def _require_both(name: str, labels: npt.NDArray[np.int8]) -> None:
    if not _both(labels):
        missing = "genuine" if labels.any() else "fraud"
        raise SplitError(f"the {name} part holds no {missing} row among its {len(labels)}; it needs at least one")
