"""Boosting in rounds: bit-identity, early stopping, calibration, and what a model says of itself."""

import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shared.platform.errors import InvalidContent
from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms import algorithm, catalogue, parse
from shared.training.algorithms.booster import BoosterModel
from shared.training.algorithms.imbalance import fraud_weight
from shared.training.algorithms.xgboost import XGBoost, booster_parameters, with_odds
from shared.training.assessment import assess
from shared.training.progress import TrainingProgress
from shared.training.slices import LiveRuns, SliceLimits, run_slice
from shared.training.threshold import MaxF1
from shared.training.training_set import TrainingSet
from tests.unit.training.conftest import learnable_frame, training_set
from tests.unit.training.runs import THREADS, run

SAMPLINGS = [
    {},
    {"subsample": 0.7},
    {"colsample_bytree": 0.6},
    {"subsample": 0.8, "colsample_bytree": 0.5, "max_bin": 64},
]


def _train(data: TrainingSet, cuts: list[int | None], **given: object) -> tuple[bytes, TrainingProgress]:
    """Train in slices of the given round counts (None: to the end), each anew from the last checkpoint."""
    return run(
        data, "xgboost", tuple(cuts), **{"n_estimators": 60, "early_stopping_rounds": 15, "max_depth": 6, **given}
    )


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_sliced_run_equals_an_uninterrupted_one_bit_for_bit(data: TrainingSet, sampling: dict[str, object]) -> None:
    """Where slices end, and that each begins on another worker, leaves no trace in the model file."""
    whole, whole_progress = _train(data, [None], **sampling)
    sliced, sliced_progress = _train(data, [1, 7, 2, None], **sampling)
    assert sliced == whole
    assert sliced_progress.validation == whole_progress.validation
    assert sliced_progress.train == whole_progress.train
    assert sliced_progress.slices == 4


def test_without_sampling_the_model_is_that_of_xgboost_train(data: TrainingSet) -> None:
    """The trees are exactly those of xgboost.train on the same matrix, the figures to seven digits; the best of the
    rounds that were looked at is kept.
    """
    xgb = load_xgboost()
    model, progress = _train(data, [5, None])
    hyperparameters = parse("xgboost", {"n_estimators": 60, "early_stopping_rounds": 15})
    weight = fraud_weight("sqrt", data.labels(data.split.fit))
    fit, validation = XGBoost().prepare(data, hyperparameters, THREADS)
    figures: dict[str, dict[str, list[float]]] = {}
    plain = xgb.train(
        booster_parameters(hyperparameters, weight, THREADS),
        fit,
        60,
        evals=[(validation, "validation")],
        evals_result=figures,
        verbose_eval=False,
    )
    for name in ("logloss", "aucpr"):
        expected = [figures["validation"][name][number - 1] for number in progress.validation.rounds]
        assert progress.validation.values[name] == pytest.approx(expected, rel=1e-7)
    assert progress.best_round == progress.validation.rounds[int(np.argmax(progress.validation.values["aucpr"]))]
    assert XGBoost().load(model).booster.get_dump(with_stats=True) == plain[: progress.best_round].get_dump(
        with_stats=True
    )


def test_the_best_round_is_kept_and_the_run_ends_when_patience_does(data: TrainingSet) -> None:
    """Early stopping follows the validation part, and later rounds are cut off."""
    model, progress = _train(data, [None], n_estimators=400, learning_rate=0.5, early_stopping_rounds=10)
    curve = progress.validation
    assert progress.stopped_early
    assert progress.rounds == progress.best_round + 10 < 400
    assert curve.rounds[int(np.argmax(curve.values["aucpr"]))] == progress.best_round == XGBoost().load(model).rounds


def test_every_second_round_is_looked_at_and_the_last(data: TrainingSet) -> None:
    """The validation part after rounds 1, 3, 5 … and the last, the fitting part after every tenth of those."""
    _, progress = _train(data, [None], n_estimators=24, early_stopping_rounds=None)
    assert progress.validation.rounds == [*range(1, 24, 2), 24]
    assert progress.train.rounds == [1, 11, 21]


