"""From values to positions: linear and logarithmic scales with the ticks that people expect."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Self

import numpy as np
import numpy.typing as npt

from shared.training.report.svg import Floats
from shared.training.report.text import compact

_MOST_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """Maps ``low..high`` onto ``start..end`` in user units; values beyond are drawn at the edge.

    With ``logarithmic`` equal factors are equal lengths, and ``low`` is above 0.
    """

    low: float
    high: float
    start: float = 0.0
    end: float = 1.0
    logarithmic: bool = False
    tell: Callable[[float], str] = compact

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.low} to {self.high} is no range")
        if self.logarithmic and self.low <= 0:
            raise ValueError("a logarithmic scale begins above 0")

    def onto(self, start: float, end: float) -> Self:
        """The same scale at another place."""
        return type(self)(self.low, self.high, start, end, self.logarithmic, self.tell)

    def positions(self, values: npt.ArrayLike) -> Floats:
        """Positions of an array of values, same shape, float64."""
        inside = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        if self.logarithmic:
            share = np.log(inside / self.low) / np.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        placed: Floats = self.start + share * (self.end - self.start)
        return placed

    def position(self, value: float) -> float:
        """The position of one value."""
        return float(self.positions(value))

    def ticks(self) -> list[float]:
        """Round values within the scale, rising."""
        if self.logarithmic:
            return _powers(self.low, self.high)
        step = _round_step((self.high - self.low) / _MOST_TICKS)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [round(step * k, 12) for k in range(first, last + 1)]


def rounded_up(value: float) -> float:
    """The end of a linear axis that begins at 0 and must hold ``value``: a round number, 1 when there is nothing."""
    if value <= 0:
        return 1.0
    step = _round_step(value / _MOST_TICKS)
    return step * ceil(value / step - 1e-9)


def rates(*, low: float | None = None) -> Scale:
    """0 to 100 %; or logarithmic from ``low``."""
    from shared.training.report.text import axis_percent

    return Scale(low or 0.0, 1.0, logarithmic=low is not None, tell=axis_percent)


def _round_step(least: float) -> float:
    power = 10.0 ** floor(log10(least))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least * (1 - 1e-9))


def _powers(low: float, high: float) -> list[float]:
    first, last = ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9)
    step = max(1, -(-(last - first + 1) // (_MOST_TICKS + 1)))
    powers = [10.0**k for k in range(first, last + 1, step)]
    if len(powers) < 3:
        return sorted(
            factor * 10.0**k
            for k in range(first - 1, last + 1)
            for factor in (1, 2, 5)
            if low <= factor * 10.0**k <= high
        )
    return powers
