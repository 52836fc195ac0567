"""Model files in Blob."""

from uuid import UUID

from shared.platform.blobs import BlobMissing, BlobStore
from shared.training.artifacts import METADATA, ArtifactError, FileDigest, ModelArtifact, ModelMetadata, parse_metadata
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
    try:
        document = await blobs.read_bytes(model_prefix(model_id) + METADATA)
    except BlobMissing as error:
        raise ArtifactError(f"{METADATA} is missing", target=METADATA) from error
    digest = FileDigest.of(document)
    metadata = parse_metadata(document)
    return metadata, digest.size + sum(file.size for file in metadata.files.values()), digest.sha256


async def read_artifact(blobs: BlobStore, model_id: UUID) -> dict[str, bytes]:
    """Every file that the metadata names, unverified: hand the result to ``load_artifact``.

    :raises ArtifactError: a file is missing, or the metadata cannot be read.
    :raises Unavailable: Blob cannot be reached.
    """
    prefix = model_prefix(model_id)
    try:
        files = {METADATA: await blobs.read_bytes(prefix + METADATA)}
    except BlobMissing as error:
        raise ArtifactError(f"{METADATA} is missing", target=METADATA) from error
    for name in parse_metadata(files[METADATA]).files:
        try:
            files[name] = await blobs.read_bytes(prefix + name)
        except BlobMissing as error:
            raise ArtifactError(f"{name} is missing", target=name) from error
    return files
