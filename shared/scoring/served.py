"""Models in memory: the one in production, and a few that were asked for by id."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from shared.features.online import OnlinePlan, compile_plan
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.errors import Conflict, DomainError, NotFound, Unavailable
from shared.platform.telemetry import get_logger
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import Model
from shared.registry.service import RegistryService
from shared.scoring.reasons import Sentences

if TYPE_CHECKING:
    from shared.training.algorithms.base import FittedModel

MODEL_LOADED: Final = "model_loaded"
MODEL_NOT_LOADED: Final = "model_not_loaded"

_KEPT = 4
_RETRY_AFTER = timedelta(seconds=30)
_log = get_logger("scoring")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A verified model, ready to score and to explain."""

    id: UUID
    version: str
    threshold: float
    id_column: str | None
    online: OnlinePlan
    sentences: Sentences
    fitted: "FittedModel"


@dataclass(frozen=True, slots=True)
class Production:
    """What serves. ``expected_id`` is the model in production; ``served`` is another one only while the artifact of
    the expected one cannot be loaded, and ``failed_at`` says since when."""

    expected_id: UUID
    served: ServedModel
    failed_at: datetime | None = None


class ServedModels:
    """Loads models from Blob, verifies them, and keeps them."""

    def __init__(self, registry: RegistryService, blobs: BlobStore, clock: Clock) -> None:
        self._registry = registry
        self._blobs = blobs
        self._clock = clock
        self._models: OrderedDict[UUID, ServedModel] = OrderedDict()
        self._production: Production | None = None
        self._loading = asyncio.Lock()

    @property
    def current(self) -> Production | None:
        """What serves at this moment, if anything has been loaded."""
        return self._production

    async def production(self) -> Production:
        """What serves; loads the model in production on first use, and retries one that failed to load.

        :raises Conflict: no model is in production.
        :raises Unavailable: the first model cannot be loaded.
        """
        current = self._production
        if current is None:
            try:
                return await self.follow((await self._registry.production()).id)
            except NotFound as error:
                raise Conflict("no model is in production") from error
        if current.failed_at is not None and self._clock() - current.failed_at > _RETRY_AFTER:
            return await self.follow(current.expected_id)
        return current

    async def follow(self, production_id: UUID) -> Production:
        """Serve the model that is in production now; the previous one goes on serving when it cannot be loaded."""
        try:
            self._production = Production(production_id, await self._load(production_id))
        except DomainError as error:
            if self._production is None:
                raise
            _log.error(MODEL_NOT_LOADED, model_id=str(production_id), reason=error.message)
            self._production = Production(production_id, self._production.served, self._clock())
        return self._production

    def forget_production(self) -> None:
        """No model is in production any more."""
        self._production = None

    async def get(self, model_id: UUID) -> ServedModel:
        """The model of this id, to score with.

        :raises NotFound: there is none.
        :raises Conflict: it is neither in STAGING nor in PRODUCTION.
        """
        model = await self._registry.get(model_id)
        if model.status not in (ModelStatus.STAGING, ModelStatus.PRODUCTION):
            raise Conflict(f"the model is {model.status.value}; only STAGING and PRODUCTION models score")
        return await self._load(model_id)

    async def get_any(self, model_id: UUID) -> ServedModel:
        """The model of this id whatever its status, to explain what it decided."""
        return await self._load(model_id)

    async def _load(self, model_id: UUID) -> ServedModel:
        if (known := self._models.get(model_id)) is not None:
            self._models.move_to_end(model_id)
            return known
        async with self._loading:
            if (known := self._models.get(model_id)) is not None:
                return known
            served = await self._read(await self._registry.get(model_id))
            self._models[model_id] = served
            if len(self._models) > _KEPT:
                self._models.popitem(last=False)
        _log.info(MODEL_LOADED, model_id=str(model_id), version=served.version)
        return served

    async def _read(self, model: Model) -> ServedModel:
        from shared.training.artifact_store import read_artifact
        from shared.training.artifacts import load_artifact

        if model.artifact_sha256 is None:
            raise Unavailable("the model has no verified artifact", target="model")
        files = await read_artifact(self._blobs, model.id)
        loaded = await asyncio.to_thread(load_artifact, files, sha256=model.artifact_sha256, version=model.version)
        return ServedModel(
            id=model.id,
            version=model.version,
            threshold=loaded.threshold,
            id_column=loaded.plan.config.id_column,
            online=compile_plan(loaded.plan),
            sentences={feature.name: feature.say for feature in loaded.plan.features},
            fitted=loaded.model,
        )
