"""Quantities: as they are, on a log scale, standardised, clipped, flagged, divided."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from shared.features.config import Transform
from shared.features.inputs import Read
from shared.features.kinds.base import NAN, FeatureKind, OnlineFunction, Slots, Values, feature_name
from shared.features.statistics import FitContext, NumericStatistics

if TYPE_CHECKING:
    import polars as pl

# A column whose 99th percentile is this many times its median has a tail that a log scale straightens.
_HEAVY_TAIL = 10.0
_ALWAYS_WHOLE = 2.0**52  # doubles from here on have no fraction
_AMOUNT_TRANSFORMS: tuple[Transform, ...] = ("raw", "log", "zscore", "clipped")


def _wanted(fit: FitContext, transform: Transform) -> Iterator[tuple[str, NumericStatistics]]:
    for column in fit.numeric():
        numeric = column.numeric
        if numeric is None:
            continue
        is_amount = column.name == fit.config.amount_column
        default = _AMOUNT_TRANSFORMS if is_amount else _default_transforms(numeric)
        if transform in (fit.config.transforms or {}).get(column.name, default):
            yield column.name, numeric


def _default_transforms(numeric: NumericStatistics) -> tuple[Transform, ...]:
    heavy = numeric.minimum >= 0 and numeric.quantile_99 > _HEAVY_TAIL * max(numeric.median, 1e-9)
    return ("raw", "log") if heavy else ("raw",)


class _OneNumber(FeatureKind):
    """A feature of a single quantity."""

    group = "transaction"
    column: str

    def reads(self) -> tuple[Read, ...]:
        return (Read(self.column, "number"),)


class Raw(_OneNumber):
    """The value as it is."""

    kind: Literal["raw"] = "raw"

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        for column, _ in _wanted(fit, "raw"):
            yield cls(name=feature_name(column), column=column)
        for flag in fit.columns("boolean"):
            yield cls(name=feature_name(flag.name), column=flag.name)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        return inputs[Read(self.column, "number")]

    def online(self, slots: Slots) -> OnlineFunction:
        slot = slots[Read(self.column, "number")]

        def raw(values: Values) -> float:
            value = values[slot]
            return NAN if value is None else value

        return raw

    def describe(self) -> str:
        return f"{self.column} as received (1 for true, 0 for false)"

    def say(self, value: float) -> str:
        """The number itself."""
        return f"{self.column} is {value:.6g}"


class SignedLog(_OneNumber):
    """``sign(x) * ln(1 + |x|)``."""

    kind: Literal["log"] = "log"

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        for column, _ in _wanted(fit, "log"):
            yield cls(name=feature_name(column, "log"), column=column)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        value = inputs[Read(self.column, "number")]
        return value.sign() * value.abs().log1p()

    def online(self, slots: Slots) -> OnlineFunction:
        slot = slots[Read(self.column, "number")]
        log1p, copysign = math.log1p, math.copysign

        def signed_log(values: Values) -> float:
            value = values[slot]
            return NAN if value is None else copysign(log1p(abs(value)), value)

        return signed_log

    def describe(self) -> str:
        return f"Natural logarithm of 1 + |{self.column}|, with the sign of {self.column}"

    def say(self, value: float) -> str:
        """The number that the logarithm was taken of."""
        return f"{self.column} is {math.copysign(math.expm1(min(abs(value), 700.0)), value):.6g}"


class ZScore(_OneNumber):
    """``(x - mean) * inverse_std`` with the training part's mean and standard deviation."""

    kind: Literal["zscore"] = "zscore"
    mean: float
    inverse_std: float = Field(gt=0)

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        for column, numeric in _wanted(fit, "zscore"):
            if numeric.std > 0 and math.isfinite(1.0 / numeric.std):
                name = feature_name(column, "zscore")
                yield cls(name=name, column=column, mean=numeric.mean, inverse_std=1.0 / numeric.std)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        return (inputs[Read(self.column, "number")] - self.mean) * self.inverse_std

    def online(self, slots: Slots) -> OnlineFunction:
        slot, mean, inverse_std = slots[Read(self.column, "number")], self.mean, self.inverse_std

        def zscore(values: Values) -> float:
            value = values[slot]
            return NAN if value is None else (value - mean) * inverse_std

        return zscore

    def describe(self) -> str:
        return f"Standard deviations of {self.column} from its training mean {self.mean:.6g}"

    def say(self, value: float) -> str:
        """How far above or below what is usual."""
        side = "above" if value >= 0 else "below"
        return f"{self.column} is {abs(value):.3g} standard deviations {side} its mean of {self.mean:.6g}"


