"""Model files in Blob."""

from collections.abc import Collection
from uuid import UUID

from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.errors import NotFound
from shared.training.artifacts import (
    METADATA,
    REPORT,
    ArtifactError,
    FileDigest,
    ModelArtifact,
    ModelMetadata,
    parse_metadata,
    verify_artifact,
)
from shared.training.model import model_prefix


async def write_artifact(blobs: BlobStore, model_id: UUID, artifact: ModelArtifact) -> None:
    """Write every file, the metadata last: a model whose metadata is there is complete, and stays as it is. A worker
    that comes late must not change what may have been registered meanwhile.
    """
    prefix = model_prefix(model_id)
    if await blobs.exists(prefix + METADATA):
        return
    for name, content in artifact.files.items():
        if name != METADATA:
            await blobs.upload_bytes(prefix + name, content)
    await blobs.create_bytes(prefix + METADATA, artifact.files[METADATA])


async def read_metadata(blobs: BlobStore, model_id: UUID) -> tuple[ModelMetadata, int, str]:
    """A model's metadata, the size of all its files in bytes, and the SHA-256 of the metadata file.

    :raises ArtifactError: it is missing or cannot be read.
    """
    document = await _read(blobs, model_id, METADATA)
    digest = FileDigest.of(document)
    metadata = parse_metadata(document)
    return metadata, digest.size + sum(file.size for file in metadata.files.values()), digest.sha256


async def read_artifact(blobs: BlobStore, model_id: UUID, *, without: Collection[str] = ()) -> dict[str, bytes]:
    """The files that the metadata name, unverified: hand the result to ``load_artifact``.

    :param without: names of files to leave where they are.
    :raises ArtifactError: a file is missing, or the metadata cannot be read.
    :raises Unavailable: Blob cannot be reached.
    """
    files = {METADATA: await _read(blobs, model_id, METADATA)}
    for name in parse_metadata(files[METADATA]).files:
        if name not in without:
            files[name] = await _read(blobs, model_id, name)
    return files


async def read_some(
    blobs: BlobStore, model_id: UUID, sha256: str, names: Collection[str]
) -> tuple[ModelMetadata, dict[str, bytes]]:
    """A model's metadata and those of its files that ``names`` has and the model too, verified.

    :param sha256: ``ml_models.artifact_sha256``.
    :raises ArtifactError: a file is missing, truncated or altered.
    """
    files = {METADATA: await _read(blobs, model_id, METADATA)}
    metadata, _ = verify_artifact(files, sha256, only=())
    present = [name for name in names if name in metadata.files]
    for name in present:
        files[name] = await _read(blobs, model_id, name)
    return verify_artifact(files, sha256, only=present)


async def read_report(blobs: BlobStore, model_id: UUID, sha256: str) -> bytes:
    """A model's training report, verified.

    :param sha256: ``ml_models.artifact_sha256``.
    :raises NotFound: the model was made without a report.
    :raises ArtifactError: a file is missing, truncated or altered.
    """
    files = {METADATA: await _read(blobs, model_id, METADATA)}
    metadata, _ = verify_artifact(files, sha256, only=())
    if REPORT not in metadata.files:
        raise NotFound("the model was made without a training report", target="model_id")
    files[REPORT] = await _read(blobs, model_id, REPORT)
    return verify_artifact(files, sha256, only=(REPORT,))[1][REPORT]


async def _read(blobs: BlobStore, model_id: UUID, name: str) -> bytes:
    try:
        return await blobs.read_bytes(model_prefix(model_id) + name)
    except BlobMissing as error:
        raise ArtifactError(f"{name} is missing", target=name) from error