def test_a_round_that_was_not_looked_at_ends_nothing(data: TrainingSet) -> None:
    """With the least patience a run goes on as long as every look finds it better."""
    _, progress = _train(data, [None], n_estimators=400, learning_rate=0.01, early_stopping_rounds=1)
    curve = progress.validation.values["aucpr"]
    assert progress.rounds > 2
    assert all(later > earlier for earlier, later in itertools.pairwise(curve[:-1]))
    assert curve[-1] <= curve[-2]


def test_without_early_stopping_every_round_is_kept(data: TrainingSet) -> None:
    """``early_stopping_rounds: null`` trains and keeps n_estimators rounds."""
    model, progress = _train(data, [None], n_estimators=12, early_stopping_rounds=None)
    assert progress.rounds == 12 == XGBoost().load(model).rounds
    assert not progress.stopped_early


def test_the_fraud_weight_is_taken_out_of_the_scores(data: TrainingSet) -> None:
    """The odds of a weighted model are divided by the weight, so scores stay near the fraud rate."""
    hyperparameters = parse("xgboost", {"scale_pos_weight": "balanced", "max_depth": 3})
    weight = fraud_weight("balanced", data.labels(data.split.fit))
    assert weight > 20
    fit, _ = XGBoost().prepare(data, hyperparameters, THREADS)
    parameters = booster_parameters(hyperparameters, weight, THREADS)
    raw = BoosterModel(load_xgboost().train(parameters, fit, 30))
    corrected = XGBoost().load(with_odds(raw.booster, 1 / weight))
    features, labels = data.features(data.split.test), data.labels(data.split.test)
    before, after = raw.predict(features).astype(np.float64), corrected.predict(features).astype(np.float64)
    assert after / (1 - after) == pytest.approx(before / (1 - before) / weight, rel=1e-4)
    rate = labels.mean()
    assert abs(after.mean() - rate) < 0.02 < abs(before.mean() - rate)


def test_contributions_add_up_to_the_score(data: TrainingSet) -> None:
    """SHAP values and the base value sum to the log-odds of the corrected score."""
    model, _ = _train(data, [None])
    loaded = XGBoost().load(model)
    rows = np.asarray(data.features(data.split.test))[:200]
    odds = loaded.contributions(rows).sum(axis=1)
    assert 1 / (1 + np.exp(-odds.astype(np.float64))) == pytest.approx(loaded.predict(rows), abs=2e-6)


def test_a_model_learns_what_is_there_and_says_what_mattered(data: TrainingSet) -> None:
    """On later rows it ranks far better than chance, and the noise column matters least."""
    model, _ = _train(data, [None])
    verdict = assess(XGBoost().load(model), data, MaxF1())
    assert verdict.metrics["auc_roc"] > 0.93
    assert verdict.metrics["rows"] == data.split.rows - data.split.train_end
    assert list(verdict.feature_importance)[-1] == "noise"
    assert verdict.score_profile.total == verdict.metrics["rows"]


def test_a_stopped_slice_does_no_round(data: TrainingSet) -> None:
    """Cancellation that arrives before the first round leaves the run where it was."""
    entry, hyperparameters = XGBoost(), parse("xgboost", {"n_estimators": 5})
    trainer = entry.start(data, entry.prepare(data, hyperparameters, 1), hyperparameters, 1, None)
    progress, stop = TrainingProgress(total_rounds=5, patience=None, threads=1), threading.Event()
    stop.set()
    run_slice(trainer, progress, SliceLimits(), stop, lambda _: None)
    assert progress.rounds == trainer.rounds == 0


def test_a_slice_ends_with_its_time_budget(data: TrainingSet) -> None:
    """A budget of nothing still does one round, so that every slice moves on."""
    entry, hyperparameters = XGBoost(), parse("xgboost", {"n_estimators": 5})
    trainer = entry.start(data, entry.prepare(data, hyperparameters, 1), hyperparameters, 1, None)
    progress = TrainingProgress(total_rounds=5, patience=None, threads=1)
    run_slice(trainer, progress, SliceLimits(seconds=0), threading.Event(), lambda _: None)
    assert progress.rounds == 1
    assert progress.eta_seconds is not None
    assert progress.eta_seconds > 0


