"""Every algorithm from a request to reasons: job, slices, registry, promotion, scoring."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.features.config import FeatureConfig
from shared.features.model import FeatureSetRequest, FeatureSetStatus
from shared.features.service import FeatureService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import InvalidContent
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import PromotionRequest
from shared.registry.promotion import PromotionService
from shared.registry.service import RegistryService
from shared.scoring.service import ScoringService
from shared.training.artifact_store import read_artifact
from shared.training.artifacts import load_artifact
from shared.training.model import JobStatus
from shared.training.service import TrainingService
from shared.training.slices import SliceLimits
from shared.training.stages import TrainingStages
from shared.training.worker_cache import TableCache
from shared.users.model import Caller
from tests.fixtures.features import Upload, run_stages
from tests.fixtures.training import make_feature_set, started, training_request, transactions

SMALL: dict[str, dict[str, Any]] = {
    "xgboost": {"n_estimators": 20, "undersampling": 10},
    "lightgbm": {"n_estimators": 20, "num_leaves": 8},
    "random_forest": {"n_estimators": 12, "max_depth": 6},
    "logistic_regression": {},
    "neural_network": {"hidden_layer_sizes": [8], "max_iter": 12, "learning_rate_init": 0.02, "batch_size": 128},
    "isolation_forest": {"n_estimators": 20, "contamination": 0.05},
}
RISKY = {"transaction_id": "risky", "transaction_time": "2024-02-01T12:00:00Z", "amount": 900.0, "kind": "gift"}


@pytest.fixture
def service(database: Database, blobs: BlobStore) -> TrainingService:
    return TrainingService(database, blobs, utc_now)


@pytest.fixture
def worker(database: Database, blobs: BlobStore, tmp_path: Path) -> Callable[[], TrainingStages]:
    """Makes workers of two rounds a slice that share the tables on disk alone."""

    def make() -> TrainingStages:
        limits = SliceLimits(seconds=60, rounds=2)
        return TrainingStages(database, blobs, utc_now, limits=limits, tables=TableCache(tmp_path / "tables"))

    return make


@pytest.mark.parametrize("algorithm", SMALL)
async def test_a_job_of_every_algorithm_ends_in_a_model_that_scores_and_explains(
    algorithm: str,
    service: TrainingService,
    worker: Callable[[], TrainingStages],
    database: Database,
    blobs: BlobStore,
    tmp_path: Path,
    origin: Origin,
    system: Caller,
) -> None:
    """Trained by changing workers, registered, promoted and served; what scoring says adds up to the score."""
    feature_set = await make_feature_set(database, blobs, tmp_path)
    request = training_request(feature_set, algorithm=algorithm, hyperparameters=SMALL[algorithm], calibration="none")
    job = await started(service, request, system, origin)
    await _finish(worker, job.id)
    done = await service.get(job.id)
    assert (done.status, done.error_message) == (JobStatus.COMPLETED, None)
    assert done.model_id is not None
    assert done.final_metrics is not None
    assert done.final_metrics["auc_roc"] > (0.55 if algorithm == "isolation_forest" else 0.8)

    registry = RegistryService(database)
    model = await registry.get(done.model_id)
    loaded = load_artifact(await read_artifact(blobs, model.id), model.artifact_sha256)
    assert loaded.metadata.explanation == loaded.model.explanation
    for target in (ModelStatus.STAGING, ModelStatus.PRODUCTION):
        request_to = PromotionRequest(target_status=target, reason="a test")
        await PromotionService(database, blobs).promote(model.id, request_to, caller=system, origin=origin)
    scoring = ScoringService(database, blobs, registry, AlertService(database, utc_now), utc_now, deadline_seconds=30)
    answer = await scoring.score(RISKY, model_id=None, explain=True)
    assert answer.model.id == model.id
    assert answer.found is not None
    total = answer.found.base_value + sum(answer.found.contributions.values())
    expected = total if answer.found.kind.unit == "probability" else 1 / (1 + np.exp(-total))
    assert answer.prediction.score == pytest.approx(expected, abs=1e-4)
    assert {reason.feature for reason in answer.reasons[:2]} & {
        name for name in model.feature_names if "amount" in name
    }
    _, found, again = await scoring.get(answer.prediction.id)
    assert found == answer.found
    assert again == answer.reasons


async def test_data_without_labels_goes_all_the_way(
    service: TrainingService,
    worker: Callable[[], TrainingStages],
    feature_service: FeatureService,
    upload: Upload,
    database: Database,
    blobs: BlobStore,
    origin: Origin,
    system: Caller,
) -> None:
    """Dataset, features, isolation forest, registry and scoring, with no label anywhere."""
    dataset = await upload(transactions().drop("is_fraud"))
    config = FeatureConfig.model_validate({"label_column": None, "groups": ["transaction", "temporal"]})
    asked = FeatureSetRequest(dataset_id=dataset.id, output_name="unlabelled", config=config)
    features = await run_stages(
        feature_service, (await feature_service.request(asked, caller=system, origin=origin)).id
    )
    assert (features.status, features.error_message) == (FeatureSetStatus.COMPLETED, None)

    given = {"algorithm": "isolation_forest", "hyperparameters": SMALL["isolation_forest"]}
    for changes, message in (
        ({**given, "threshold_policy": {"type": "max_f1"}}, "max_f1 needs labels"),
        ({**given, "calibration": "isotonic"}, "calibration: needs labels"),
        ({"algorithm": "xgboost"}, "no label column"),
    ):
        with pytest.raises(InvalidContent, match=message):
            await service.create(training_request(features.id, **changes), caller=system, origin=origin)

    job = await started(service, training_request(features.id, **given), system, origin)
    assert job.threshold_policy.model_dump() == {"type": "fixed", "threshold": 0.5}
    await _finish(worker, job.id)
    done = await service.get(job.id)
    assert (done.status, done.error_message) == (JobStatus.COMPLETED, None)
    assert done.model_id is not None
    assert done.final_metrics is not None
    assert done.final_metrics["threshold"] == 0.5
    assert done.final_metrics["flag_rate"] == pytest.approx(0.05, abs=0.04)
    assert "auc_roc" not in done.final_metrics

    registry = RegistryService(database)
    to_staging = PromotionRequest(target_status=ModelStatus.STAGING, reason="a test")
    await PromotionService(database, blobs).promote(done.model_id, to_staging, caller=system, origin=origin)
    scoring = ScoringService(database, blobs, registry, AlertService(database, utc_now), utc_now, deadline_seconds=30)
    unusual = await scoring.score({**RISKY, "amount": 5000.0}, model_id=done.model_id, explain=True)
    usual = await scoring.score({**RISKY, "amount": 20.0}, model_id=done.model_id, explain=True)
    assert unusual.prediction.score > usual.prediction.score


async def _finish(worker: Callable[[], TrainingStages], job_id: UUID) -> None:
    """What the orchestration does, every slice on another worker."""
    result = await worker().prepare(job_id)
    while not result["finished"]:
        result = await worker().train_slice(job_id)
    await worker().evaluate(job_id)
    await worker().register(job_id)
