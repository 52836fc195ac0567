"""Models and the steps of their life."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.platform.errors import NotFound
from shared.registry.lifecycle import ModelStatus


class Model(BaseModel):
    """A row of ``ml_models``."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    name: str
    version: str
    description: str | None
    algorithm: str
    hyperparameters: dict[str, Any]
    feature_set_id: UUID | None
    training_job_id: UUID | None
    storage_path: str
    model_size_bytes: int | None
    metrics: dict[str, Any]
    feature_names: list[str] | None
    feature_importance: dict[str, float] | None
    threshold: float | None
    artifact_sha256: str | None
    status: ModelStatus
    promoted_at: datetime | None
    archived_at: datetime | None
    archived_reason: str | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """Which models; None is any. ``name`` is a part of the name in any case; ``created_since`` is included,
    ``created_until`` is not.
    """

    status: ModelStatus | None = None
    algorithm: str | None = None
    name: str | None = None
    created_by: UUID | None = None
    created_since: datetime | None = None
    created_until: datetime | None = None


ANY_MODEL: Final = ModelFilter()


class PromotionRequest(BaseModel):
    """Where a model shall go, and why."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    target_status: ModelStatus
    reason: str = Field(min_length=1, max_length=2000)
    override: bool = Field(False, description="Go on although a baseline or champion rule fails; administrators only.")


class Reasoned(BaseModel):
    """The reason for a rollback."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: str = Field(min_length=1, max_length=2000)


class ArchiveRequest(Reasoned):
    """Why a model shall be archived."""

    leave_without_production: bool = Field(
        False, description="Archive the model in production although nothing takes its place: scoring stops."
    )


class Transition(BaseModel):
    """A row of ``model_promotions``: one step of a model's life. ``replaced_by`` is the model that took over
    production; a model that left it without one was archived on purpose.
    """

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    model_id: UUID
    from_status: ModelStatus
    to_status: ModelStatus
    verdict: dict[str, Any] | None
    reason: str | None
    overridden: bool
    replaced_by: UUID | None
    promoted_by: UUID | None
    promoted_at: datetime


def found(model: Model | None) -> Model:
    """``model`` itself.

    :raises NotFound: it is None.
    """
    if model is None:
        raise NotFound("no model has this id", target="model_id")
    return model
