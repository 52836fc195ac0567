"""What can be asked of history: one request a feature, in the terms that all executors share."""

import math
from typing import Final, Literal, NamedTuple, get_args

import numpy as np

from shared.features.history.events import MAX_HISTORY, Entity

HistoryFunction = Literal[
    "count",
    "sum",
    "mean",
    "std",
    "min",
    "max",
    "ratio_to_mean",
    "deviation",
    "distinct",
    "entropy",
    "time_since_last",
    "first_time",
    "acceleration",
    "known_count",
    "fraud_rate",
]
FUNCTIONS: Final[tuple[HistoryFunction, ...]] = get_args(HistoryFunction)
#: Functions of a numeric column, of a categorical column, and of labels.
OF_NUMBER: Final = frozenset({"sum", "mean", "std", "min", "max", "ratio_to_mean", "deviation"})
OF_CODE: Final = frozenset({"distinct", "entropy"})
OF_LABEL: Final = frozenset({"known_count", "fraud_rate"})

_UNITS = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_ENTROPY_UNIT = 2**40


def window_us(window: str) -> int:
    """Microseconds of a window such as ``30m``, ``24h`` or ``7d``."""
    return int(window[:-1]) * _UNITS[window[-1]]


class HistorySpec(NamedTuple):
    """One feature of one entity over ``[t - window_us, t)``.

    ``column`` is a position in the layout's numbers or codes, -1 for functions of neither; ``scale`` is
    ``10**decimals`` of the number; ``baseline_us`` is the longer window that acceleration compares with.
    """

    entity: Entity
    function: HistoryFunction
    window_us: int
    column: int = -1
    scale: float = 1.0
    baseline_us: int = 0


#: ``c * log2(c)`` in units of 2**-40, so that entropies are sums of integers and exact in any order.
ENTROPY_TERMS: Final = np.array([round(c * math.log2(c) * _ENTROPY_UNIT) if c else 0 for c in range(MAX_HISTORY + 1)])
LOG2: Final = np.array([math.log2(c) if c else 0.0 for c in range(MAX_HISTORY + 1)])
ENTROPY_UNIT: Final = float(_ENTROPY_UNIT)
