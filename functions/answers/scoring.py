"""What scoring answers."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from functions.views import View
from shared.scoring.model import Prediction, Reason
from shared.scoring.reason_codes import ReasonCode

_HIDDEN = frozenset({"id", "input_features", "explanation"})


class Scored(TypedDict):
    """The decision about one transaction; reasons are empty unless it is flagged or was asked to be explained."""

    prediction_id: UUID
    transaction_id: str | None
    fraud_score: Annotated[float, Field(ge=0, le=1)]
    is_fraud: bool
    confidence: Annotated[float, Field(ge=0, le=1, description="0 at the threshold, 1 at the far end of its side.")]
    threshold: Annotated[float, Field(ge=0, le=1)]
    reasons: list[Reason]
    reason_catalogue: int
    model_id: UUID
    model_version: str
    latency_ms: int | None
    created_at: datetime


class HowExplained(TypedDict):
    """How contributions were made, and what base value and contributions add up to: in ``log_odds`` the margin whose
    sigmoid is the score, in ``probability`` the score itself; before or after calibration.
    """

    method: Literal["tree_shap", "linear_shap", "sampled_shapley"]
    unit: Literal["log_odds", "probability"]
    of: Literal["score", "uncalibrated_score"]


class Contributions(TypedDict):
    """Shapley values; what ``base_value`` and all contributions add up to is told by ``explanation``."""

    base_value: float
    contributions: dict[str, float]
    explanation: HowExplained


class Explained(Scored, Contributions):
    """A decision with all its reasons."""


class ReasonCatalogue(TypedDict):
    """The codes of reasons; a code never changes what it means."""

    version: int
    codes: list[ReasonCode]


class StoredInput(TypedDict):
    """The transaction as it was received, and the features made of it."""

    transaction: dict[str, str | float | bool | None]
    features: dict[str, float | None]


PREDICTION = View(Prediction, "StoredPrediction", hidden=_HIDDEN, copied={"prediction_id": "id"})
EXPLAINED_PREDICTION = View(
    Prediction,
    "ExplainedPrediction",
    hidden=_HIDDEN,
    copied={"prediction_id": "id"},
    added={
        "input_features": StoredInput,
        "reasons": list[Reason],
        "reason_catalogue": int,
        "base_value": float,
        "contributions": dict[str, float],
        "explanation": HowExplained,
    },
)
