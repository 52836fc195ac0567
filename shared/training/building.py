"""From the last checkpoint of a run to the files of a model."""

import platform
from collections.abc import Mapping

import numpy as np

from shared.features.plan import FeaturePlan
from shared.monitoring.profile import MAX_GROUPS, FeatureProfile, ReferenceProfile
from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms import algorithm, parse
from shared.training.artifacts import PLAN, PROFILE, REPORT, ModelArtifact, pack_artifact
from shared.training.assessment import Assessment, assess
from shared.training.model import FeatureSetSource, TrainingJob, model_id_of
from shared.training.progress import TrainingProgress
from shared.training.report.page import render_report
from shared.training.training_set import TrainingSet


def build_artifact(
    job: TrainingJob,
    source: FeatureSetSource,
    data: TrainingSet,
    progress: TrainingProgress,
    checkpoint: bytes,
    files: Mapping[str, bytes],
) -> ModelArtifact:
    """Finish the model, judge it, and describe it together with the ``files`` of its features.

    The same run gives the same bytes, so that doing it again changes nothing.

    :raises UntrainableData: the threshold policy cannot be applied to this data.
    """
    entry = algorithm(job.algorithm)
    model_bytes = entry.finish(data, parse(job.algorithm, job.hyperparameters), progress, checkpoint)
    model = entry.load(model_bytes)
    verdict = assess(model, data, job.threshold_policy, job.evaluation, job.calibration)
    described = {
        "model_id": model_id_of(job.id),
        "name": job.name,
        "algorithm": job.algorithm,
        "hyperparameters": job.hyperparameters,
        "feature_set_id": job.feature_set_id,
        "dataset_id": source.dataset_id,
        "training_job_id": job.id,
        "feature_names": list(data.table.feature_names),
        "threshold": verdict.threshold,
        "threshold_policy": {**job.threshold_policy.model_dump(), "met": verdict.policy_met},
        "calibration": verdict.calibration,
        "model_file": entry.model_file,
        "metrics": {**verdict.metrics, "validation": verdict.validation},
        "feature_importance": verdict.feature_importance,
        "score_profile": FeatureProfile.model_validate(verdict.score_profile.model_dump(exclude={"first_flagged"})),
        "explanation": verdict.evidence.explanation.kind,
        "training": {
            "split": data.split.to_json(),
            "rounds": model.rounds,
            "warnings": (job.metrics or {}).get("warnings", []),
            **progress.shown(),
            **({} if job.search is None else {"search": job.search.model_dump(mode="json")}),
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "xgboost": load_xgboost().__version__,
        },
    }
    meanings = FeaturePlan.from_json(files[PLAN]).descriptions
    report = render_report(described, verdict.evidence, meanings)
    profile = _profile_of_model(ReferenceProfile.from_json(files[PROFILE]), data, verdict)
    written = {entry.model_file: model_bytes, REPORT: report, **files, PROFILE: profile.to_json()}
    return pack_artifact(written, described)


def _profile_of_model(profile: ReferenceProfile, data: TrainingSet, verdict: Assessment) -> ReferenceProfile:
    """The feature set's profile with the scores of the test part, and the protected groups of the rows before it."""
    before = slice(0, data.split.train_end)
    groups = tuple(each.grouping.counted(each.codes[before]) for each in data.table.protected.values())
    return profile.model_copy(update={"scores": verdict.score_profile, "groups": groups[:MAX_GROUPS]})
