"""Where a model comes from, what was made from a dataset, and whether figures of two models are comparable."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.registry.lifecycle import ModelStatus

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Shown(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class SourceDataset(_Shown):
    """A dataset that something was made from."""

    id: UUID
    name: str
    version: str
    status: str
    row_count: int | None
    parent_id: UUID | None
    created_at: datetime


class SourceFeatureSet(_Shown):
    """A feature set that something was made from. Equal ``content_hash`` is an equal plan; ``plan_of`` is the set
    whose plan was reused.
    """

    id: UUID
    dataset_id: UUID
    name: str
    status: str
    content_hash: str | None
    plan_of: UUID | None
    created_at: datetime


class SourceJob(_Shown):
    """A training job. ``split`` says where its test part begins (``test_from``, microseconds since 1970 UTC)."""

    id: UUID
    name: str
    status: str
    algorithm: str
    train_test_split: float | None
    split: dict[str, Any] | None
    queued_at: datetime | None
    completed_at: datetime | None
    created_by: UUID | None


class MadeModel(_Shown):
    """A model that was made from something."""

    id: UUID
    name: str
    version: str
    status: ModelStatus
    artifact_sha256: str | None
    created_at: datetime


class Provenance(_Shown):
    """A model and all it was made from; None where that is not recorded."""

    model: MadeModel
    training_job: SourceJob | None
    feature_set: SourceFeatureSet | None
    dataset: SourceDataset | None

    @property
    def tested_from(self) -> datetime | None:
        """When the test part begins; None for data without times."""
        begin = ((self.training_job and self.training_job.split) or {}).get("test_from")
        return None if begin is None else _EPOCH + timedelta(microseconds=begin)


class Descendant(_Shown):
    """What was made from a dataset: a feature set, a job on it if there is one, and its model if it made one."""

    feature_set: SourceFeatureSet
    training_job: SourceJob | None
    model: MadeModel | None


class DatasetLineage(_Shown):
    """A dataset between the versions it came from, nearest first, and those made from it, newest first."""

    dataset: SourceDataset
    ancestors: list[SourceDataset]
    children: list[SourceDataset]


def differences(
    model: Provenance, metrics: Mapping[str, Any], other: Provenance, other_metrics: Mapping[str, Any]
) -> list[str]:
    """Why figures recorded for the one are not quite comparable with the other's; empty where they are.

    :param metrics: of the model, with ``rows`` and ``frauds`` of its test part.
    """
    found = []
    first, second = model.dataset, other.dataset
    if first is None or second is None:
        found.append("what one of the models was tested on is not recorded")
    elif first.id != second.id:
        found.append(
            f"tested on different datasets: {first.name} {first.version} ({first.id}) and "
            f"{second.name} {second.version} ({second.id})"
        )
    if model.tested_from != other.tested_from:
        begins = f"{_moment(model.tested_from)} and {_moment(other.tested_from)}"
        found.append(f"test parts begin at different times: {begins}")
    counts = [(name, metrics.get(name), other_metrics.get(name)) for name in ("rows", "frauds")]
    found += [
        f"test parts have different {name}: {mine} and {theirs}" for name, mine, theirs in counts if mine != theirs
    ]
    return found


def _moment(time: datetime | None) -> str:
    return "no recorded time" if time is None else time.isoformat()
