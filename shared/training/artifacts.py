"""A model's files, and the only way to read them: every byte is verified first, and nothing in them is executed.

``metadata.json`` names every other file with its size and SHA-256; its own SHA-256 is in the database
(``ml_models.artifact_sha256``). So the row that was approved fixes every byte that is served. Reading needs numpy,
pydantic and XGBoost alone.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.features.plan import FeaturePlan
from shared.monitoring.profile import FeatureProfile, ReferenceProfile, cut_at
from shared.platform.errors import Unavailable
from shared.training.algorithms import ALGORITHMS, FittedModel
from shared.training.algorithms.base import ExplanationKind, Features
from shared.training.calibration import CalibratedModel, Calibration

METADATA: Final = "metadata.json"
PLAN: Final = "plan.json"
PROFILE: Final = "profile.json"
REPORT: Final = "report.html"


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
    """``metadata.json``. The version is not here: the registry gives it, after the files are written.

    ``calibration``: the curve that scores go through after the model, None where there is none.
    ``score_profile``: how the scores of the test part are distributed, what production's are compared with.
    ``explanation``: how contributions are computed, and what a row's sum is.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

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
    calibration: Calibration | None = None
    model_file: str
    metrics: dict[str, Any]
    feature_importance: dict[str, float]
    score_profile: FeatureProfile
    explanation: ExplanationKind = ExplanationKind()
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
    """A verified model in memory, ready to score: vectors made by ``plan``, fraud from ``threshold`` up."""

    model_id: UUID
    version: str
    model: FittedModel
    plan: FeaturePlan
    threshold: float
    metadata: ModelMetadata

    def predict(self, features: Features) -> npt.NDArray[np.float32]:
        """Probabilities of fraud, shape (n,), for vectors of shape (n, f), float32, NaN where missing."""
        return self.model.predict(features)

    def contributions(self, features: Features) -> Features:
        """Shapley values, shape (n, f + 1), the base value last; ``model.explanation`` says what a row's sum is."""
        return self.model.contributions(features)


def pack_artifact(files: Mapping[str, bytes], metadata: Mapping[str, Any]) -> ModelArtifact:
    """Add ``metadata.json`` to a model's files.

    :param metadata: the fields of :class:`ModelMetadata` except ``files``.
    """
    described = ModelMetadata.model_validate(
        {**metadata, "files": {name: FileDigest.of(content) for name, content in files.items()}}
    )
    return ModelArtifact({**files, METADATA: described.to_json()})


def verify_artifact(
    files: Mapping[str, bytes] | Path, sha256: str | None, *, only: Collection[str] | None = None
) -> tuple[ModelMetadata, dict[str, bytes]]:
    """Read the metadata and the files that it names, and compare each with its recorded size and SHA-256.

    :param files: contents by name, or the folder that holds them.
    :param sha256: what the database says of ``metadata.json``; None only where there is no row to compare with.
    :param only: names to look at; None for every file of the model.
    :raises ArtifactError: naming the file, and whether it is missing, truncated or altered.
    """
    document = _content(files, METADATA)
    if sha256 is not None and hashlib.sha256(document).hexdigest() != sha256:
        raise ArtifactError(f"{METADATA} is not the one that was registered", target=METADATA)
    metadata = parse_metadata(document)
    contents: dict[str, bytes] = {}
    for name in metadata.files if only is None else only:
        expected = metadata.files.get(name)
        if expected is None or Path(name).name != name:
            raise ArtifactError(f"{METADATA} does not describe {name}", target=METADATA)
        content = _content(files, name)
        if len(content) < expected.size:
            raise ArtifactError(f"{name} is truncated: {len(content)} of {expected.size} bytes", target=name)
        if FileDigest.of(content) != expected:
            raise ArtifactError(f"{name} was altered: its SHA-256 is not the one recorded", target=name)
        contents[name] = content
    return metadata, contents


def load_artifact(files: Mapping[str, bytes] | Path, sha256: str | None, *, version: str = "") -> LoadedModel:
    """Verify the model file and the plan, and build the model that scores; other files are neither needed nor read.

    :param sha256: ``ml_models.artifact_sha256``; None only where there is no row.
    :param version: the registry's, carried along for the answers.
    :raises ArtifactError: as :func:`verify_artifact`; or a file cannot be read, or the files do not fit each other.
    """
    name = parse_metadata(_content(files, METADATA)).model_file
    metadata, contents = verify_artifact(files, sha256, only=(name, PLAN))
    if metadata.algorithm not in ALGORITHMS:
        raise ArtifactError(f"{METADATA} names an unknown algorithm, {metadata.algorithm!r}", target=METADATA)
    try:
        model = ALGORITHMS[metadata.algorithm].load(contents[name])
    except ValueError as error:
        raise ArtifactError(f"{name}: {error}", target=name) from error
    try:
        plan = FeaturePlan.from_json(contents[PLAN])
    except ValidationError as error:
        raise ArtifactError(f"{PLAN} cannot be read: {error.error_count()} faults", target=PLAN) from error
    if plan.feature_names != tuple(metadata.feature_names) or len(plan.feature_names) != model.feature_count:
        raise ArtifactError("the model, its plan and its metadata name different features", target=METADATA)
    if metadata.calibration is not None:
        model = CalibratedModel(model, metadata.calibration)
    return LoadedModel(metadata.model_id, version, model, plan, metadata.threshold, metadata)


def read_profile(files: Mapping[str, bytes] | Path, metadata: ModelMetadata) -> ReferenceProfile | None:
    """What the model's inputs and scores looked like in training; None for a model without a profile.

    A profile that was made without scores gets those of the metadata.

    :param files: verified contents, see :func:`verify_artifact`.
    :raises ArtifactError: it cannot be read, or is not of this model's features.
    """
    if PROFILE not in metadata.files:
        return None
    try:
        profile = ReferenceProfile.from_json(_content(files, PROFILE))
    except ValidationError as error:
        raise ArtifactError(f"{PROFILE} cannot be read: {error.error_count()} faults", target=PROFILE) from error
    if [feature.name for feature in profile.features] != metadata.feature_names:
        raise ArtifactError(f"{PROFILE} describes other features", target=PROFILE)
    if profile.scores is not None:
        return profile
    return profile.model_copy(update={"scores": cut_at(metadata.score_profile, metadata.threshold)})


def parse_metadata(document: bytes) -> ModelMetadata:
    """:raises ArtifactError: not the metadata of a model, or of a format this app does not know."""
    try:
        return ModelMetadata.model_validate_json(document)
    except ValidationError as error:
        raise ArtifactError(f"{METADATA} cannot be read: {error.error_count()} faults", target=METADATA) from error


def _content(files: Mapping[str, bytes] | Path, name: str) -> bytes:
    try:
        return (files / name).read_bytes() if isinstance(files, Path) else files[name]
    except (FileNotFoundError, KeyError):
        raise ArtifactError(f"{name} is missing", target=name) from None
