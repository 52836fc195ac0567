"""The stage that puts a job's model and another one side by side."""

import asyncio
from typing import Any
from uuid import UUID

import numpy as np

from shared.platform.errors import Conflict
from shared.training import repository
from shared.training.artifact_store import read_artifact
from shared.training.artifacts import REPORT, LoadedModel, load_artifact
from shared.training.head_to_head import head_to_head
from shared.training.job_stages import JobStages
from shared.training.training_set import TrainingSet


class ComparisonStage(JobStages):
    """Champion against challenger."""

    async def compare(
        self, job_id: UUID, champion: tuple[UUID, str | None], challenger_sha256: str | None
    ) -> dict[str, Any]:
        """Both models on the test part of the job's data, as far as it is later than what the champion was fitted on.

        :param champion: its id and the SHA-256 that the registry has of its files.
        :returns: :func:`head_to_head`, with ``later_than_champion``: whether every row is.
        :raises Conflict: the job has no model, or the models do not read the same features.
        :raises ArtifactError: files of a model are missing or damaged.
        """
        async with self._database.connection() as conn:
            job = await repository.get_job(conn, job_id)
        if job is None or job.model_id is None:
            raise Conflict("the training job has no model", target="job_id")
        source, plan, _ = await self._source(job)
        data = await self._training_set(job, source, plan)
        sides = [
            load_artifact(await read_artifact(self._blobs, model_id, without=(REPORT,)), sha256)
            for model_id, sha256 in (champion, (job.model_id, challenger_sha256))
        ]
        if sides[0].plan.feature_names != sides[1].plan.feature_names:
            raise Conflict("champion and challenger read different features", target="champion_id")
        return await asyncio.to_thread(_compare, sides[0], sides[1], data)


def _compare(champion: LoadedModel, challenger: LoadedModel, data: TrainingSet) -> dict[str, Any]:
    test = data.split.test
    labels, times, features = np.asarray(data.labels(test)), data.times(test), data.features(test)
    codes = {name: (attribute, np.asarray(attribute.codes[test])) for name, attribute in data.table.protected.items()}
    chosen, until = np.ones(len(labels), dtype=np.bool_), champion.plan.fit.until
    if times is not None and until is not None:
        later = times > int(until.timestamp() * 1e6)
        if 0 < labels[later].sum() < later.sum():
            chosen = later
    result = head_to_head(
        champion.model.predict(features)[chosen],
        challenger.model.predict(features)[chosen],
        (champion.threshold, challenger.threshold),
        labels[chosen],
        None if times is None else times[chosen],
        {name: (attribute, of_rows[chosen]) for name, (attribute, of_rows) in codes.items()},
    )
    seen = times is None or until is None or bool((times[chosen] <= int(until.timestamp() * 1e6)).any())
    return {**result, "later_than_champion": not seen}
