"""The contract of a feature kind: fitting, both executors and the description in one class."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

from shared.features.config import Group
from shared.features.inputs import Read
from shared.features.statistics import FitContext

if TYPE_CHECKING:
    import polars as pl

# What monitoring stores in drift_metrics.feature_name.
MAX_NAME = 100
_NAME = re.compile(rf"\w{{1,{MAX_NAME}}}")


def _checked_name(name: str) -> str:
    # By Python's idea of a word character, the one feature_name uses; pydantic's own patterns have another.
    if not _NAME.fullmatch(name):
        raise ValueError(f"a feature's name is 1 to {MAX_NAME} letters, digits and underscores")
    return name


FeatureName = Annotated[str, AfterValidator(_checked_name)]
NAN = float("nan")

# Input of a compiled online function: one value for each slot, ``None`` where missing.
Values = list[Any]
OnlineFunction = Callable[[Values], float]
Slots = Mapping[Read, int]


def feature_name(*parts: str) -> str:
    """A readable, stable name from free text: word characters only, at most :data:`MAX_NAME` long."""
    name = "_".join(re.sub(r"\W+", "_", part).strip("_") for part in parts if part)
    return name[:MAX_NAME].rstrip("_") or "feature"


class FeatureKind(BaseModel, ABC):
    """One fitted feature: frozen data that can be run by either executor.

    Both executors do the same IEEE double operations in the same order. In particular Polars divides by a constant by
    multiplying with its reciprocal, so scales are stored as reciprocals and multiplied on both sides.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    group: ClassVar[Group]

    name: FeatureName

    @classmethod
    @abstractmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        """Fitted features of this kind for a dataset; reads nothing but ``fit``."""

    @abstractmethod
    def reads(self) -> tuple[Read, ...]:
        """What the feature needs."""

    @abstractmethod
    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        """The feature as a numeric expression over read inputs; null is missing."""

    @abstractmethod
    def online(self, slots: Slots) -> OnlineFunction:
        """The feature as a function of one transaction's values; NaN is missing."""

    @abstractmethod
    def describe(self) -> str:
        """One sentence for people who did not write this."""

    def say(self, value: float) -> str:
        """What a present value of this feature means, as half a sentence of a reason; flags say it without numbers."""
        return f"{self.describe()}: {value:.6g}"

    def say_missing(self) -> str:
        """What it means that this feature has no value."""
        columns = dict.fromkeys(column for column, _ in self.reads())
        return f"{' or '.join(columns) or self.name} is missing"

    def tell(self, value: float | None) -> str:
        """A value, or its absence, in words."""
        return self.say_missing() if value is None else self.say(value)
