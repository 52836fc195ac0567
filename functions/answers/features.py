"""What feature engineering answers."""

from typing import Any
from uuid import UUID

from typing_extensions import TypedDict

from functions.views import View
from shared.features.model import FeatureSet

FEATURE_SET = View(FeatureSet, "FeatureSetCard", copied={"feature_set_id": "id"})
LISTED_FEATURE_SET = View(
    FeatureSet,
    "FeatureSetRow",
    hidden={"config", "all_features", "selected_features", "selection_report"},
    copied={"feature_set_id": "id"},
)


class DocumentSchemas(TypedDict):
    """JSON schemas of what ``features/compute`` takes."""

    config: dict[str, Any]
    plan: dict[str, Any]


class PreviewFeature(TypedDict):
    """A feature with its figures over all rows."""

    name: str
    kind: str
    description: str
    missing: int
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    selected: bool


class PreviewRow(TypedDict):
    """One row of the feature table."""

    id: str | int | None
    time: str | None
    label: int | None
    features: dict[str, float | None]


class FeaturePreview(TypedDict):
    """What a feature set looks like."""

    feature_set_id: UUID
    features: list[PreviewFeature]
    rows: list[PreviewRow]
