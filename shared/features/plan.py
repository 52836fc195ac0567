"""The feature plan: frozen, versioned data that fully defines a feature vector.

A plan is a JSON document. Reading one validates it and executes nothing: kinds are looked up in one table, parameters
are numbers and strings, and every feature is checked against the columns that the plan declares.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.datasets.model import ColumnType
from shared.features.config import GROUPS, FeatureConfig
from shared.features.history.events import EventLayout
from shared.features.inputs import FORMS, Read
from shared.features.kinds import KINDS, AnyFeature
from shared.features.kinds.behavioural import Behavioural, event_layout
from shared.features.statistics import ColumnStatistics, FitContext, TrainingStatistics
from shared.platform.errors import FieldError, InvalidContent

# A counter that grows with time tells the model the date, which never comes back.
_CLOCK_CORRELATION = 0.999
# A string column with this share of distinct values is an identifier.
_IDENTIFIER_SHARE = 0.5


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputColumn(_Document):
    """A column that the plan reads. A transaction without a ``required`` one is refused."""

    name: str
    type: ColumnType
    required: bool = False


class Exclusion(_Document):
    """A column that is not a feature, and why."""

    column: str
    reason: str


class Fit(_Document):
    """What the plan was fitted on: the first ``rows`` rows by time, the last of them at ``until``."""

    rows: int = Field(ge=0)
    until: datetime | None = None


class Usable(NamedTuple):
    """Columns that may become features, and those that may not."""

    statistics: TrainingStatistics
    constants: frozenset[str]
    exclusions: tuple[Exclusion, ...]


class FeaturePlan(_Document):
    """Every feature with its fitted parameters, in the order of the vector."""

    version: Literal[1] = 1
    config: FeatureConfig
    fit: Fit
    inputs: tuple[InputColumn, ...]
    features: tuple[AnyFeature, ...]
    exclusions: tuple[Exclusion, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        types = {column.name: column.type for column in self.inputs}
        if len(types) != len(self.inputs):
            raise ValueError("an input column appears twice")
        if len(set(self.feature_names)) != len(self.features):
            raise ValueError("a feature name appears twice")
        for feature in self.features:
            for column, form in feature.reads():
                if column not in types:
                    raise ValueError(f"{feature.name} reads {column!r}, which is not an input")
                if form not in FORMS[types[column]]:
                    raise ValueError(f"{feature.name} cannot read {column!r} ({types[column]}) as a {form}")
        _ = self.layout  # raises where history features contradict each other
        return self

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names in the order of the vector."""
        return tuple(feature.name for feature in self.features)

    @property
    def input_columns(self) -> tuple[str, ...]:
        """Columns that the features read."""
        return tuple(column.name for column in self.inputs)

    @property
    def descriptions(self) -> dict[str, str]:
        """One sentence a feature."""
        return {feature.name: feature.describe() for feature in self.features}

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the plan's canonical JSON, in hexadecimal: equal for equal plans."""
        document = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(document.encode()).hexdigest()

    @cached_property
    def history_features(self) -> tuple[Behavioural, ...]:
        """The features that look at past transactions, in plan order."""
        return tuple(feature for feature in self.features if isinstance(feature, Behavioural))

    @cached_property
    def layout(self) -> EventLayout | None:
        """What the plan needs to be kept of every transaction; ``None`` when no feature looks at the past."""
        features = self.history_features
        if not features:
            return None
        return event_layout(features, features[0].time_column, self.config.id_column, self.config.history_limit)

    def reads(self) -> tuple[Read, ...]:
        """Every column and form that the features need, each once."""
        return tuple(dict.fromkeys(read for feature in self.features for read in feature.reads()))

    def select(self, names: Iterable[str]) -> "FeaturePlan":
        """The plan of these features only, in the given order, with the inputs they need.

        :raises InvalidContent: names this plan does not have.
        """
        by_name = {feature.name: feature for feature in self.features}
        wanted = tuple(dict.fromkeys(names))
        if unknown := [name for name in wanted if name not in by_name]:
            raise InvalidContent(
                f"the plan has no feature {', '.join(unknown)}",
                details=[FieldError(name, "no such feature in the plan") for name in unknown],
            )
        features = tuple(by_name[name] for name in wanted)
        used = {column for feature in features for column, _ in feature.reads()}
        # Built anew rather than copied: cached properties must not travel.
        return FeaturePlan(
            config=self.config,
            fit=self.fit,
            inputs=tuple(column for column in self.inputs if column.name in used),
            features=features,
            exclusions=self.exclusions,
        )

    def to_json(self) -> bytes:
        """The document as UTF-8 JSON."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, document: bytes | str | Mapping[str, Any]) -> "FeaturePlan":
        """Read a document that :meth:`to_json` wrote.

        :raises pydantic.ValidationError: it is not a plan of a known version.
        """
        if isinstance(document, bytes | str):
            return cls.model_validate_json(document)
        return cls.model_validate(document)


def plan_from_statistics(statistics: TrainingStatistics, config: FeatureConfig) -> FeaturePlan:
    """Fit a plan: each kind of the enabled groups proposes its features from the training part's statistics.

    :param config: complete, as ``inference.infer_config`` returns it.
    :raises InvalidContent: no feature is left.
    """
    usable = _usable_columns(statistics, config)
    context = FitContext(config, usable.statistics, usable.constants, statistics.columns)
    features: dict[str, Any] = {}
    for kind in KINDS:
        if kind.group not in (config.groups or GROUPS):
            continue
        for feature in kind.propose(context):
            features[_unused(feature.name, features)] = feature
    named = [
        feature if feature.name == name else feature.model_copy(update={"name": name})
        for name, feature in features.items()
    ]
    if not named:
        raise InvalidContent("no column of this dataset can become a feature", target="config")
    used = {column for feature in named for column, _ in feature.reads()}
    required = {config.amount_column, config.time_column}
    return FeaturePlan(
        config=config,
        fit=Fit(rows=statistics.rows, until=statistics.until),
        inputs=tuple(
            InputColumn(name=column.name, type=column.type, required=column.name in required and not column.missing)
            for column in statistics.columns.values()
            if column.name in used
        ),
        features=tuple(named),
        exclusions=usable.exclusions,
    )


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """``name``, or the first of ``name_2``, ``name_3`` … that is free."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name[:96]}_{number}"
    return candidate


