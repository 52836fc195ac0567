"""What a user may say about the features of a dataset. Everything is optional; ``inference`` fills in the rest."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.features.history.events import MAX_HISTORY
from shared.features.history.specs import OF_CODE, OF_NUMBER, HistoryFunction, window_us

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Group = Literal["transaction", "temporal", "behavioural"]
Transform = Literal["raw", "log", "zscore", "clipped"]

# Minutes, hours or days.
Window = Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,3}[mhd]$")]

GROUPS: tuple[Group, ...] = ("transaction", "temporal", "behavioural")

# Whether plans look at the past without being asked to.
HISTORY_BY_DEFAULT = True


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


class HistoryFeature(_Document):
    """``function`` over the events of the same ``entity`` in ``[t - window, t)``, of ``column`` where it needs one.

    ``entity`` is one column or a pair. ``acceleration`` compares with the longer window ``baseline``.
    """

    entity: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=2)]
    function: HistoryFunction
    window: Window
    column: ColumnName | None = None
    baseline: Window | None = None

    @model_validator(mode="after")
    def _fits_its_function(self) -> Self:
        if len(set(self.entity)) != len(self.entity):
            raise ValueError("a pair needs two different columns")
        if (self.column is None) == (self.function in OF_NUMBER | OF_CODE):
            raise ValueError(f"{self.function} {'needs a' if self.column is None else 'has no'} column")
        if (self.baseline is None) == (self.function == "acceleration"):
            raise ValueError("baseline belongs to acceleration, and acceleration needs one")
        if self.baseline is not None and window_us(self.baseline) <= window_us(self.window):
            raise ValueError("baseline must be longer than window")
        return self


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

    ``groups`` are by default those the dataset allows: ``behavioural``, which is history, needs a time and an entity.

    ``frequency_columns`` are the categorical columns that may be encoded by their frequency: by default not the
    entities, whose populations grow, so that every newcomer would look like a stranger.

    ``history`` lists history features one by one; without it at most ``history_features`` are proposed, over
    ``history_entities`` and ``history_values`` and the ``windows``. A transaction sees the newest ``history_limit``
    events of a key. Past labels count from ``label_time_column`` on, or ``label_delay_days`` after their transaction;
    with neither no feature looks at them.
    """

    label_column: ColumnName | None = None
    time_column: ColumnName | None = None
    id_column: ColumnName | None = None
    amount_column: ColumnName | None = None
    entity_columns: tuple[ColumnName, ...] | None = None
    protected_columns: tuple[ColumnName, ...] | None = None
    excluded_columns: tuple[ColumnName, ...] | None = None
    categorical_columns: tuple[ColumnName, ...] | None = None
    frequency_columns: tuple[ColumnName, ...] | None = None

    groups: tuple[Group, ...] | None = None
    windows: tuple[Window, ...] = ()
    transforms: dict[ColumnName, tuple[Transform, ...]] | None = None
    ratios: tuple[Ratio, ...] | None = None
    durations: tuple[Duration, ...] | None = None
    distances: tuple[Distance, ...] | None = None

    history: Annotated[tuple[HistoryFeature, ...], Field(max_length=500)] | None = None
    history_entities: tuple[Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=2)], ...] | None = None
    history_values: tuple[ColumnName, ...] | None = None
    history_features: int = Field(default=40, ge=1, le=500)
    history_limit: int = Field(default=MAX_HISTORY, ge=1, le=MAX_HISTORY)
    history_horizon: Window = "90d"
    label_delay_days: float | None = Field(default=None, ge=0, le=3650)
    label_time_column: ColumnName | None = None

    one_hot_limit: int = Field(default=20, ge=0, le=200)
    frequency_limit: int = Field(default=10_000, ge=0, le=100_000)
    high_value_quantile: float = Field(default=0.95, gt=0.5, lt=1)
    train_fraction: float = Field(default=0.8, ge=0.1, le=0.95)
    selection: SelectionConfig = SelectionConfig()

    @model_validator(mode="after")
    def _roles_do_not_contradict(self) -> Self:
        if self.groups is not None and (not self.groups or len(set(self.groups)) != len(self.groups)):
            raise ValueError("groups must be distinct and at least one")
        protected = set(self.protected_columns or ())
        for role in ("label_column", "time_column", "id_column", "amount_column"):
            column = getattr(self, role)
            if column is not None and column in protected:
                raise ValueError(f"{column!r} cannot be both {role} and protected")
        roles = {self.label_column, self.id_column, self.label_time_column} - {None}
        never = protected | set(self.excluded_columns or ()) | roles
        for name, used in self._derived_columns():
            if clash := sorted(name for name in used & never if name):
                raise ValueError(f"{name} may not read {', '.join(map(repr, clash))}: protected, excluded, id or label")
        return self

    def _derived_columns(self) -> list[tuple[str, set[str | None]]]:
        return [
            ("transforms", set(self.transforms or ())),
            ("ratios", {column for ratio in self.ratios or () for column in (ratio.numerator, ratio.denominator)}),
            ("durations", {column for span in self.durations or () for column in (span.start, span.end)}),
            ("distances", {column for distance in self.distances or () for column in distance.columns()}),
            ("history", {column for feature in self.history or () for column in (*feature.entity, feature.column)}),
            ("history_entities", {column for key in self.history_entities or () for column in key}),
            ("history_values", set(self.history_values or ())),
        ]
