"""A model's files: what is written can be read, and nothing else can."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.features.online import compile_plan
from shared.platform.errors import Unavailable
from shared.training.artifacts import (
    METADATA,
    ArtifactError,
    ModelArtifact,
    load_artifact,
    verify_artifact,
)
from tests.fixtures.artifacts import MODEL_ID, packed_model


@pytest.fixture(scope="module")
def artifact() -> ModelArtifact:
    return packed_model()


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


@pytest.mark.parametrize(
    "calibration",
    [
        {"method": "sigmoid", "slope": 0.5, "intercept": -1.0},
        {"method": "isotonic", "scores": [0.1, 0.3], "probabilities": [0.01, 0.2]},
    ],
)
def test_a_calibrated_model_scores_calibrated(artifact: ModelArtifact, calibration: dict[str, Any]) -> None:
    """The curve in the metadata is laid over the model's scores by whoever loads it; thresholds are compared after."""
    plain = load_artifact(artifact.files, artifact.sha256)
    packed = packed_model(calibration=calibration)
    calibrated = load_artifact(packed.files, packed.sha256)
    vector = compile_plan(plain.plan).vector({"amount": 12.5, "kind": "gift"})[None]
    before, after = float(plain.predict(vector)[0]), float(calibrated.predict(vector)[0])
    if calibration["method"] == "sigmoid":
        assert after / (1 - after) == pytest.approx((before / (1 - before)) ** 0.5 / np.e, rel=1e-5)
    else:
        assert after == pytest.approx(np.interp(before, [0, 0.1, 0.3, 1], [0, 0.01, 0.2, 1]), rel=1e-6)
    assert np.array_equal(calibrated.model.predict(vector), calibrated.predict(vector))


@pytest.mark.parametrize("calibration", [{"method": "eval"}, {"method": "sigmoid", "slope": -1.0, "intercept": 0.0}])
def test_a_curve_that_is_none_is_refused(artifact: ModelArtifact, calibration: dict[str, Any]) -> None:
    """Unknown curves, and one that would turn the ranking round."""
    document = json.loads(artifact.files[METADATA])
    files = {**artifact.files, METADATA: json.dumps({**document, "calibration": calibration}).encode()}
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_artifact(files, None)


def test_packing_twice_gives_the_same_bytes(artifact: ModelArtifact) -> None:
    """A repeated stage writes what is there already."""
    assert packed_model().files == artifact.files


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
    other = packed_model(threshold=0.99)
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
    packed = packed_model(**changes)
    with pytest.raises(ArtifactError, match=message):
        load_artifact(packed.files, packed.sha256)


def test_metadata_of_an_unknown_format_is_refused(artifact: ModelArtifact) -> None:
    """A later format is not guessed at."""
    document = json.loads(artifact.files[METADATA])
    document["format"] = 2
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_artifact({**artifact.files, METADATA: json.dumps(document).encode()}, None)