def test_a_live_run_is_only_resumed_from_where_the_stored_progress_stands(data: TrainingSet) -> None:
    """A run in memory that is ahead of its checkpoint is dropped, and a run is handed out once."""
    from uuid import uuid4

    entry, hyperparameters = XGBoost(), parse("xgboost", {"n_estimators": 5})
    trainer = entry.start(data, entry.prepare(data, hyperparameters, 1), hyperparameters, 1, None)
    runs, job = LiveRuns(), uuid4()
    runs.put(job, "at-3", trainer)
    assert runs.take(job, "at-3") is trainer
    assert runs.take(job, "at-3") is None
    runs.put(job, "at-4", trainer)
    assert runs.take(job, "at-3") is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"max_depth": 0}, "hyperparameters.max_depth"),
        ({"learning_rate": float("nan")}, "hyperparameters.learning_rate"),
        ({"subsample": "half"}, "hyperparameters.subsample"),
        ({"trees": 100}, "hyperparameters.trees"),
        ({"scale_pos_weight": "heavy"}, "hyperparameters.scale_pos_weight"),
        ({"scale_pos_weight": 0}, "hyperparameters.scale_pos_weight"),
        ({"n_estimators": 10_001}, "hyperparameters.n_estimators"),
    ],
)
def test_hyperparameters_out_of_range_are_named(given: dict[str, object], field: str) -> None:
    """Each refused value is reported under its own path."""
    with pytest.raises(InvalidContent) as refused:
        parse("xgboost", given)
    assert {detail.field for detail in refused.value.details} == {field}


def test_an_unknown_algorithm_is_refused_with_the_known_ones() -> None:
    """The message says what may be asked for."""
    with pytest.raises(InvalidContent, match="xgboost"):
        algorithm("perceptron")


def test_the_catalogue_describes_every_hyperparameter() -> None:
    """A form can be drawn from the schema: each field has a description and a default, and the defaults are valid."""
    for entry in catalogue():
        properties = entry["hyperparameters"]["properties"]
        assert all(field.get("description") and "default" in field for field in properties.values())
        parse(entry["name"], {name: field["default"] for name, field in properties.items()})


def test_xgboost_is_imported_without_scikit_learn() -> None:
    """Scoring pays neither for scikit-learn nor pandas, and both can still be imported afterwards."""
    program = (
        "import sys\n"
        "from shared.training.artifacts import load_artifact\n"
        "from shared.platform.xgboost_runtime import load_xgboost\n"
        "xgb = load_xgboost()\n"
        "print({m: m in sys.modules for m in ('sklearn', 'pandas', 'polars', 'shap', 'xgboost')})\n"
        "assert load_xgboost() is xgb\n"
        "import sklearn.ensemble, pandas\n"
        "import numpy as np\n"
        "d = xgb.QuantileDMatrix(np.eye(4, dtype='f4'), label=[0, 1, 0, 1])\n"
        "print(xgb.train({}, d, 1).num_boosted_rounds())\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True)
    first, second = done.stdout.splitlines()
    assert first == "{'sklearn': False, 'pandas': False, 'polars': False, 'shap': False, 'xgboost': True}"
    assert second == "1"


def test_the_model_file_is_data(data: TrainingSet) -> None:
    """What is stored is UBJSON of the trees; the same trees in JSON read as a plain document."""
    model, _ = _train(data, [None], n_estimators=3, early_stopping_rounds=None)
    loaded = XGBoost().load(model)
    document = json.loads(bytes(loaded.booster.save_raw("json")))
    assert document["learner"]["attributes"] == {}
    assert document["learner"]["gradient_booster"]["model"]["gbtree_model_param"]["num_trees"] == "3"
    assert isinstance(loaded, BoosterModel)


def test_garbage_is_not_a_model() -> None:
    """Bytes that XGBoost cannot read are refused in one line."""
    with pytest.raises(ValueError, match="not an XGBoost model"):
        XGBoost().load(b"{L\x00garbage")


def test_duplicate_rows_are_harmless(tmp_path: Path) -> None:
    """A table that holds every row twice trains like any other."""
    frame = learnable_frame(600)
    model, _ = _train(training_set(pl.concat([frame, frame]), tmp_path), [None], n_estimators=5)
    assert XGBoost().load(model).rounds >= 1
