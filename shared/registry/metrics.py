"""Which way a recorded figure is better, and reading the figures of a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, Literal

Better = Literal["higher", "lower"]

_HIGHER: Final = (
    "precision", "recall", "f1_score", "accuracy", "auc_roc", "auc_pr", "recall_at_fpr_0_1pct", "recall_at_fpr_1pct",
    "recall_at_fpr_5pct", "precision_at_capacity", "recall_at_capacity",
)  # fmt: skip
_LOWER: Final = ("fpr", "brier", "log_loss", "calibration_error", "cost_per_transaction")

BETTER: Final[Mapping[str, Better]] = MappingProxyType(
    {**dict.fromkeys(_HIGHER, "higher"), **dict.fromkeys(_LOWER, "lower")}
)
"""Figures that say how good a model is. The others (rows, frauds, flag_rate, threshold …) only describe."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A recorded figure; None where it was not recorded, or no interval was."""

    value: float | None
    low: float | None
    high: float | None


def figure(metrics: Mapping[str, Any], name: str) -> Figure:
    """The figure ``name`` of a model's ``metrics`` with its confidence interval."""
    intervals = metrics.get("intervals")
    interval = intervals.get(name) if isinstance(intervals, Mapping) else None
    if not isinstance(interval, Mapping):
        interval = {}
    return Figure(numeric(metrics.get(name)), numeric(interval.get("low")), numeric(interval.get("high")))


def recorded(metrics: Mapping[str, Any]) -> list[str]:
    """Names of the figures that have a number, in alphabetical order."""
    return sorted(name for name, value in metrics.items() if numeric(value) is not None)


def numeric(value: object) -> float | None:
    """``value`` as a finite float, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
