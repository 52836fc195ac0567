"""Reading training reports."""

from uuid import UUID

from shared.platform.blobs import BlobStore
from shared.platform.errors import NotFound
from shared.registry.service import RegistryService
from shared.training.artifact_store import read_report


class ReportService:
    """Use cases of training reports."""

    def __init__(self, registry: RegistryService, blobs: BlobStore) -> None:
        self._registry = registry
        self._blobs = blobs

    async def read(self, model_id: UUID) -> bytes:
        """The report of a model, the very bytes that were written when it was trained.

        :raises NotFound: there is no such model, or it has no report.
        :raises ArtifactError: the report or what vouches for it is missing, truncated or altered.
        """
        model = await self._registry.get(model_id)
        if model.artifact_sha256 is None:
            raise NotFound("the model has no files, and so no training report", target="model_id")
        return await read_report(self._blobs, model_id, model.artifact_sha256)
