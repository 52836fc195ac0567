"""What every algorithm of the library promises, asked of each of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.platform.errors import InvalidContent
from shared.training.algorithms import ALGORITHMS, algorithm, catalogue, parse
from shared.training.algorithms.lightgbm import LightGBM
from shared.training.assessment import assess
from shared.training.evaluation import ScoreCurve
from shared.training.model import UntrainableData
from shared.training.threshold import Fixed, MaxF1, ReviewCapacity
from shared.training.training_set import TrainingSet, check_features
from tests.unit.training.conftest import NAMES, learnable_frame, training_set
from tests.unit.training.runs import LABELLED, QUICK, fitted, run

# What takes longer than other tests need, for those that look at probabilities.
CAREFUL: dict[str, dict[str, Any]] = {
    "neural_network": {"learning_rate_init": 0.001, "batch_size": 512, "max_iter": 25, "hidden_layer_sizes": [32, 16]}
}


@pytest.mark.parametrize("name", QUICK)
def test_a_sliced_run_equals_an_uninterrupted_one_bit_for_bit(data: TrainingSet, name: str) -> None:
    """Where slices end, and that each begins on another worker, leaves no trace in the model file."""
    whole, whole_progress = run(data, name)
    sliced, sliced_progress = run(data, name, (1, 1, None))
    assert sliced == whole
    assert sliced_progress.validation == whole_progress.validation
    assert sliced_progress.slices == 3


def test_lightgbm_resumes_with_sampling(data: TrainingSet) -> None:
    """Rows and features drawn in a round depend on the seed and the round's number alone."""
    sampling = {"subsample": 0.7, "colsample_bytree": 0.5}
    assert run(data, "lightgbm", (3, 4, None), **sampling)[0] == run(data, "lightgbm", **sampling)[0]


@pytest.mark.parametrize("name", QUICK)
def test_contributions_add_up_to_the_score(data: TrainingSet, name: str) -> None:
    """Base value and contributions sum to what the model's explanation says: the score or its log-odds."""
    model = fitted(data, name)
    rows = np.asarray(data.features(data.split.test))[:200]
    total = model.contributions(rows).sum(axis=1).astype(np.float64)
    scores = total if model.explanation.unit == "probability" else 1 / (1 + np.exp(-total))
    np.testing.assert_allclose(scores, model.predict(rows), rtol=0, atol=1e-6)
    assert model.contributions(rows).shape == (200, len(NAMES) + 1)


