"""Stages that finish: the fitted run becomes files, history for scoring to look at, and a row in the registry."""

import asyncio
from typing import Final
from uuid import UUID

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets.model import data_path
from shared.features.history.backfill import SLICE_ROWS, load_dataset_slice
from shared.platform.errors import Conflict
from shared.training import repository
from shared.training.artifact_store import read_metadata, write_artifact
from shared.training.artifacts import PLAN, PROFILE
from shared.training.building import build_artifact
from shared.training.job_stages import JobStages, StageResult, checkpoint_path, stage
from shared.training.model import JobStatus, TrainedModel, model_id_of, model_prefix

_EVALUATED_SHARE: Final = 0.97


class FinishingStages(JobStages):
    """From the last round to a registered model."""

    @stage
    async def evaluate(self, job_id: UUID) -> StageResult:
        """The finished run becomes a model: threshold, figures on the test part, files in Blob."""
        job = await self._running(job_id)
        if job is None:
            return await self._ended(job_id)
        progress = await self._progress(job)
        if not progress.finished:
            raise Conflict(f"boosting stands at round {progress.rounds} of {progress.total_rounds}")
        self._runs.drop(job_id)
        source, plan, plan_json = await self._source(job)
        data = await self._training_set(job, source, plan)
        profile = await self._blobs.read_bytes(source.profile_path)
        checkpoint = await self._blobs.read_bytes(checkpoint_path(job_id, progress.rounds))
        artifact = await asyncio.to_thread(
            build_artifact, job, source, data, progress, checkpoint, {PLAN: plan_json, PROFILE: profile}
        )
        await write_artifact(self._blobs, model_id_of(job_id), artifact)
        if not await self._report(job_id, progress, _EVALUATED_SHARE):
            return await self._ended(job_id)
        return StageResult(status=job.status.value, finished=True)

    @stage
    async def load_history(self, job_id: UUID, first_row: int) -> StageResult:
        """The events of the training data, from ``first_row`` on, are in the store that scoring reads.

        Done before the model is registered, so that no model can be promoted that does not know yesterday.
        """
        job = await self._running(job_id)
        if job is None:
            return await self._ended(job_id)
        source, plan, _ = await self._source(job)
        layout = plan.layout
        if layout is None:
            return StageResult(status=job.status.value, finished=True)
        with self._tables.scratch() as folder:
            local = folder / "data.parquet"
            await self._blobs.download_file(data_path(source.dataset_id), local)
            done = await load_dataset_slice(
                self._database,
                self._history,
                plan,
                layout,
                local,
                source=str(source.dataset_id),
                first_row=first_row,
            )
        if done.rows < SLICE_ROWS:
            return StageResult(status=job.status.value, finished=True)
        return StageResult(status=job.status.value, finished=False, next_row=first_row + done.rows)

    @stage
    async def register(self, job_id: UUID) -> StageResult:
        """The model's row and the job's end, in one transaction."""
        model_id = model_id_of(job_id)
        job = await self._running(job_id)
        if job is None:
            return await self._ended(job_id)
        metadata, size, sha256 = await read_metadata(self._blobs, model_id)
        model = TrainedModel(
            id=model_id,
            name=job.name,
            description=f"{job.algorithm} on feature set {job.feature_set_id}",
            algorithm=job.algorithm,
            hyperparameters=job.hyperparameters,
            feature_set_id=job.feature_set_id,
            training_job_id=job_id,
            storage_path=model_prefix(model_id),
            model_size_bytes=size,
            metrics=metadata.metrics,
            feature_names=metadata.feature_names,
            feature_importance=metadata.feature_importance,
            threshold=metadata.threshold,
            artifact_sha256=sha256,
            created_by=job.created_by,
        )
        async with self._database.transaction() as conn:
            current = await repository.get_job(conn, job_id, lock=True)
            if current is not None and current.status is JobStatus.RUNNING:
                now = self._clock()
                number = await repository.insert_model(conn, model, now)
                await repository.complete_job(conn, job_id, now, model_id=model_id, final_metrics=metadata.metrics)
                await audit.record(
                    conn,
                    Origin(request_id=job.orchestration_id or str(job_id)),
                    None,
                    action="CREATE",
                    resource_type="model",
                    resource_id=model_id,
                    new={"name": job.name, "version": number, "training_job_id": str(job_id)},
                )
        return await self._ended(job_id)