class Clipped(_OneNumber):
    """The value held between the training part's 1st and 99th percentile."""

    kind: Literal["clipped"] = "clipped"
    lower: float
    upper: float

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        for column, numeric in _wanted(fit, "clipped"):
            if numeric.quantile_01 < numeric.quantile_99:
                name = feature_name(column, "clipped")
                yield cls(name=name, column=column, lower=numeric.quantile_01, upper=numeric.quantile_99)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        return inputs[Read(self.column, "number")].clip(self.lower, self.upper)

    def online(self, slots: Slots) -> OnlineFunction:
        slot, lower, upper = slots[Read(self.column, "number")], self.lower, self.upper

        def clipped(values: Values) -> float:
            value = values[slot]
            return NAN if value is None else min(max(value, lower), upper)

        return clipped

    def describe(self) -> str:
        return f"{self.column} held between {self.lower:.6g} and {self.upper:.6g}"

    def say(self, value: float) -> str:
        """The number, or which bound it passes."""
        if value <= self.lower:
            return f"{self.column} is at most {self.lower:.6g}"
        return f"{self.column} is at least {self.upper:.6g}" if value >= self.upper else f"{self.column} is {value:.6g}"


class HighValue(_OneNumber):
    """1 where the amount is above a training quantile."""

    kind: Literal["high_value"] = "high_value"
    threshold: float
    quantile: float

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        column = fit.config.amount_column
        found = fit.column(column) if column else None
        if found and found.numeric:
            yield cls(
                name=feature_name(found.name, "is_high"),
                column=found.name,
                threshold=found.numeric.high_value,
                quantile=fit.config.high_value_quantile,
            )

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        return inputs[Read(self.column, "number")] > self.threshold

    def online(self, slots: Slots) -> OnlineFunction:
        slot, threshold = slots[Read(self.column, "number")], self.threshold

        def high_value(values: Values) -> float:
            value = values[slot]
            return NAN if value is None else float(value > threshold)

        return high_value

    def describe(self) -> str:
        return f"1 where {self.column} is above {self.threshold:.6g}, its {self.quantile:.0%} training quantile"

    def say(self, value: float) -> str:
        """High, or not."""
        return f"{self.column} is {'high, above' if value else 'not above'} {self.threshold:.6g}"


class Rounded(_OneNumber):
    """1 where the amount is a multiple of ``unit``: people who test cards and gift cards like round sums."""

    kind: Literal["rounded"] = "rounded"
    unit: float = Field(default=1.0, gt=0)

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        column = fit.config.amount_column
        if column and fit.column(column):
            yield cls(name=feature_name(column, "is_round"), column=column)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        value = inputs[Read(self.column, "number")]
        return ((value * (1.0 / self.unit)).round(mode="half_to_even") * self.unit) == value

    def online(self, slots: Slots) -> OnlineFunction:
        slot, unit, inverse = slots[Read(self.column, "number")], self.unit, 1.0 / self.unit

        def rounded(values: Values) -> float:
            value = values[slot]
            if value is None:
                return NAN
            scaled = value * inverse
            whole = scaled if abs(scaled) >= _ALWAYS_WHOLE else float(round(scaled))
            return float(whole * unit == value)

        return rounded

    def describe(self) -> str:
        return f"1 where {self.column} is a multiple of {self.unit:g}"

    def say(self, value: float) -> str:
        """A round amount, or not."""
        return f"{self.column} is {'' if value else 'not '}a multiple of {self.unit:g}"


class Quotient(FeatureKind):
    """One quantity divided by another; missing where the divisor is 0."""

    kind: Literal["ratio"] = "ratio"
    group = "transaction"
    numerator: str
    denominator: str

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        for ratio in fit.config.ratios or ():
            if ratio.denominator in fit.constants:
                continue  # the numerator again, on another scale
            if fit.column(ratio.numerator) and fit.column(ratio.denominator):
                name = feature_name(ratio.numerator, "to", ratio.denominator, "ratio")
                yield cls(name=name, numerator=ratio.numerator, denominator=ratio.denominator)

    def reads(self) -> tuple[Read, ...]:
        return Read(self.numerator, "number"), Read(self.denominator, "number")

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        import polars as pl

        above, below = (inputs[read] for read in self.reads())
        return pl.when(below != 0).then(above / below)

    def online(self, slots: Slots) -> OnlineFunction:
        above, below = (slots[read] for read in self.reads())

        def ratio(values: Values) -> float:
            divisor = values[below]
            dividend = values[above]
            return dividend / divisor if divisor and dividend is not None else NAN

        return ratio

    def describe(self) -> str:
        return f"{self.numerator} divided by {self.denominator}; missing where that is 0"

    def say(self, value: float) -> str:
        """The quotient."""
        return f"{self.numerator} divided by {self.denominator} is {value:.6g}"
