"""The contract of a feature kind: fitting, both executors and the description in one class."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, StringConstraints

from shared.features.config import Group
from shared.features.inputs import Read
from shared.features.statistics import FitContext

if TYPE_CHECKING:
    import polars as pl

# What monitoring stores in drift_metrics.feature_name.
MAX_NAME = 100
FeatureName = Annotated[str, StringConstraints(pattern=r"^\w+$", min_length=1, max_length=MAX_NAME)]
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
