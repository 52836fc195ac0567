"""Use cases of feature sets."""

from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

import orjson

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets.model import DatasetStatus
from shared.features import repository
from shared.features.inference import infer_config
from shared.features.model import FeatureSet, FeatureSetFiles, FeatureSetRequest, FeatureSetStatus
from shared.features.stages import FeatureStages
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, NotFound, invalid_field
from shared.users.model import Caller


class FeatureService:
    """Requesting and reading feature sets; the computing itself is in :attr:`stages`."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    @cached_property
    def stages(self) -> FeatureStages:
        """What the orchestration's activities call."""
        return FeatureStages(self._database, self._blobs, self._clock)

    async def request(self, request: FeatureSetRequest, *, caller: Caller, origin: Origin) -> FeatureSet:
        """A pending feature set whose configuration is complete: what was left open has been inferred.

        :raises InvalidContent: there is no such dataset, or the configuration does not fit its columns.
        :raises Conflict: the dataset is not active.
        """
        async with self._database.connection() as conn:
            source = await repository.get_source(conn, request.dataset_id)
        if source is None:
            raise invalid_field("dataset_id", "no dataset has this id")
        if source.status != DatasetStatus.ACTIVE:
            raise Conflict(f"the dataset is {source.status}", target="dataset_id")
        config = infer_config(source.schema_, request.config)
        async with self._database.transaction() as conn:
            created = await repository.insert(
                conn, uuid4(), request, config, created_by=caller.user_id, now=self._clock()
            )
            await audit.record(
                conn,
                origin,
                caller,
                action="CREATE",
                resource_type="feature_set",
                resource_id=created.id,
                new={"name": created.name, "dataset_id": str(created.dataset_id)},
            )
        return created

    async def get(self, feature_set_id: UUID) -> FeatureSet:
        """One feature set.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            found = await repository.get(conn, feature_set_id)
        if found is None:
            raise NotFound("no feature set has this id", target="feature_set_id")
        return found

    async def list_page(
        self, *, status: FeatureSetStatus | None, dataset_id: UUID | None, limit: int, offset: int
    ) -> tuple[list[FeatureSet], int]:
        """One page of feature sets, newest first, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, status=status, dataset_id=dataset_id, limit=limit, offset=offset)

    async def unfinished(self, before: datetime) -> list[tuple[UUID, str]]:
        """Ids and orchestrations of sets that were asked for before ``before`` and have not ended."""
        async with self._database.connection() as conn:
            return await repository.list_unfinished(conn, before)

    async def preview(self, feature_set_id: UUID, rows: int) -> dict[str, Any]:
        """The first ``rows`` rows, and every feature with its description, basic statistics and whether it is selected.

        :raises NotFound: there is none with this id.
        :raises Conflict: it is not completed.
        """
        found = await self.get(feature_set_id)
        if found.status is not FeatureSetStatus.COMPLETED:
            raise Conflict(f"the feature set is {found.status}", target="feature_set_id")
        preview: dict[str, Any] = orjson.loads(await self._blobs.read_bytes(FeatureSetFiles(feature_set_id).preview))
        selected = {feature["name"] for feature in found.selected_features or ()}
        return {
            "feature_set_id": feature_set_id,
            "features": [{**feature, "selected": feature["name"] in selected} for feature in preview["features"]],
            "rows": preview["rows"][:rows],
        }
