"""What the registry answers."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from typing_extensions import TypedDict

from functions.views import View
from shared.registry.gate import ChampionCheck, Check
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import Model, Transition
from shared.registry.provenance import DatasetLineage, Descendant, Provenance, SourceDataset


class Verdict(TypedDict):
    """What the gate found: every baseline and every rule against ``champion``, the model then in production."""

    passed: bool
    checks: list[Check]
    champion: UUID | None
    champion_checks: list[ChampionCheck]
    warnings: list[str]


MODEL = View(Model, "ModelCard", hidden={"storage_path"})
PROMOTED = View(Model, "PromotedModel", hidden={"storage_path"}, added={"verdict": Verdict})
TRANSITION = View(Transition, "ModelTransition", added={"verdict": Verdict | None})


class Named(TypedDict):
    """A model by name."""

    id: UUID
    name: str
    version: str


class Loadable(TypedDict):
    """Whether a model's files can serve, and if not which one and why."""

    loadable: bool
    file: str | None
    message: str | None


class PromotionTrial(TypedDict):
    """What a promotion would do."""

    allowed: bool
    from_status: ModelStatus
    target_status: ModelStatus
    replaces: Named | None
    verdict: Verdict
    overridden: bool
    artifact: Loadable


class ModelFigures(TypedDict):
    """Figures on the test part, and mean absolute contributions by feature."""

    metrics: dict[str, Any]
    feature_importance: dict[str, float] | None
    threshold: float | None


class JobNamed(TypedDict):
    """A training job by name."""

    id: UUID
    name: str
    train_test_split: float | None


class FeatureSetNamed(TypedDict):
    """A feature set by name."""

    id: UUID
    name: str
    content_hash: str | None


class DatasetNamed(TypedDict):
    """A dataset by name."""

    id: UUID
    name: str
    version: str
    row_count: int | None


TestedOn = TypedDict(
    "TestedOn",
    {"from": datetime | None, "months": list[str] | None, "rows": int | None, "frauds": int | None},
)


class ComparedModel(TypedDict):
    """Who a model is, what it was trained and tested on."""

    id: UUID
    name: str
    version: str
    algorithm: str
    status: ModelStatus
    threshold: float | None
    created_at: datetime
    feature_count: int
    training_job: JobNamed | None
    feature_set: FeatureSetNamed | None
    dataset: DatasetNamed | None
    test: TestedOn


class ComparedMetric(TypedDict):
    """One figure of every model with its 95 % interval; ``best`` are the positions of the best."""

    metric: str
    better: Literal["higher", "lower"] | None
    values: list[float | None]
    low: list[float | None]
    high: list[float | None]
    best: list[int]


class ComparedValue(TypedDict):
    """A hyperparameter that is not the same in all."""

    name: str
    values: list[Any]


class ComparedHyperparameters(TypedDict):
    """What is equal and what is not."""

    same: dict[str, Any]
    different: list[ComparedValue]


class ComparedFeature(TypedDict):
    """A feature that not all have."""

    feature: str
    present: list[bool]


class ComparedFeatures(TypedDict):
    """How many features all share, and those that not all have."""

    shared: int
    different: list[ComparedFeature]


class ComparedImportance(TypedDict):
    """Mean absolute contribution of one feature."""

    feature: str
    values: list[float | None]


class Series(TypedDict):
    """One figure along the months, a list a model."""

    metric: str
    values: list[list[Any]]


class ComparedMonths(TypedDict):
    """Figures along time."""

    months: list[str]
    series: list[Series]


class ComparisonWarning(TypedDict):
    """Why figures of a model are not quite comparable with those of the first."""

    model_id: UUID
    message: str


class Comparison(TypedDict):
    """Models side by side; every list of values is in the order of the ids."""

    models: list[ComparedModel]
    metrics: list[ComparedMetric]
    hyperparameters: ComparedHyperparameters
    features: ComparedFeatures
    importance: list[ComparedImportance]
    by_month: ComparedMonths
    warnings: list[ComparisonWarning]


LINEAGE = View(Provenance, "ModelLineage", added={"dataset_ancestors": list[SourceDataset]})
DESCENDANTS = View(DatasetLineage, "Descendants", added={"descendants": list[Descendant]})
