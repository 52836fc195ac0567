"""What a user may say about the features of a dataset. Everything is optional; ``inference`` fills in the rest."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.features.history.events import MAX_HISTORY
from shared.features.history.specs import OF_CODE, OF_LABEL, OF_NUMBER, HistoryFunction, window_us

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Key = Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=2)]
Group = Literal["transaction", "temporal", "behavioural"]
Transform = Literal["raw", "log", "zscore", "clipped"]

_MICROSECOND = timedelta(microseconds=1)
_WINDOW = r"[1-9]\d{0,3}[mhd]"


def _possible_window(window: str) -> str:
    if not re.fullmatch(_WINDOW, window, re.ASCII):
        raise ValueError("a window is 1 to 9999 minutes, hours or days, such as 30m, 24h or 7d")
    return window


Window = Annotated[
    str, AfterValidator(_possible_window), Field(json_schema_extra={"pattern": f"^{_WINDOW}$", "examples": ["24h"]})
]

GROUPS: tuple[Group, ...] = ("transaction", "temporal", "behavioural")

# Whether plans look at the past without being asked to.
HISTORY_BY_DEFAULT = True


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Duration(_Document):
    """Days from ``start`` to ``end``, both timestamp columns."""

    start: ColumnName = Field(description="The earlier timestamp.")
    end: ColumnName = Field(description="The later timestamp.")


class Distance(_Document):
    """Great-circle kilometres between two points, each given by a latitude and a longitude column (degrees)."""

    from_latitude: ColumnName = Field(description="Latitude of the first place in degrees.")
    from_longitude: ColumnName = Field(description="Longitude of the first place in degrees.")
    to_latitude: ColumnName = Field(description="Latitude of the second place in degrees.")
    to_longitude: ColumnName = Field(description="Longitude of the second place in degrees.")

    def columns(self) -> tuple[str, str, str, str]:
        """The four columns, in the order of the fields."""
        return self.from_latitude, self.from_longitude, self.to_latitude, self.to_longitude


class Ratio(_Document):
    """``numerator`` divided by ``denominator``, both numeric columns."""

    numerator: ColumnName = Field(description="What is divided.")
    denominator: ColumnName = Field(description="What it is divided by.")


class HistoryFeature(_Document):
    """``function`` over the events of the same ``entity`` in ``[t - window, t)``, of ``column`` where it needs one.

    ``entity`` is one column or a pair. ``acceleration`` compares with the longer window ``baseline``.
    """

    entity: Key = Field(description="The column, or the two, that the events have in common.")
    function: HistoryFunction = Field(description="What is computed of the events.")
    window: Window = Field(description="How far back: minutes, hours or days.")
    column: ColumnName | None = Field(default=None, description="The column that the function is of, if of any.")
    baseline: Window | None = Field(default=None, description="The longer window that acceleration compares with.")

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


class RecursiveElimination(_Document):
    """Drop the weakest features round by round while a model of the rest stays as good.

    Models are fitted on the earlier three quarters of the sample and judged on the later quarter; a feature is as
    strong as its mean absolute SHAP value.
    """

    step: float = Field(default=0.2, ge=0.02, le=0.5, description="Share of the features that each round drops.")
    min_features: int = Field(default=5, ge=1, le=1000, description="At least so many features are kept.")
    tolerance: float = Field(
        default=0.005,
        ge=0,
        le=0.2,
        description="How much average precision below the best round the chosen, smallest set may have.",
    )


class SelectionConfig(_Document):
    """How features are chosen. All of it looks at the training part only."""

    enabled: bool = Field(default=True, description="Whether anything is dropped; features are ranked either way.")
    max_features: int = Field(default=60, ge=1, le=1000, description="At most so many features are chosen.")
    min_variance: float = Field(default=1e-12, ge=0, description="Features that vary no more than this are dropped.")
    max_correlation: float = Field(
        default=0.995,
        gt=0,
        le=1,
        description="Of two features whose correlation is beyond this, the lower ranked is dropped.",
    )
    sample_rows: int = Field(
        default=100_000, ge=1_000, le=2_000_000, description="Rows of the training part to choose by."
    )
    seed: int = Field(default=7, ge=0, le=2**31 - 1, description="Seed of the sample and of the models.")
    recursive_elimination: RecursiveElimination | None = Field(
        default=None, description="Whether, and how, the weakest of the chosen are dropped again; null: not."
    )

    @model_validator(mode="after")
    def _eliminates_only_where_it_chooses(self) -> Self:
        if self.recursive_elimination is not None and not self.enabled:
            raise ValueError("recursive_elimination drops features, which enabled: false rules out")
        return self


class FeatureConfig(_Document):
    """The request for a feature set. ``None`` means: infer it from the dataset's schema."""

    label_column: ColumnName | None = Field(
        default=None,
        description="The label: 1, true, yes or fraud for fraud; 0, false, no or genuine for the rest. Given as null: "
        "nothing is labelled; features are then neither ranked nor selected by use.",
    )
    time_column: ColumnName | None = Field(default=None, description="When the transaction took place.")
    id_column: ColumnName | None = Field(default=None, description="The transaction's identifier; never a feature.")
    amount_column: ColumnName | None = Field(default=None, description="The amount paid.")
    entity_columns: tuple[ColumnName, ...] | None = Field(
        default=None, description="Keys of customers, cards, devices, addresses and payees, who have a history."
    )
    protected_columns: tuple[ColumnName, ...] | None = Field(
        default=None,
        description="Kept for bias monitoring only: never features and never read to make one.",
    )
    excluded_columns: tuple[ColumnName, ...] | None = Field(
        default=None,
        description="Identities and columns derived from the label: never features and never read to make one.",
    )
    categorical_columns: tuple[ColumnName, ...] | None = Field(
        default=None, description="Columns that are encoded as categories, whole numbers among them."
    )
    frequency_columns: tuple[ColumnName, ...] | None = Field(
        default=None,
        description="Categorical columns that may be encoded by their frequency: by default not the entities, whose "
        "populations grow, so that every newcomer would look like a stranger.",
    )
    target_columns: tuple[ColumnName, ...] | None = Field(
        default=None,
        description="Columns to encode by the share of fraud among earlier transactions of the category; by default "
        "none.",
    )
    holiday_columns: tuple[ColumnName, ...] | None = Field(
        default=None, description="Columns with the ISO 3166-1 alpha-2 code of a country whose public holidays count."
    )
    holiday_country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = Field(
        default=None, description="The country whose public holidays count, where no column tells."
    )

    groups: tuple[Group, ...] | None = Field(
        default=None,
        description="Groups of features; by default those the dataset allows. Behavioural, which is history, needs a "
        "time and an entity.",
    )
    windows: tuple[Window, ...] = Field(
        default=(), description="Windows of the history features that are proposed; by default 1h, 24h, 7d and 30d."
    )
    transforms: dict[ColumnName, tuple[Transform, ...]] | None = Field(
        default=None,
        description="Transforms by numeric column; by default all of them for the amount; others raw, "
        "and in logarithms where the tail is heavy.",
    )
    ratios: tuple[Ratio, ...] | None = Field(default=None, description="Quotients of two numeric columns.")
    durations: tuple[Duration, ...] | None = Field(default=None, description="Days between two timestamps.")
    distances: tuple[Distance, ...] | None = Field(default=None, description="Kilometres between two places.")

    history: Annotated[tuple[HistoryFeature, ...], Field(max_length=500)] | None = Field(
        default=None, description="History features one by one; without it they are proposed."
    )
    history_entities: tuple[Key, ...] | None = Field(
        default=None, description="Columns, or pairs of them, whose history is proposed; by default the entities found."
    )
    history_values: tuple[ColumnName, ...] | None = Field(
        default=None, description="Numeric columns that proposed history adds up; by default the amount."
    )
    history_features: int = Field(
        default=40, ge=1, le=500, description="At most so many history features are proposed."
    )
    history_limit: int = Field(
        default=MAX_HISTORY, ge=1, le=MAX_HISTORY, description="A transaction sees the newest so many events of a key."
    )
    history_horizon: Window = Field(
        default="90d", description="How far back time_since_last and first_time look when they are proposed."
    )
    label_delay_days: float | None = Field(
        default=None,
        ge=0,
        le=3650,
        description="Days after its transaction from which a label counts as known to later ones; without it and "
        "without label_time_column no feature looks at past labels.",
    )
    label_time_column: ColumnName | None = Field(
        default=None, description="When the label became known; instead of label_delay_days."
    )

    one_hot_limit: int = Field(
        default=20, ge=0, le=200, description="Categorical columns of at most so many values are encoded one by one."
    )
    frequency_limit: int = Field(
        default=10_000, ge=0, le=100_000, description="At most so many values of a column get a frequency."
    )
    target_folds: int = Field(
        default=5,
        ge=2,
        le=50,
        description="Blocks of time of the training part; target encoding of one is fitted on those before it.",
    )
    target_smoothing: float = Field(
        default=50,
        ge=0,
        le=1e9,
        description="Transactions of the overall share of fraud that target encoding adds to those of a category.",
    )
    high_value_quantile: float = Field(
        default=0.95, gt=0.5, lt=1, description="Amounts above this quantile of the training part are high."
    )
    train_fraction: float = Field(
        default=0.8, ge=0.1, le=0.95, description="Share of the rows, the earliest, that features are fitted on."
    )
    selection: SelectionConfig = Field(default=SelectionConfig(), description="How features are chosen.")

    @model_validator(mode="after")
    def _roles_do_not_contradict(self) -> Self:
        if self.groups is not None and (not self.groups or len(set(self.groups)) != len(self.groups)):
            raise ValueError("groups must be distinct and at least one")
        protected = set(self.protected_columns or ())
        for role in ("label_column", "time_column", "id_column", "amount_column"):
            column = getattr(self, role)
            if column is not None and column in protected:
                raise ValueError(f"{column!r} cannot be both {role} and protected")
        delay = timedelta(days=self.label_delay_days or 0) // _MICROSECOND
        if late := [f for f in self.history or () if f.function in OF_LABEL and window_us(f.window) <= delay]:
            raise ValueError(f"no label would be known within {late[0].window}: label_delay_days is as long or longer")
        roles = {self.label_column, self.id_column, self.label_time_column} - {None}
        never = protected | set(self.excluded_columns or ()) | roles
        for name, used in self.feature_columns():
            if clash := sorted(used & never):
                raise ValueError(f"{name} may not read {', '.join(map(repr, clash))}: protected, excluded, id or label")
        return self

    def feature_columns(self) -> list[tuple[str, set[str]]]:
        """The columns that each setting asks features of."""
        return [
            ("target_columns", set(self.target_columns or ())),
            ("holiday_columns", set(self.holiday_columns or ())),
            ("transforms", set(self.transforms or ())),
            ("ratios", {column for ratio in self.ratios or () for column in (ratio.numerator, ratio.denominator)}),
            ("durations", {column for span in self.durations or () for column in (span.start, span.end)}),
            ("distances", {column for distance in self.distances or () for column in distance.columns()}),
            ("history", {c for feature in self.history or () for c in (*feature.entity, feature.column) if c}),
            ("history_entities", {column for key in self.history_entities or () for column in key}),
            ("history_values", set(self.history_values or ())),
        ]
