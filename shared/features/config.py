"""What a user may say about the features of a dataset. Everything is optional; ``inference`` fills in the rest."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Group = Literal["transaction", "temporal"]
Transform = Literal["raw", "log", "zscore", "clipped"]

# Minutes, hours or days. Read by history features, which this version of the plan does not have yet.
Window = Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,3}[mhd]$")]

GROUPS: tuple[Group, ...] = ("transaction", "temporal")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Duration(_Document):
    """Days from ``start`` to ``end``, both timestamp columns."""

    start: ColumnName
    end: ColumnName


class Distance(_Document):
    """Great-circle kilometres between two points, each given by a latitude and a longitude column (degrees)."""

    from_latitude: ColumnName
    from_longitude: ColumnName
    to_latitude: ColumnName
    to_longitude: ColumnName

    def columns(self) -> tuple[str, str, str, str]:
        """The four columns, in the order of the fields."""
        return self.from_latitude, self.from_longitude, self.to_latitude, self.to_longitude


class Ratio(_Document):
    """``numerator`` divided by ``denominator``, both numeric columns."""

    numerator: ColumnName
    denominator: ColumnName


class SelectionConfig(_Document):
    """How features are chosen. All of it looks at the training part only."""

    enabled: bool = True
    max_features: int = Field(default=60, ge=1, le=1000)
    min_variance: float = Field(default=1e-12, ge=0)
    max_correlation: float = Field(default=0.995, gt=0, le=1)
    sample_rows: int = Field(default=100_000, ge=1_000, le=2_000_000)
    seed: int = Field(default=7, ge=0, le=2**31 - 1)


class FeatureConfig(_Document):
    """The request for a feature set. ``None`` means: infer it from the dataset's schema.

    ``protected_columns`` (bias monitoring) and ``excluded_columns`` (identities, label-derived columns) never become
    features and are never read to make one.
    """

    label_column: ColumnName | None = None
    time_column: ColumnName | None = None
    id_column: ColumnName | None = None
    amount_column: ColumnName | None = None
    entity_columns: tuple[ColumnName, ...] | None = None
    protected_columns: tuple[ColumnName, ...] | None = None
    excluded_columns: tuple[ColumnName, ...] | None = None
    categorical_columns: tuple[ColumnName, ...] | None = None

    groups: tuple[Group, ...] = GROUPS
    windows: tuple[Window, ...] = ()
    transforms: dict[ColumnName, tuple[Transform, ...]] | None = None
    ratios: tuple[Ratio, ...] | None = None
    durations: tuple[Duration, ...] | None = None
    distances: tuple[Distance, ...] | None = None

    one_hot_limit: int = Field(default=20, ge=0, le=200)
    frequency_limit: int = Field(default=10_000, ge=0, le=100_000)
    high_value_quantile: float = Field(default=0.95, gt=0.5, lt=1)
    train_fraction: float = Field(default=0.8, ge=0.1, le=0.95)
    selection: SelectionConfig = SelectionConfig()

    @model_validator(mode="after")
    def _roles_do_not_contradict(self) -> Self:
        if not self.groups or len(set(self.groups)) != len(self.groups):
            raise ValueError("groups must be distinct and at least one")
        protected = set(self.protected_columns or ())
        for role in ("label_column", "time_column", "id_column", "amount_column"):
            column = getattr(self, role)
            if column is not None and column in protected:
                raise ValueError(f"{column!r} cannot be both {role} and protected")
        never = protected | set(self.excluded_columns or ()) | {self.label_column, self.id_column} - {None}
        for name, used in self._derived_columns():
            if clash := sorted(used & never):
                raise ValueError(f"{name} may not read {', '.join(map(repr, clash))}: protected, excluded, id or label")
        return self

    def _derived_columns(self) -> list[tuple[str, set[str]]]:
        return [
            ("transforms", set(self.transforms or ())),
            ("ratios", {column for ratio in self.ratios or () for column in (ratio.numerator, ratio.denominator)}),
            ("durations", {column for span in self.durations or () for column in (span.start, span.end)}),
            ("distances", {column for distance in self.distances or () for column in distance.columns()}),
        ]