@pytest.mark.parametrize("name", QUICK)
def test_a_row_is_scored_alike_alone_and_among_others(data: TrainingSet, name: str) -> None:
    """What is scored in one batch with it changes neither a row's score nor its reasons."""
    model = fitted(data, name)
    rows = np.asarray(data.features(data.split.test))[:40]
    alone = np.concatenate([model.predict(row[None]) for row in rows])
    np.testing.assert_allclose(alone, model.predict(rows), rtol=0, atol=1e-7)
    parts = np.concatenate([model.contributions(row[None]) for row in rows[:5]])
    np.testing.assert_allclose(parts, model.contributions(rows)[:5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("choice", [{}, {"scale_pos_weight": "balanced"}, {"undersampling": 5.0}])
def test_scores_are_probabilities_whatever_was_weighted_or_left_out(
    large: TrainingSet, name: str, choice: dict[str, Any]
) -> None:
    """The mean score of later rows is their fraud rate within sampling error and what the model itself is off."""
    rows = slice(large.split.fit_end, large.split.rows)
    scores = fitted(large, name, **CAREFUL.get(name, {}), **choice).predict(large.features(rows)).astype(np.float64)
    rate = large.labels(rows).mean()
    sampling_error = 3 * np.sqrt(rate * (1 - rate) / len(scores))
    assert abs(scores.mean() - rate) < sampling_error + 0.15 * rate


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Forty thousand rows whose log-odds are known, 2 % of them fraud."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(40_000, len(NAMES))).astype(np.float32)
    odds = -5.2 + 1.6 * x[:, 0] - 0.8 * x[:, 1] + 0.4 * x[:, 3]
    label = (rng.random(len(x)) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    frame = pl.DataFrame({name: x[:, i] for i, name in enumerate(NAMES)}).with_columns(pl.Series("__label", label))
    return training_set(frame, tmp_path_factory.mktemp("large"))


@pytest.mark.parametrize("name", LABELLED)
def test_every_algorithm_learns_what_is_there(data: TrainingSet, name: str) -> None:
    """On later rows it ranks far better than chance."""
    scores = fitted(data, name).predict(data.features(data.split.test))
    area = ScoreCurve.of(scores, data.labels(data.split.test)).auc_roc()
    assert area is not None
    assert area > 0.85


@pytest.mark.parametrize("name", QUICK)
def test_constant_columns_and_rows_that_occur_twice_are_harmless(tmp_path: Path, name: str) -> None:
    """They train like any others, and a constant has no part in a score."""
    frame = learnable_frame(600).with_columns(pl.lit(7.0, dtype=pl.Float32).alias("age"))
    data = training_set(pl.concat([frame, frame]), tmp_path)
    assert check_features(data) == ["constant in the fitting part: age"]
    model = fitted(data, name)
    rows = np.asarray(data.features(data.split.test))
    assert np.isfinite(model.predict(rows)).all()
    assert not model.contributions(rows[:50])[:, NAMES.index("age")].any()


@pytest.mark.parametrize("name", QUICK)
def test_missing_values_and_extremes_get_finite_scores(data: TrainingSet, name: str) -> None:
    """Nothing known, and values far beyond what was learned from, still score and explain."""
    rows = np.array([[np.nan] * 4, [1e30] * 4, [-1e30] * 4, [0.0] * 4], dtype=np.float32)
    model = fitted(data, name)
    scores = model.predict(rows)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.isfinite(model.contributions(rows)).all()
    assert model.predict(rows[:0]).shape == (0,)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.with_columns(pl.lit(0, dtype=pl.Int8).alias("__label")), "labelled rows are genuine"),
        (lambda f: f.with_columns(pl.lit(1, dtype=pl.Int8).alias("__label")), "labelled rows are fraud"),
        (lambda f: f.head(2), "2 labelled rows are too few"),
        (lambda f: f.with_columns(pl.lit(None, dtype=pl.Float32).alias("age")), "no value in the fitting part: age"),
        (lambda f: f.with_columns(pl.lit(float("inf"), dtype=pl.Float32).alias("age")), "infinite values: age"),
        (lambda f: f.with_columns(pl.lit("x").alias("age")), "not numeric: age"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused_with_the_reason(
    tmp_path: Path, name: str, change: Any, message: str
) -> None:
    """What is wrong is said before any library meets it."""
    with pytest.raises(UntrainableData, match=message):
        _train_on(change(learnable_frame(600)), tmp_path, name)


def _train_on(frame: pl.DataFrame, folder: Path, name: str) -> None:
    data = training_set(frame, folder)
    check_features(data)
    run(data, name)


@pytest.mark.parametrize("name", QUICK)
def test_the_fewest_rows_that_can_be_split_can_be_learned_from(tmp_path: Path, name: str) -> None:
    """A dozen rows make a poor model, not an error."""
    frame = learnable_frame(12).with_columns(pl.Series("__label", [0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0], dtype=pl.Int8))
    data = training_set(frame, tmp_path)
    assert np.isfinite(fitted(data, name).predict(data.features(data.split.test))).all()


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("lightgbm", {"num_leaves": 1}, "num_leaves"),
        ("lightgbm", {"undersampling": 0.5}, "undersampling"),
        ("random_forest", {"max_features": 1.5}, "max_features"),
        ("random_forest", {"max_features": "most"}, "max_features"),
        ("random_forest", {"max_rows": 10}, "max_rows"),
        ("logistic_regression", {"C": 0}, "C"),
        ("logistic_regression", {"scale_pos_weight": "heavy"}, "scale_pos_weight"),
        ("neural_network", {"hidden_layer_sizes": []}, "hidden_layer_sizes"),
        ("neural_network", {"hidden_layer_sizes": [64, 0]}, "hidden_layer_sizes"),
        ("neural_network", {"learning_rate_init": float("nan")}, "learning_rate_init"),
        ("isolation_forest", {"contamination": 0.5}, "contamination"),
        ("isolation_forest", {"scale_pos_weight": 2}, "scale_pos_weight"),
        ("isolation_forest", {"max_samples": "all"}, "max_samples"),
    ],
)
def test_hyperparameters_out_of_range_are_named(name: str, given: dict[str, Any], field: str) -> None:
    """Each refused value is reported under its own path."""
    with pytest.raises(InvalidContent) as refused:
        parse(name, given)
    assert {detail.field for detail in refused.value.details} == {f"hyperparameters.{field}"}


def test_the_catalogue_lists_what_is_installed_and_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An algorithm whose library is missing is shown as such, refused by name, and its models can still be read."""
    assert {entry["name"]: entry["available"] for entry in catalogue()} == dict.fromkeys(ALGORITHMS, True)
    monkeypatch.setattr(LightGBM, "requires", "lightgbm")
    shown = next(entry for entry in catalogue() if entry["name"] == "lightgbm")
    assert shown["available"] is False
    with pytest.raises(InvalidContent, match="lightgbm is not installed"):
        algorithm("lightgbm")


def test_models_load_and_score_without_the_libraries_that_made_them(data: TrainingSet, tmp_path: Path) -> None:
    """Serving needs numpy and XGBoost alone, whatever a model was trained with."""
    for name in QUICK:
        (tmp_path / name).write_bytes(run(data, name)[0])
    program = (
        "import sys, pathlib, numpy as np\n"
        "for gone in ('sklearn', 'lightgbm', 'pandas', 'shap', 'polars'): sys.modules[gone] = None\n"
        "from shared.training.algorithms import ALGORITHMS\n"
        "rows = np.zeros((3, 4), dtype=np.float32)\n"
        "for name, entry in ALGORITHMS.items():\n"
        "    model = entry.load(pathlib.Path(sys.argv[1], name).read_bytes())\n"
        "    print(name, model.feature_count, model.predict(rows).shape, model.contributions(rows).shape)\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} 4 (3,) (3, 5)" for name in ALGORITHMS]


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("damage", [b"", b"garbage", b"PK\x03\x04"])
def test_bytes_that_are_no_model_are_refused(name: str, damage: bytes) -> None:
    """A ValueError that says so, which loading an artifact turns into its own error."""
    with pytest.raises(ValueError, match=r"not an? |not a file|lacks"):
        algorithm(name).load(damage)


def test_without_labels_a_threshold_is_a_share_or_a_capacity(tmp_path: Path) -> None:
    """Half flags about the contamination, a capacity so many a day, and figures that need labels are not there."""
    data = training_set(learnable_frame(6000).drop("__label"), tmp_path)
    model = fitted(data, "isolation_forest", contamination=0.1)
    share = assess(model, data, Fixed(type="fixed", threshold=0.5))
    assert share.metrics["flag_rate"] == pytest.approx(0.1, abs=0.03)
    assert set(share.metrics) == {"threshold", "rows", "flag_rate"}
    assert share.score_profile.total == share.metrics["rows"] == 1200
    assert share.evidence.labels is None
    days = data.days(data.split.validation)
    assert days is not None
    capacity = assess(model, data, ReviewCapacity(type="review_capacity", per_day=30 / days))
    assert capacity.validation["flag_rate"] * capacity.validation["rows"] == pytest.approx(30)
    with pytest.raises(UntrainableData, match="max_f1 needs labels"):
        assess(model, data, MaxF1())
