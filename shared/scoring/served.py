"""Models in memory: the one in production, and a few that were asked for by id."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from shared.alerts.model import Severity, Signal, Source
from shared.alerts.service import AlertService
from shared.features.online import OnlinePlan, compile_plan
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.collector import settle
from shared.platform.errors import Conflict, DomainError, NotFound, Unavailable
from shared.platform.telemetry import get_logger
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import Model
from shared.registry.service import RegistryService
from shared.scoring.reasons import Meanings

if TYPE_CHECKING:
    from shared.monitoring.cells import CellEncoder
    from shared.training.algorithms.base import FittedModel

MODEL_LOADED: Final = "model_loaded"
MODEL_NOT_LOADED: Final = "model_not_loaded"
PROFILE_NOT_READ: Final = "profile_not_read"

_KEPT = 4
_RETRY_AFTER = timedelta(seconds=30)
_LOAD_SECONDS = 30.0
_DAMAGED_FOR = timedelta(seconds=5)  # how long files that were found damaged are not looked at again
_PREPARE_AFTER_SECONDS = 1.0  # the first answers go before what makes later explanations faster
_PATIENCE_SECONDS = 2.0  # how long requests wait for a model that was just promoted before its predecessor serves them
_log = get_logger("scoring")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A verified model, ready to score and to explain. ``cells`` is None where it has no profile to be watched by."""

    id: UUID
    version: str
    threshold: float
    id_column: str | None
    plan: FeaturePlan
    online: OnlinePlan
    meanings: Meanings
    fitted: "FittedModel"
    cells: "CellEncoder | None" = None


@dataclass(frozen=True, slots=True)
class Production:
    """What serves. ``expected_id`` is the model in production; ``served`` is another one only while the artifact of
    the expected one is not loaded, and ``failed_at`` says when that was last tried."""

    expected_id: UUID
    served: ServedModel
    failed_at: datetime | None = None


class ServedModels:
    """Loads models from Blob, verifies them, and keeps them.

    A model is loaded once however many wait for it, and a waiter who gives up does not stop the load.

    :param before_production: awaited before a model that is loaded begins to serve as the one in production.
    """

    def __init__(
        self,
        registry: RegistryService,
        blobs: BlobStore,
        alerts: AlertService,
        clock: Clock,
        before_production: "Callable[[ServedModel], Awaitable[None]]",
    ) -> None:
        self._registry = registry
        self._blobs = blobs
        self._alerts = alerts
        self._clock = clock
        self._before_production = before_production
        self._models: OrderedDict[UUID, ServedModel] = OrderedDict()
        self._loads: dict[UUID, asyncio.Task[ServedModel]] = {}
        self._production: Production | None = None
        self._damaged: dict[UUID, tuple[datetime, DomainError]] = {}
        self._uncleared: set[UUID] = set()
        self._preparing: set[asyncio.Task[None]] = set()

    async def production(self) -> Production:
        """What serves; loads the model in production on first use. One that could not be loaded is tried again
        behind the requests, which its predecessor serves meanwhile.

        :raises Conflict: no model is in production.
        :raises Unavailable: the first model cannot be loaded.
        """
        current = self._production
        if current is None:
            try:
                return await self.follow((await self._registry.production()).id)
            except NotFound as error:
                raise Conflict("no model is in production") from error
        if current.failed_at is None:
            return current
        if (known := self._models.get(current.expected_id)) is not None:
            await self._before_production(known)
            self._production = Production(current.expected_id, known)
        elif self._clock() - current.failed_at > _RETRY_AFTER:
            self._loading(current.expected_id)
            self._production = replace(current, failed_at=self._clock())
        return self._production or current

    async def follow(self, production_id: UUID) -> Production:
        """Serve the model that is in production now; the previous one goes on serving when it cannot be loaded soon.

        :raises Unavailable: it cannot be loaded, and there is no previous one.
        """
        previous = self._production
        try:
            async with asyncio.timeout(None if previous is None else _PATIENCE_SECONDS):
                served = await self._load(production_id)
        except Exception:  # whatever is wrong with it (the log says what), its predecessor serves
            if previous is None:
                raise
            self._production = Production(production_id, previous.served, self._clock())
            return self._production
        await self._before_production(served)
        self._production = Production(production_id, served)
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

    async def clear_alerts(self) -> None:
        """Clear the alerts of loaded models that could not be cleared when these were loaded."""
        for model_id in tuple(self._uncleared):
            await self._clear_alert(model_id)

    async def _clear_alert(self, model_id: UUID) -> None:
        if await self._alerts.clear(_cause(model_id)):
            self._uncleared.discard(model_id)
        else:
            self._uncleared.add(model_id)

    async def _load(self, model_id: UUID) -> ServedModel:
        if (known := self._models.get(model_id)) is not None:
            self._models.move_to_end(model_id)
            return known
        return await asyncio.shield(self._loading(model_id))

    def _loading(self, model_id: UUID) -> asyncio.Task[ServedModel]:
        load = self._loads.get(model_id)
        if load is None:
            load = self._loads[model_id] = asyncio.create_task(self._read(model_id))
            load.add_done_callback(partial(self._loaded, model_id))
        return load

    def _loaded(self, model_id: UUID, load: asyncio.Task[ServedModel]) -> None:
        del self._loads[model_id]
        if load.cancelled():
            return
        if (error := load.exception()) is not None:
            reason = error.message if isinstance(error, DomainError) else type(error).__name__
            _log.error(MODEL_NOT_LOADED, model_id=str(model_id), reason=reason)
            return
        served = self._models[model_id] = load.result()
        if len(self._models) > _KEPT:
            self._models.popitem(last=False)
        _log.info(MODEL_LOADED, model_id=str(model_id), version=served.version)
        preparing = asyncio.create_task(_prepare_explanations(served))
        self._preparing.add(preparing)
        preparing.add_done_callback(self._preparing.discard)

    async def _read(self, model_id: UUID) -> ServedModel:
        from shared.training.artifact_store import read_artifact
        from shared.training.artifacts import REPORT, ArtifactError

        if (damage := self._damaged.get(model_id)) is not None and self._clock() - damage[0] < _DAMAGED_FOR:
            # Told to everyone who asks, but neither read nor reported again for each of them.
            raise damage[1].with_traceback(None)
        model = await self._registry.get(model_id)
        try:
            if model.artifact_sha256 is None:
                raise ArtifactError("the model has no verified artifact", target="model")
            try:
                async with asyncio.timeout(_LOAD_SECONDS):
                    files = await read_artifact(self._blobs, model.id, without=(REPORT,))
            except TimeoutError as error:  # of a connection that nobody answers on; the next attempt has another one
                raise Unavailable("blob storage is not answering", target="blob") from error
            served = await asyncio.to_thread(_served, model, files)
        except ArtifactError as error:
            self._damaged[model_id] = self._clock(), error
            await self._alerts.report(_unreadable(model, error))
            raise
        self._damaged.pop(model_id, None)
        await self._clear_alert(model_id)
        return served


