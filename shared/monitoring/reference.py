"""What a model's predictions are compared with: read from its verified files, kept in memory."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import numpy as np

from shared.features.plan import FeaturePlan
from shared.monitoring.cells import CellEncoder
from shared.monitoring.profile import ReferenceProfile
from shared.monitoring.rollup import RollupLayout
from shared.platform.blobs import BlobStore
from shared.platform.errors import NotFound
from shared.registry.service import RegistryService

_KEPT = 16


@dataclass(frozen=True)
class Reference:
    """A model's profile and how its predictions become cells.

    ``importance``: mean absolute contribution by feature; ``until``: the time of the last row that the features'
    profile is of, None without times.
    """

    model_id: UUID
    name: str
    version: str
    threshold: float
    profile: ReferenceProfile
    encoder: CellEncoder
    layout: RollupLayout
    importance: Mapping[str, float]
    until: datetime | None

    @cached_property
    def counts(self) -> "np.typing.NDArray[np.int64]":
        """The reference's rows by cell, laid out as :class:`shared.monitoring.rollup.Rollup` has them."""
        profile = self.profile
        assert profile.scores is not None
        counted = [(each.counts, each.missing) for each in profile.features]
        counted += [(each.counts, each.missing) for each in profile.categories]
        counted += [(each.counts, each.missing) for each in profile.groups]
        counted.append((profile.scores.counts, profile.scores.missing))
        return np.concatenate([np.array([*counts, 0, missing], np.int64) for counts, missing in counted])

    def cells(self, inputs: list[dict[str, Any]], scores: "np.typing.NDArray[np.float64]") -> list[bytes]:
        """The cells of predictions that were stored without them.

        :param inputs: ``predictions.input_features``, the transaction and the vector by name; shape (n,).
        """
        names = [feature.name for feature in self.profile.features]
        rows = [
            [value if value is not None else np.nan for value in map(each["features"].get, names)] for each in inputs
        ]
        matrix = np.array(rows, dtype=np.float32).reshape(len(inputs), len(names))
        return self.encoder.encode([each.get("transaction") or {} for each in inputs], matrix, scores)


class References:
    """Reads references, and keeps those used last."""

    def __init__(self, registry: RegistryService, blobs: BlobStore) -> None:
        self._registry = registry
        self._blobs = blobs
        self._known: OrderedDict[UUID, Reference] = OrderedDict()

    async def get(self, model_id: UUID) -> Reference:
        """A model's reference.

        :raises NotFound: there is no such model, or it has no profile.
        :raises ArtifactError: its files are missing or altered.
        """
        if model_id in self._known:
            self._known.move_to_end(model_id)
            return self._known[model_id]
        from shared.training.artifact_store import read_some
        from shared.training.artifacts import PLAN, PROFILE

        model = await self._registry.get(model_id)
        if model.artifact_sha256 is None:
            raise NotFound("the model has no files, and so no reference profile", target="model_id")
        metadata, files = await read_some(self._blobs, model_id, model.artifact_sha256, (PLAN, PROFILE))
        profile = await asyncio.to_thread(_profile, files, metadata)
        plan = FeaturePlan.from_json(files[PLAN])
        known = self._known[model_id] = Reference(
            model_id=model_id,
            name=model.name,
            version=model.version,
            threshold=metadata.threshold,
            profile=profile,
            encoder=CellEncoder.of(profile, plan),
            layout=RollupLayout.of(profile),
            importance=metadata.feature_importance,
            until=plan.fit.until,
        )
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return known


def _profile(files: Mapping[str, bytes], metadata: Any) -> ReferenceProfile:
    from shared.training.artifacts import read_profile

    profile = read_profile(files, metadata)
    if profile is None:
        raise NotFound("the model has no reference profile", target="model_id")
    return profile
