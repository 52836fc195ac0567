"""Time: parts of the transaction's timestamp (UTC) and durations between timestamps."""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Literal, Self

from shared.features.inputs import MICROSECONDS_PER_DAY, Read
from shared.features.kinds.base import NAN, FeatureKind, OnlineFunction, Slots, Values, feature_name
from shared.features.statistics import FitContext

if TYPE_CHECKING:
    import polars as pl

DatePartName = Literal[
    "hour",
    "day_of_week",
    "day_of_month",
    "month",
    "is_weekend",
    "is_night",
    "hour_sin",
    "hour_cos",
    "day_of_week_sin",
    "day_of_week_cos",
    "month_sin",
    "month_cos",
]

_PER_HOUR = 3_600_000_000
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_NIGHT_ENDS, _NIGHT_BEGINS = 6, 22
_SATURDAY = 5
_INVERSE_DAY = 1.0 / MICROSECONDS_PER_DAY


def _hour(instant: int) -> int:
    return instant // _PER_HOUR % 24


def _weekday(instant: int) -> int:
    return (instant // MICROSECONDS_PER_DAY + _EPOCH_WEEKDAY) % 7


def _calendar(instant: int) -> date:
    return date.fromordinal(instant // MICROSECONDS_PER_DAY + _EPOCH_ORDINAL)


def _month(instant: int) -> int:
    return _calendar(instant).month


_DESCRIPTIONS: dict[DatePartName, str] = {
    "hour": "Hour of the day, 0 to 23",
    "day_of_week": "Day of the week, Monday 0 to Sunday 6",
    "day_of_month": "Day of the month, 1 to 31",
    "month": "Month, 1 to 12",
    "is_weekend": "1 on Saturday and Sunday",
    "is_night": f"1 from {_NIGHT_BEGINS}:00 to {_NIGHT_ENDS}:00",
    "hour_sin": "Sine of the hour on a 24-hour circle",
    "hour_cos": "Cosine of the hour on a 24-hour circle",
    "day_of_week_sin": "Sine of the day on a 7-day circle",
    "day_of_week_cos": "Cosine of the day on a 7-day circle",
    "month_sin": "Sine of the month on a 12-month circle",
    "month_cos": "Cosine of the month on a 12-month circle",
}


def _on_circle(part: Callable[[int], int], period: int, wave: Callable[[float], float]) -> Callable[[int], float]:
    step = 2 * math.pi / period
    table = tuple(wave(k * step) for k in range(period + 1))
    return lambda instant: table[part(instant)]


_ONLINE: dict[DatePartName, Callable[[int], float]] = {
    "hour": _hour,
    "day_of_week": _weekday,
    "day_of_month": lambda instant: _calendar(instant).day,
    "month": _month,
    "is_weekend": lambda instant: _weekday(instant) >= _SATURDAY,
    "is_night": lambda instant: not _NIGHT_ENDS <= _hour(instant) < _NIGHT_BEGINS,
    "hour_sin": _on_circle(_hour, 24, math.sin),
    "hour_cos": _on_circle(_hour, 24, math.cos),
    "day_of_week_sin": _on_circle(_weekday, 7, math.sin),
    "day_of_week_cos": _on_circle(_weekday, 7, math.cos),
    "month_sin": _on_circle(_month, 12, math.sin),
    "month_cos": _on_circle(_month, 12, math.cos),
}


def _batch_part(part: DatePartName, instant: "pl.Expr") -> "pl.Expr":
    import polars as pl

    if part.endswith(("_sin", "_cos")):
        base, period = {"h": ("hour", 24), "d": ("day_of_week", 7), "m": ("month", 12)}[part[0]]
        angle = _batch_part(base, instant).cast(pl.Float64) * (2 * math.pi / period)  # type: ignore[arg-type]
        return angle.sin() if part.endswith("_sin") else angle.cos()
    moment = instant.cast(pl.Datetime("us")).dt
    hour, weekday = moment.hour(), moment.weekday() - 1
    simple = {
        "hour": hour,
        "day_of_week": weekday,
        "day_of_month": moment.day(),
        "month": moment.month(),
        "is_weekend": weekday >= _SATURDAY,
        "is_night": (hour < _NIGHT_ENDS) | (hour >= _NIGHT_BEGINS),
    }
    return simple[part]


class DatePart(FeatureKind):
    """A part of the transaction's timestamp, in UTC."""

    kind: Literal["date_part"] = "date_part"
    group = "temporal"
    column: str
    part: DatePartName

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        column = fit.config.time_column
        if column is not None and fit.column(column):
            for part in _DESCRIPTIONS:
                yield cls(name=part, column=column, part=part)

    def reads(self) -> tuple[Read, ...]:
        return (Read(self.column, "instant"),)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        return _batch_part(self.part, inputs[Read(self.column, "instant")])

    def online(self, slots: Slots) -> OnlineFunction:
        slot, part = slots[Read(self.column, "instant")], _ONLINE[self.part]

        def date_part(values: Values) -> float:
            instant = values[slot]
            return NAN if instant is None else part(instant)

        return date_part

    def describe(self) -> str:
        return f"{_DESCRIPTIONS[self.part]} ({self.column}, UTC)"


class DaysBetween(FeatureKind):
    """Days from one timestamp to another, fractions included, negative when ``end`` comes first."""

    kind: Literal["duration"] = "duration"
    group = "temporal"
    start: str
    end: str

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        for span in fit.config.durations or ():
            if fit.column(span.start) and fit.column(span.end):
                until_now = span.end == fit.config.time_column
                parts = ("days_since", span.start) if until_now else ("days", span.start, "to", span.end)
                yield cls(name=feature_name(*parts), start=span.start, end=span.end)

    def reads(self) -> tuple[Read, ...]:
        return Read(self.start, "instant"), Read(self.end, "instant")

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        import polars as pl

        start, end = (inputs[read] for read in self.reads())
        return (end - start).cast(pl.Float64) * _INVERSE_DAY

    def online(self, slots: Slots) -> OnlineFunction:
        start, end = (slots[read] for read in self.reads())

        def days_between(values: Values) -> float:
            first, last = values[start], values[end]
            return NAN if first is None or last is None else float(last - first) * _INVERSE_DAY

        return days_between

    def describe(self) -> str:
        return f"Days from {self.start} to {self.end}"

    def say(self, value: float) -> str:
        """The days."""
        return f"{value:.4g} days passed from {self.start} to {self.end}"
