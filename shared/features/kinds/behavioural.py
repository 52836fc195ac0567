"""History: what the events of the same customer, card, device, address or payee before a transaction come to.

The numbers themselves are made in ``shared.features.history``; both executors hand them over as one more input.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.features.config import ColumnName, HistoryFeature, Window
from shared.features.history.events import Entity, EventLayout, NumberColumn
from shared.features.history.specs import OF_CODE, OF_LABEL, OF_NUMBER, HistoryFunction, HistorySpec, window_us
from shared.features.inputs import Read
from shared.features.kinds.base import FeatureKind, OnlineFunction, Slots, feature_name
from shared.features.statistics import FitContext

if TYPE_CHECKING:
    import polars as pl

_MAX_DECIMALS = 6


def history_read(name: str) -> Read:
    """The input under which an executor hands over the history feature ``name``."""
    return Read(name, "history")


class Behavioural(FeatureKind):
    """One function over one window of one entity's events."""

    kind: Literal["behavioural"] = "behavioural"
    group = "behavioural"
    entity: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=2)]
    function: HistoryFunction
    window: Window
    time_column: ColumnName
    column: ColumnName | None = None
    decimals: int = Field(default=0, ge=0, le=_MAX_DECIMALS)
    baseline: Window | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        HistoryFeature(
            entity=self.entity, function=self.function, window=self.window, column=self.column, baseline=self.baseline
        )
        return self

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        time = fit.config.time_column
        if time is None:
            return
        for feature in fit.config.history or ():
            statistics = fit.all_columns.get(feature.column) if feature.column is not None else None
            yield cls(
                name=_name(feature),
                entity=feature.entity,
                function=feature.function,
                window=feature.window,
                time_column=time,
                column=feature.column,
                decimals=statistics.decimals if statistics and feature.function in OF_NUMBER else 0,
                baseline=feature.baseline,
            )

    def reads(self) -> tuple[Read, ...]:
        reads = [Read(self.time_column, "instant"), *(Read(column, "category") for column in self.entity)]
        if self.column is not None:
            reads.append(Read(self.column, "number" if self.function in OF_NUMBER else "category"))
        return tuple(reads)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        return inputs[history_read(self.name)]

    def online(self, slots: Slots) -> OnlineFunction:
        slot = slots[history_read(self.name)]

        def history(values: list[float]) -> float:
            return values[slot]

        return history

    def spec(self, layout: EventLayout) -> HistorySpec:
        """The feature in terms of the plan's layout."""
        column = -1
        if self.column is not None:
            column = (
                layout.numbers.index(NumberColumn(self.column, self.decimals))
                if self.function in OF_NUMBER
                else layout.codes.index(self.column)
            )
        return HistorySpec(
            entity=self.entity,
            function=self.function,
            window_us=window_us(self.window),
            column=column,
            scale=10.0**self.decimals,
            baseline_us=window_us(self.baseline) if self.baseline else 0,
        )

    def describe(self) -> str:
        who = f"the same {' and '.join(self.entity)} in the last {self.window}"
        return {
            "count": f"Transactions of {who}",
            "sum": f"Sum of {self.column} over the transactions of {who}",
            "mean": f"Mean {self.column} of the transactions of {who}",
            "std": f"Standard deviation of {self.column} over the transactions of {who}",
            "min": f"Least {self.column} of the transactions of {who}",
            "max": f"Greatest {self.column} of the transactions of {who}",
            "ratio_to_mean": f"{self.column} relative to its mean over the transactions of {who}",
            "deviation": f"Standard deviations of {self.column} from its mean over the transactions of {who}",
            "distinct": f"Different values of {self.column} among the transactions of {who}",
            "entropy": f"Entropy in bits of {self.column} over the transactions of {who}",
            "time_since_last": f"Seconds since the newest transaction of {who}",
            "first_time": f"1 where there is no transaction of {who}",
            "acceleration": f"Rate of transactions of {who}, relative to its rate in the last {self.baseline}",
            "known_count": f"Transactions of {who} whose label is known by now",
            "fraud_rate": f"Share of fraud among the transactions of {who} whose label is known by now",
        }[self.function]

    def say(self, value: float) -> str:
        """What a reader can check: a count, an amount, a span of time, a share."""
        who = f"{' and '.join(self.entity)} in the last {self.window}"
        match self.function:
            case "first_time":
                return f"{'no' if value else 'an'} earlier transaction of this {who}"
            case "time_since_last":
                return f"the last transaction of this {' and '.join(self.entity)} was {_span(value)} earlier"
            case "ratio_to_mean":
                return f"{self.column} is {value:.3g} times its mean of this {who}"
            case "deviation":
                side = "above" if value >= 0 else "below"
                return f"{self.column} is {abs(value):.3g} standard deviations {side} its mean of this {who}"
            case "fraud_rate":
                return f"{value:.1%} of the known transactions of this {who} were fraud"
            case "acceleration":
                return f"this {who} is {value:.3g} times as busy as in the last {self.baseline}"
            case _:
                return super().say(value)

    def say_missing(self) -> str:
        """Nothing to look back on: the usual case of a newcomer, and of a transaction that names no such entity."""
        known = " of a known label" if self.function == "fraud_rate" else ""
        return f"no earlier transaction{known} of this {' and '.join(self.entity)} in the last {self.window}"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _name(feature: HistoryFeature) -> str:
    entity = "_".join(feature.entity)
    column = feature.column or ""
    if feature.function == "distinct":
        return feature_name(entity, "distinct", column, feature.window)
    return feature_name(entity, column, feature.function, feature.window, feature.baseline or "")


def event_layout(
    features: tuple[Behavioural, ...], time_column: str, id_column: str | None, history_limit: int
) -> EventLayout:
    """What the events of these features must carry; equal for the same features in any order.

    :raises ValueError: a number column with two different decimals, or more than one time column.
    """
    entities: set[Entity] = {feature.entity for feature in features}
    numbers = {(f.column, f.decimals) for f in features if f.column is not None and f.function in OF_NUMBER}
    if len({name for name, _ in numbers}) != len(numbers):
        raise ValueError("history features disagree about the decimals of a column")
    if any(feature.time_column != time_column for feature in features):
        raise ValueError("history features disagree about the time column")
    return EventLayout(
        time_column=time_column,
        id_column=id_column,
        entities=tuple(sorted(entities)),
        numbers=tuple(NumberColumn(name, decimals) for name, decimals in sorted(numbers)),
        codes=tuple(sorted({f.column for f in features if f.column is not None and f.function in OF_CODE})),
        history_limit=history_limit,
        span_us=max(window_us(window) for f in features for window in (f.window, f.baseline) if window),
        uses_labels=any(feature.function in OF_LABEL for feature in features),
    )
