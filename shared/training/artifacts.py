"""A model's files, and the only way to read them: every byte is verified first, and nothing in them is executed.

``metadata.json`` names every other file with its size and SHA-256; its own SHA-256 is in the database
(``ml_models.artifact_sha256``). So the row that was approved fixes every byte that is served. Reading needs numpy,
pydantic and XGBoost alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.features.plan import FeaturePlan
from shared.platform.errors import Unavailable

if TYPE_CHECKING:
    import xgboost

METADATA: Final = "metadata.json"
PLAN: Final = "plan.json"
PROFILE: Final = "profile.json"


class ArtifactError(Unavailable):
    """A model's files are missing, truncated, altered, or not what they say they are."""

    code = "model_artifact_invalid"


class FileDigest(BaseModel):
    """What a file must be."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Self:
        """The digest of ``content``."""
        return cls(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


class ModelMetadata(BaseModel):
    """``metadata.json``. The version is not here: the registry gives it, after the files are written."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    model_id: UUID
    name: str
    algorithm: str
    hyperparameters: dict[str, Any]
    feature_set_id: UUID
    dataset_id: UUID
    training_job_id: UUID
    feature_names: list[str]
    threshold: float
    threshold_policy: dict[str, Any]
    model_file: str
    metrics: dict[str, Any]
    feature_importance: dict[str, float]
    training: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, FileDigest]

    def to_json(self) -> bytes:
        """The file's bytes: the same for the same metadata."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """A model's files by name, ``metadata.json`` included."""

    files: Mapping[str, bytes]

    @property
    def sha256(self) -> str:
        """What the database keeps: the SHA-256 of ``metadata.json``."""
        return hashlib.sha256(self.files[METADATA]).hexdigest()

    @property
    def metadata(self) -> ModelMetadata:
        """The metadata, read back."""
        return ModelMetadata.model_validate_json(self.files[METADATA])


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A verified model in memory, ready to score: ``booster`` on vectors made by ``plan``, fraud from ``threshold`` up.

    ``profile`` is the reference profile's JSON as stored, None where the feature set had none.
    """

    model_id: UUID
    version: str
    booster: "xgboost.Booster"
    plan: FeaturePlan
    threshold: float
    metadata: ModelMetadata
    profile: bytes | None


def pack_artifact(files: Mapping[str, bytes], metadata: Mapping[str, Any]) -> ModelArtifact:
    """Add ``metadata.json`` to a model's files.

    :param metadata: the fields of :class:`ModelMetadata` except ``files``.
    """
    described = ModelMetadata.model_validate(
        {**metadata, "files": {name: FileDigest.of(content) for name, content in files.items()}}
    )
    return ModelArtifact({**files, METADATA: described.to_json()})


def verify_artifact(files: Mapping[str, bytes] | Path, sha256: str | None) -> tuple[ModelMetadata, dict[str, bytes]]:
    """Read the metadata and every file that it names.

    :param files: contents by name, or the folder that holds them.
    :param sha256: what the database says of ``metadata.json``; None only where there is no database row to compare
    with.
    :raises ArtifactError: naming the file, and whether it is missing, truncated or altered.
    """
    document = _content(files, METADATA)
    if sha256 is not None and hashlib.sha256(document).hexdigest() != sha256:
        raise ArtifactError(f"{METADATA} is not the one that was registered", target=METADATA)
    try:
        metadata = ModelMetadata.model_validate_json(document)
    except ValidationError as error:
        raise ArtifactError(f"{METADATA} cannot be read: {error.error_count()} faults", target=METADATA) from error
    if unlisted := {metadata.model_file, PLAN} - metadata.files.keys():
        raise ArtifactError(f"{METADATA} does not name {', '.join(sorted(unlisted))}", target=METADATA)
    contents: dict[str, bytes] = {}
    for name, expected in metadata.files.items():
        if Path(name).name != name:
            raise ArtifactError(f"{METADATA} names a file outside its folder", target=METADATA)
        content = _content(files, name)
        if len(content) < expected.size:
            raise ArtifactError(f"{name} is truncated: {len(content)} of {expected.size} bytes", target=name)
        if FileDigest.of(content) != expected:
            raise ArtifactError(f"{name} was altered: its SHA-256 is not the one recorded", target=name)
        contents[name] = content
    return metadata, contents


def load_artifact(files: Mapping[str, bytes] | Path, *, sha256: str | None = None, version: str = "") -> LoadedModel:
    """Verify a model's files and build the model that scores.

    :param version: the registry's, carried along for the answers.
    :raises ArtifactError: as :func:`verify_artifact`; or the model or the plan cannot be read, or they do not fit
    each other.
    """
    from shared.training.algorithms.xgboost import load_booster

    metadata, contents = verify_artifact(files, sha256)
    try:
        booster = load_booster(contents[metadata.model_file])
    except ValueError as error:
        raise ArtifactError(f"{metadata.model_file}: {error}", target=metadata.model_file) from error
    try:
        plan = FeaturePlan.from_json(contents[PLAN])
    except ValidationError as error:
        raise ArtifactError(f"{PLAN} cannot be read: {error.error_count()} faults", target=PLAN) from error
    if not list(plan.feature_names) == metadata.feature_names == booster.feature_names:
        raise ArtifactError("the model, its plan and its metadata name different features", target=METADATA)
    return LoadedModel(
        metadata.model_id, version, booster, plan, metadata.threshold, metadata, contents.get(PROFILE)
    )  # fmt: skip


def _content(files: Mapping[str, bytes] | Path, name: str) -> bytes:
    try:
        return (files / name).read_bytes() if isinstance(files, Path) else files[name]
    except (FileNotFoundError, KeyError):
        raise ArtifactError(f"{name} is missing", target=name) from None
