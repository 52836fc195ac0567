"""Smoothed target encoding, fitted out of fold along time."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from shared.features.config import ColumnName
from shared.features.inputs import Read
from shared.features.kinds.base import NAN, FeatureKind, OnlineFunction, Slots, Values, feature_name
from shared.features.statistics import FitContext

if TYPE_CHECKING:
    import polars as pl

Count = Annotated[int, Field(ge=0, le=2**53)]
Instant = Annotated[int, Field(ge=-(2**62), le=2**62)]


class _Encoding(NamedTuple):
    """What was known at one instant: the share of fraud in everything and, smoothed, in each category."""

    prior: float
    rates: dict[str, float]


class Target(FeatureKind):
    """The share of fraud among earlier transactions of the same category, drawn towards that of all transactions.

    ``(fraud + m · prior) / (known + m)`` with ``m = smoothing`` (Micci-Barreca 2001, "A preprocessing scheme for
    high-cardinality categorical attributes"). A transaction is encoded by the counts of the newest of ``instants``
    (microseconds since 1970 UTC) that is not after it. They were taken from rows before that instant and labels known
    at it, so that no row ever meets its own label or a later one, in training or afterwards; transactions before the
    first instant have no encoding.

    ``total`` and each of ``counts`` hold the known labels at every instant, then the frauds among them. A category that
    is not listed gets the prior.
    """

    kind: Literal["target"] = "target"
    group = "transaction"
    column: ColumnName
    time_column: ColumnName
    smoothing: float = Field(ge=0, le=1e9)
    instants: Annotated[tuple[Instant, ...], Field(min_length=1)]
    total: tuple[Count, ...]
    counts: dict[str, tuple[Count, ...]]

    @model_validator(mode="after")
    def _counts_fit_the_instants(self) -> Self:
        size = len(self.instants)
        if list(self.instants) != sorted(set(self.instants)):
            raise ValueError("instants must ascend")
        for counts in (self.total, *self.counts.values()):
            if len(counts) != 2 * size or any(counts[n] < counts[n + size] for n in range(size)):
                raise ValueError("counts are the known labels at each instant, then the frauds among them")
        return self

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        labels, time = fit.statistics.labels, fit.config.time_column
        if labels is None or time is None or not fit.column(time):
            return
        for name, counts in labels.categories.items():
            if fit.column(name) and name not in fit.constants and counts:
                yield cls(
                    name=feature_name(name, "target"),
                    column=name,
                    time_column=time,
                    smoothing=fit.config.target_smoothing,
                    instants=labels.instants,
                    total=labels.total,
                    counts=counts,
                )

    def reads(self) -> tuple[Read, ...]:
        return Read(self.column, "category"), Read(self.time_column, "instant")

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        import polars as pl

        category, instant = (inputs[read] for read in self.reads())
        # One lookup finds the category's code, 0 for those not listed, and one the rate of that code at the newest
        # instant; before the first one that is -1, which the second lookup does not find.
        codes = category.replace_strict(
            list(self.counts), range(1, 1 + len(self.counts)), default=0, return_dtype=pl.Int64
        )
        newest = pl.sum_horizontal((instant >= since).cast(pl.Int64) for since in self.instants) - 1
        rates = [rate for prior, rates in self._encodings() for rate in (prior, *rates.values())]
        rate = (newest * (1 + len(self.counts)) + codes).replace_strict(
            range(len(rates)), rates, default=None, return_dtype=pl.Float64
        )
        return pl.when(category.is_not_null()).then(rate)

    def online(self, slots: Slots) -> OnlineFunction:
        category_slot, instant_slot = (slots[read] for read in self.reads())
        instants, encodings = self.instants, self._encodings()

        def target(values: Values) -> float:
            category, instant = values[category_slot], values[instant_slot]
            if category is None or instant is None or instant < instants[0]:
                return NAN
            prior, rates = encodings[bisect_right(instants, instant) - 1]
            return rates.get(category, prior)

        return target

    def _encodings(self) -> list[_Encoding]:
        """One for each instant; NaN all over where no label was known."""
        size, m = len(self.instants), self.smoothing
        encodings = []
        for n, (known, fraud) in enumerate(zip(self.total[:size], self.total[size:], strict=True)):
            prior = fraud / known if known else NAN
            rates = {
                category: (counts[n + size] + m * prior) / (counts[n] + m) if counts[n] else prior
                for category, counts in self.counts.items()
            }
            encodings.append(_Encoding(prior, rates))
        return encodings

    def describe(self) -> str:
        return (
            f"Share of fraud among the training transactions of the same {self.column} whose label was known by then, "
            f"as if {self.smoothing:g} more had the overall share"
        )

    def say(self, value: float) -> str:
        """The share."""
        return f"{value:.2%} of the training transactions of this {self.column} were fraud, smoothed"

    def say_missing(self) -> str:
        """No category, no time, or too early."""
        return f"{self.column} or {self.time_column} is missing, or no label was known yet"
