"""Use cases of feature sets."""

import asyncio
from datetime import datetime
from functools import cached_property
from typing import Any, Literal
from uuid import UUID, uuid4

import orjson
from pydantic import ValidationError

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets.model import DatasetStatus
from shared.features import repository
from shared.features.compatibility import require_fit, require_sound
from shared.features.config import FeatureConfig
from shared.features.inference import infer_config
from shared.features.labels import require_learnable
from shared.features.model import (
    ANY_FEATURE_SET,
    FeatureSet,
    FeatureSetFiles,
    FeatureSetFilter,
    FeatureSetRequest,
    FeatureSetStatus,
)
from shared.features.plan import FeaturePlan
from shared.features.stages import FeatureStages
from shared.features.transform_stages import ROWS_AT_ONCE
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, InvalidContent, NotFound, invalid_field
from shared.platform.listing import FIRST_PAGE, Page
from shared.users.model import Caller


class FeatureService:
    """Requesting and reading feature sets; the computing itself is in :attr:`stages`."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock, *, rows_at_once: int = ROWS_AT_ONCE) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._rows_at_once = rows_at_once

    @cached_property
    def stages(self) -> FeatureStages:
        """What the orchestration's activities call."""
        return FeatureStages(self._database, self._blobs, self._clock, rows_at_once=self._rows_at_once)

    async def request(self, request: FeatureSetRequest, *, caller: Caller, origin: Origin) -> FeatureSet:
        """A pending feature set whose configuration is complete: what was left open has been inferred.

        With a plan, the request's own or another set's, nothing will be fitted or chosen, and the configuration is
        that of the plan.

        :raises InvalidContent: there is no such dataset or set, the configuration or the plan does not fit the
            dataset's columns, or its statistics tell that there is nothing to learn from.
        :raises Conflict: the dataset is not active, or the set whose plan is wanted is not completed.
        """
        async with self._database.connection() as conn:
            source = await repository.get_source(conn, request.dataset_id)
        if source is None:
            raise _no_dataset()
        _require_active(source.status)
        plan = await self._given_plan(request)
        if plan is None:
            config = infer_config(source.schema_, request.config or FeatureConfig())
            require_learnable(source, config)
        else:
            config = plan.config
            require_fit(plan, source.schema_, target="plan" if request.plan_of is None else "plan_of")
        feature_set_id = uuid4()
        if plan is not None:
            await self._blobs.upload_bytes(FeatureSetFiles(feature_set_id).work_plan, plan.to_json())
        async with self._database.transaction() as conn:
            # Meanwhile somebody may have archived or removed the dataset.
            _require_active(await repository.hold_source(conn, request.dataset_id))
            created = await repository.insert(
                conn,
                feature_set_id,
                request,
                config,
                plan_given=plan is not None,
                created_by=caller.user_id,
                now=self._clock(),
            )
            await audit.record(
                conn,
                origin,
                caller,
                action="CREATE",
                resource_type="feature_set",
                resource_id=created.id,
                new={
                    "name": created.name,
                    "dataset_id": str(created.dataset_id),
                    "plan_given": created.plan_given,
                    "plan_of": str(created.plan_of) if created.plan_of else None,
                },
            )
        return created

    async def _given_plan(self, request: FeatureSetRequest) -> FeaturePlan | None:
        """The plan that the request wants to be run as it is."""
        if request.plan is not None:
            require_sound(request.plan, target="plan")
            return request.plan
        if request.plan_of is None:
            return None
        try:
            document = await self._plan_document(request.plan_of, target="plan_of")
            return await asyncio.to_thread(FeaturePlan.from_json, document)
        except NotFound as error:
            raise invalid_field("plan_of", error.message) from error
        except ValidationError as error:
            raise Conflict("the plan of that feature set cannot be read any more", target="plan_of") from error

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
        self, which: FeatureSetFilter = ANY_FEATURE_SET, page: Page = FIRST_PAGE
    ) -> tuple[list[FeatureSet], int]:
        """One page of feature sets, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, which, page)

    async def unfinished(self, before: datetime) -> list[tuple[UUID, str]]:
        """Ids and orchestrations of sets that were asked for before ``before`` and have not ended."""
        async with self._database.connection() as conn:
            return await repository.list_unfinished(conn, before)

    async def preview(self, feature_set_id: UUID, rows: int) -> dict[str, Any]:
        """The first ``rows`` rows, and every feature with its description, basic statistics and whether it is selected.

        :raises NotFound: there is none with this id.
        :raises Conflict: it is not completed.
        """
        found = await self._completed(feature_set_id)
        preview: dict[str, Any] = orjson.loads(await self._blobs.read_bytes(FeatureSetFiles(feature_set_id).preview))
        selected = {feature["name"] for feature in found.selected_features or ()}
        return {
            "feature_set_id": feature_set_id,
            "features": [{**feature, "selected": feature["name"] in selected} for feature in preview["features"]],
            "rows": preview["rows"][:rows],
        }

    async def plan(self, feature_set_id: UUID) -> dict[str, Any]:
        """The plan document, as ``POST features/compute`` takes it.

        :raises NotFound: there is none with this id.
        :raises Conflict: it is not completed.
        """
        document: dict[str, Any] = orjson.loads(await self._plan_document(feature_set_id))
        return document

    async def picture(self, feature_set_id: UUID, name: Literal["ranking", "elimination"]) -> bytes:
        """The ranking, or the curve of recursive elimination, as an SVG.

        :raises NotFound: there is no such set, or it was made without (a given plan, no elimination asked for).
        :raises Conflict: it is not completed.
        """
        await self._completed(feature_set_id)
        files = FeatureSetFiles(feature_set_id)
        try:
            return await self._blobs.read_bytes(files.ranking if name == "ranking" else files.elimination)
        except BlobMissing as error:
            raise NotFound(f"the feature set has no picture of its {name}", target="feature_set_id") from error

    async def _plan_document(self, feature_set_id: UUID, *, target: str = "feature_set_id") -> bytes:
        await self._completed(feature_set_id, target=target)
        return await self._blobs.read_bytes(FeatureSetFiles(feature_set_id).plan)

    async def _completed(self, feature_set_id: UUID, *, target: str = "feature_set_id") -> FeatureSet:
        found = await self.get(feature_set_id)
        if found.status is not FeatureSetStatus.COMPLETED:
            raise Conflict(f"the feature set is {found.status}", target=target)
        return found


def _no_dataset() -> InvalidContent:
    return invalid_field("dataset_id", "no dataset has this id")


def _require_active(status: str | None) -> None:
    if status is None:
        raise _no_dataset()
    if status != DatasetStatus.ACTIVE:
        raise Conflict(f"the dataset is {status}", target="dataset_id")
