"""What a job says about calibration and evaluation arrives in its model."""

from pathlib import Path

import numpy as np

from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.training.artifact_store import read_artifact, read_metadata
from shared.training.artifacts import load_artifact
from shared.training.model import JobFilter, JobStatus, model_id_of
from shared.training.service import TrainingService
from shared.training.stages import TrainingStages
from shared.training.worker_cache import TableCache
from shared.users.model import Caller
from tests.fixtures.training import make_feature_set, started, training_request

EVALUATION = {"review_capacity_per_day": 5, "missed_fraud_cost": 100, "false_alarm_cost": 2}


async def test_a_job_is_evaluated_as_it_asks(
    database: Database, blobs: BlobStore, tmp_path: Path, origin: Origin, system: Caller
) -> None:
    """Curve, capacity and costs are stored with the job, and the registered model was made and judged by them."""
    service = TrainingService(database, blobs, utc_now)
    stages = TrainingStages(database, blobs, utc_now, tables=TableCache(tmp_path / "tables"))
    feature_set = await make_feature_set(database, blobs, tmp_path)
    request = training_request(feature_set, calibration="isotonic", evaluation=EVALUATION)
    job = await started(service, request, system, origin)
    assert (job.calibration, job.evaluation.model_dump()) == ("isotonic", EVALUATION)
    [listed], _ = await service.list_page(JobFilter(feature_set_id=feature_set))
    assert (listed.calibration, listed.evaluation) == (job.calibration, job.evaluation)
    await stages.prepare(job.id)
    while not (await stages.train_slice(job.id))["finished"]:
        pass
    await stages.evaluate(job.id)
    await stages.register(job.id)

    done = await service.get(job.id)
    assert done.status is JobStatus.COMPLETED, done.error_message
    figures = done.final_metrics
    assert figures is not None
    assert figures["calibration"]["method"] == "isotonic"
    assert (figures["review"]["per_day"], figures["cost"]["missed_fraud"]) == (5, 100)
    assert figures["intervals"]["auc_roc"]["low"] < figures["auc_roc"] < figures["intervals"]["auc_roc"]["high"]

    metadata, _, sha256 = await read_metadata(blobs, model_id_of(job.id))
    assert metadata.calibration is not None
    loaded = load_artifact(await read_artifact(blobs, model_id_of(job.id)), sha256)
    assert loaded.model.explanation.of == "uncalibrated_score"
    vectors = np.random.default_rng(1).normal(size=(64, loaded.model.feature_count)).astype(np.float32)
    together = loaded.predict(vectors)
    assert np.array_equal(together, np.concatenate([loaded.predict(vectors[i : i + 1]) for i in range(64)]))
