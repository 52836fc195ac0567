"""A model's files: what is written can be read, and nothing else can."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan, transform
from shared.features.config import FeatureConfig
from shared.features.inference import infer_config
from shared.features.online import compile_plan
from shared.monitoring.profile import profile_feature
from shared.platform.errors import Unavailable
from shared.platform.xgboost_runtime import load_xgboost
from shared.training.artifacts import (
    METADATA,
    ArtifactError,
    ModelArtifact,
    load_artifact,
    pack_artifact,
    verify_artifact,
)

MODEL_ID = UUID(int=7)
_FRAME = pl.DataFrame(
    {
        "amount": np.linspace(1, 500, 200),
        "kind": ["card", "bank", "gift", "cash"] * 50,
        "is_fraud": ([0] * 9 + [1]) * 20,
    }
)


def _pack(**changes: Any) -> ModelArtifact:
    """A real plan and a real booster of one tree, packed."""
    schema = DatasetSchema(
        columns=[
            Column(name="amount", type="float", nullable=False),
            Column(name="kind", type="string", nullable=False),
            Column(name="is_fraud", type="integer", nullable=False),
        ]
    )
    plan = fit_plan(_FRAME.lazy(), infer_config(schema, FeatureConfig()))
    features = transform(plan, _FRAME.lazy()).collect().to_numpy()
    xgb = load_xgboost()
    matrix = xgb.QuantileDMatrix(features, _FRAME["is_fraud"].to_numpy(), feature_names=list(plan.feature_names))
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 2}, matrix, 1)
    metadata: dict[str, Any] = {
        "model_id": MODEL_ID,
        "name": "fraud",
        "algorithm": "xgboost",
        "hyperparameters": {},
        "feature_set_id": UUID(int=1),
        "dataset_id": UUID(int=2),
        "training_job_id": UUID(int=3),
        "feature_names": list(plan.feature_names),
        "threshold": 0.25,
        "threshold_policy": {"type": "max_f1"},
        "model_file": "model.ubj",
        "metrics": {"auc_roc": 0.9},
        "feature_importance": {},
        "score_profile": profile_feature("fraud_score", np.array([0.1, 0.2], dtype=np.float32)),
        "training": {},
        "versions": {},
    }
    files = {"model.ubj": bytes(booster.save_raw("ubj")), "plan.json": plan.to_json(), "profile.json": b"{}"}
    return pack_artifact(files, {**metadata, **changes})


@pytest.fixture(scope="module")
def artifact() -> ModelArtifact:
    return _pack()


def test_what_was_packed_can_be_loaded_and_scores(artifact: ModelArtifact, tmp_path: Path) -> None:
    """From memory or from a folder, the model scores the vectors that its plan makes."""
    for name, content in artifact.files.items():
        (tmp_path / name).write_bytes(content)
    for files in (artifact.files, tmp_path):
        loaded = load_artifact(files, artifact.sha256, version="3.0")
        assert (loaded.model_id, loaded.version, loaded.threshold) == (MODEL_ID, "3.0", 0.25)
        vector = compile_plan(loaded.plan).vector({"amount": 12.5, "kind": "gift"})
        [score] = loaded.predict(vector[None])
        assert 0 < score < 1
        assert loaded.contributions(vector[None]).shape == (1, len(vector) + 1)


def test_packing_twice_gives_the_same_bytes(artifact: ModelArtifact) -> None:
    """A repeated stage writes what is there already."""
    assert _pack().files == artifact.files


@pytest.mark.parametrize("name", ["model.ubj", "plan.json", "profile.json", METADATA])
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_any_damage_is_told_by_file_and_kind(artifact: ModelArtifact, name: str, damage: str) -> None:
    """A missing, shortened or changed file never gets as far as being parsed as a model."""
    files = dict(artifact.files)
    content = files.pop(name)
    if damage == "truncated":
        files[name] = content[:-1]
    elif damage == "altered":
        files[name] = bytes([content[0] ^ 1]) + content[1:]
    expected = {"missing": "is missing", "truncated": "truncated", "altered": "altered"}[damage]
    if name == METADATA and damage != "missing":
        expected = "not the one that was registered"
    with pytest.raises(ArtifactError, match=expected) as error:
        verify_artifact(files, artifact.sha256)
    assert error.value.target == name
    assert isinstance(error.value, Unavailable)


def test_metadata_that_was_replaced_together_with_the_files_is_refused(artifact: ModelArtifact) -> None:
    """Consistent files of another model do not pass for the registered one."""
    other = _pack(threshold=0.99)
    verify_artifact(other.files, other.sha256)
    with pytest.raises(ArtifactError, match="not the one that was registered"):
        load_artifact(other.files, artifact.sha256)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_names": ["amount"]}, "different features"),
        ({"algorithm": "pickle"}, "unknown algorithm"),
        ({"model_file": "plan.json"}, "not an XGBoost model"),
        ({"model_file": "../model.ubj"}, "does not describe ../model.ubj"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(changes: dict[str, Any], message: str) -> None:
    """Even with right checksums, a model must fit its plan and be of a known kind."""
    packed = _pack(**changes)
    with pytest.raises(ArtifactError, match=message):
        load_artifact(packed.files, packed.sha256)


def test_metadata_of_an_unknown_format_is_refused(artifact: ModelArtifact) -> None:
    """A later format is not guessed at."""
    document = json.loads(artifact.files[METADATA])
    document["format"] = 2
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_artifact({**artifact.files, METADATA: json.dumps(document).encode()}, None)
