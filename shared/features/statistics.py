"""What the training part of a dataset says about each column: all that fitting a plan needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.datasets.model import ColumnType
from shared.features.config import FeatureConfig


@dataclass(frozen=True, slots=True)
class NumericStatistics:
    """Moments and quantiles of the finite values of a column; ``std`` is the population's."""

    mean: float
    std: float
    minimum: float
    maximum: float
    quantile_01: float
    median: float
    quantile_99: float
    high_value: float
    time_correlation: float | None = None


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """One column. ``categories`` holds the most frequent values with their counts, most frequent first.

    ``decimals`` are the decimal places of a column whose history is taken, at most 6.
    """

    name: str
    type: ColumnType
    missing: int
    distinct: int
    numeric: NumericStatistics | None = None
    decimals: int = 0
    categories: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class KnownLabels:
    """How many labels were known at each of ``instants`` (microseconds since 1970 UTC), of rows before it.

    ``total``, and for each column the counts of its ``categories``: the known labels at every instant, then the frauds
    among them.
    """

    instants: tuple[int, ...]
    total: tuple[int, ...]
    categories: Mapping[str, Mapping[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class TrainingStatistics:
    """The training part: ``rows`` rows, when the dataset has a time column from ``since`` to ``until``.

    ``labels`` are there when a column is to be encoded by them.
    """

    rows: int
    columns: Mapping[str, ColumnStatistics]
    since: datetime | None = None
    until: datetime | None = None
    labels: KnownLabels | None = None


@dataclass(frozen=True, slots=True)
class FitContext:
    """What a kind sees when it proposes its features: a complete configuration and the usable columns only.

    ``constants`` say nothing by themselves but may be part of something that varies: the one warehouse of a shop has a
    distance to each customer.

    ``all_columns`` are there for history alone: its keys identify, which nothing else may.
    """

    config: FeatureConfig
    statistics: TrainingStatistics
    constants: frozenset[str] = frozenset()
    all_columns: Mapping[str, ColumnStatistics] = field(default_factory=dict)

    def columns(self, *types: ColumnType) -> list[ColumnStatistics]:
        """The usable columns of these types that vary, in the dataset's order."""
        return [c for c in self.statistics.columns.values() if c.type in types and c.name not in self.constants]

    def column(self, name: str) -> ColumnStatistics | None:
        """A usable column, constant or not; ``None`` when it is excluded."""
        return self.statistics.columns.get(name)

    def is_categorical(self, name: str) -> bool:
        """Whether the configuration treats the column as a category, whatever its type."""
        return name in (self.config.categorical_columns or ())

    def numeric(self) -> list[ColumnStatistics]:
        """Usable columns that are quantities."""
        return [c for c in self.columns("integer", "float") if c.numeric and not self.is_categorical(c.name)]

    def categorical(self) -> list[ColumnStatistics]:
        """Usable columns that are categories."""
        return [c for c in self.columns("string", "integer") if self.is_categorical(c.name)]