def _usable_columns(statistics: TrainingStatistics, config: FeatureConfig) -> Usable:
    usable: dict[str, ColumnStatistics] = {}
    constants: set[str] = set()
    exclusions: list[Exclusion] = []
    for column in statistics.columns.values():
        reason = _why_excluded(column, statistics.rows, config)
        if reason is None:
            usable[column.name] = column
            if column.distinct <= 1 and not column.missing:
                constants.add(column.name)
                reason = "constant in the training part"
        if reason is not None:
            exclusions.append(Exclusion(column=column.name, reason=reason))
    return Usable(replace(statistics, columns=usable), frozenset(constants), tuple(exclusions))


def _why_excluded(column: ColumnStatistics, rows: int, config: FeatureConfig) -> str | None:
    if column.name == config.label_column:
        return "the label"
    if column.name == config.label_time_column:
        return "says when the label became known"
    if column.name == config.id_column:
        return "the transaction's identifier"
    if column.name in (config.protected_columns or ()):
        return "protected: kept for bias monitoring only"
    if column.name in (config.excluded_columns or ()):
        return "excluded by the configuration"
    if column.missing >= rows:
        return "always missing in the training part"
    if column.name in (config.time_column, config.amount_column):
        return None
    numeric = column.numeric
    if numeric and numeric.time_correlation is not None and abs(numeric.time_correlation) > _CLOCK_CORRELATION:
        return "a counter that runs with the clock"
    if column.type == "string" and column.distinct > _IDENTIFIER_SHARE * rows and rows > config.one_hot_limit:
        return "an identifier: most values appear once"
    return None
