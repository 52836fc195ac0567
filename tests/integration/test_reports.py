"""Training reports, read from Blob and verified against the registry."""

from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from shared.platform.blobs import BlobStore
from shared.platform.database import Database
from shared.platform.errors import NotFound
from shared.registry.service import RegistryService
from shared.training.artifact_store import write_artifact
from shared.training.artifacts import REPORT, ArtifactError, ModelArtifact, pack_artifact
from shared.training.model import model_prefix
from shared.training.report.service import ReportService
from tests.fixtures.artifacts import packed_model

PAGE = b"<!DOCTYPE html>\n<html></html>\n"


@pytest.fixture
def reports(database: Database, blobs: BlobStore) -> ReportService:
    return ReportService(RegistryService(database), blobs)


def _with_report(model_id: UUID) -> ModelArtifact:
    bare = packed_model(model_id=model_id)
    files = {name: bare.files[name] for name in bare.metadata.files}
    return pack_artifact({**files, REPORT: PAGE}, bare.metadata.model_dump(exclude={"files"}))


async def _registered(database: Database, blobs: BlobStore, artifact: ModelArtifact, sha256: str | None) -> UUID:
    model_id = artifact.metadata.model_id
    await write_artifact(blobs, model_id, artifact)
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics, threshold, "
            "artifact_sha256) VALUES (%s, 'fraud', %s, 'xgboost', '{}', %s, %s, 0.25, %s)",
            (model_id, model_id.hex, model_prefix(model_id), Jsonb({}), sha256),
        )
    return model_id


async def test_a_report_is_read_as_it_was_written(database: Database, blobs: BlobStore, reports: ReportService) -> None:
    """Byte by byte."""
    artifact = _with_report(uuid4())
    assert await reports.read(await _registered(database, blobs, artifact, artifact.sha256)) == PAGE


async def test_no_model_and_a_model_without_report_are_not_found(
    database: Database, blobs: BlobStore, reports: ReportService
) -> None:
    """One of an older time has files but no report, one from elsewhere has no files."""
    bare, unknown = packed_model(model_id=uuid4()), packed_model(model_id=uuid4())
    for model_id in (
        uuid4(),
        await _registered(database, blobs, bare, bare.sha256),
        await _registered(database, blobs, unknown, None),
    ):
        with pytest.raises(NotFound):
            await reports.read(model_id)


@pytest.mark.parametrize("damage", ["altered", "truncated", "missing"])
@pytest.mark.parametrize("name", [REPORT, "metadata.json"])
async def test_a_damaged_report_is_never_shown(
    database: Database, blobs: BlobStore, reports: ReportService, name: str, damage: str
) -> None:
    """Nor one whose metadata is not what the registry vouches for; the error names the file."""
    artifact = _with_report(uuid4())
    model_id = await _registered(database, blobs, artifact, artifact.sha256)
    content = artifact.files[name]
    if damage == "missing":
        await blobs.delete_prefix(model_prefix(model_id) + name)
    else:
        changed = content[:-3] if damage == "truncated" else content.replace(b"l", b"1", 1)
        await blobs.upload_bytes(model_prefix(model_id) + name, changed)
    with pytest.raises(ArtifactError) as error:
        await reports.read(model_id)
    assert error.value.target == name