def _cause(model_id: UUID) -> str:
    return f"model_artifact:{model_id}"


def _unreadable(model: Model, error: DomainError) -> Signal:
    serves = model.status is ModelStatus.PRODUCTION
    return Signal(
        cause=_cause(model.id),
        source=Source.SYSTEM,
        alert_type="MODEL_ARTIFACT",
        severity=Severity.CRITICAL if serves else Severity.WARNING,
        title=f"The files of model {model.name} {model.version} cannot be served",
        description=f"{error.message}. " + ("Its predecessor goes on serving, where there is one." if serves else ""),
        details={"file": error.target, "status": model.status.value},
        model_id=model.id,
    )


async def _prepare_explanations(served: ServedModel) -> None:
    await asyncio.sleep(_PREPARE_AFTER_SECONDS)
    await asyncio.to_thread(served.fitted.prepare_explanations)
    settle()


def _served(model: Model, files: Mapping[str, bytes]) -> ServedModel:
    from shared.training.artifacts import load_artifact

    loaded = load_artifact(files, sha256=model.artifact_sha256, version=model.version)
    return ServedModel(
        id=model.id,
        version=model.version,
        threshold=loaded.threshold,
        id_column=loaded.plan.config.id_column,
        plan=loaded.plan,
        online=compile_plan(loaded.plan),
        meanings=Meanings(loaded.plan.features, loaded.plan.config.amount_column),
        fitted=loaded.model,
        cells=_encoder(model, files, loaded.plan),
    )


def _encoder(model: Model, files: Mapping[str, bytes], plan: FeaturePlan) -> "CellEncoder | None":
    """What monitoring needs of each row; a model whose profile cannot be read scores without it."""
    from shared.monitoring.cells import CellEncoder
    from shared.training.artifacts import (
        METADATA,
        PROFILE,
        ArtifactError,
        parse_metadata,
        read_profile,
        verify_artifact,
    )

    if PROFILE not in parse_metadata(files[METADATA]).files:
        return None
    try:
        metadata, contents = verify_artifact(files, model.artifact_sha256, only=(PROFILE,))
        profile = read_profile(contents, metadata)
    except ArtifactError as error:
        _log.warning(PROFILE_NOT_READ, model_id=str(model.id), reason=error.message)
        return None
    return None if profile is None else CellEncoder.of(profile, plan)
