"""Model files in Blob."""

from uuid import UUID

from shared.platform.blobs import BlobMissing, BlobStore
from shared.training.artifacts import METADATA, ArtifactError, ModelArtifact, ModelMetadata
from shared.training.model import model_prefix


async def write_artifact(blobs: BlobStore, model_id: UUID, artifact: ModelArtifact) -> None:
    """Write every file, the metadata last: a model whose metadata is there is complete. Repeating it changes
    nothing.
    """
    for name, content in artifact.files.items():
        if name != METADATA:
            await blobs.upload_bytes(model_prefix(model_id) + name, content)
    await blobs.upload_bytes(model_prefix(model_id) + METADATA, artifact.files[METADATA])


async def read_artifact(blobs: BlobStore, model_id: UUID) -> dict[str, bytes]:
    """Every file that the metadata names, unverified: hand the result to ``load_artifact``.

    :raises ArtifactError: a file is missing, or the metadata cannot be read.
    :raises Unavailable: Blob cannot be reached.
    """
    prefix = model_prefix(model_id)
    try:
        document = await blobs.read_bytes(prefix + METADATA)
    except BlobMissing as error:
        raise ArtifactError(f"{METADATA} is missing", target=METADATA) from error
    try:
        names = ModelMetadata.model_validate_json(document).files
    except ValueError as error:
        raise ArtifactError(f"{METADATA} cannot be read", target=METADATA) from error
    files = {METADATA: document}
    for name in names:
        try:
            files[name] = await blobs.read_bytes(prefix + name)
        except BlobMissing as error:
            raise ArtifactError(f"{name} is missing", target=name) from error
    return files
