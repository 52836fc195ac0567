"""Quality on real datasets: file, plan, features, selection, training and evaluation in one process, without HTTP.

    python -m benchmarks.quality [sparkov] [handbook] [--groups transaction,temporal,behavioural] [--set KEY=VALUE …]
                                [--config JSON]

Prints Markdown: rows and seconds of each step; figures on the later test part with their 95 % intervals, beside those
of plain XGBoost with early stopping on the same matrix and split, and what it reaches on hand-made features; and the
figures at the threshold. ``--groups`` says which feature groups the plan has; with ``behavioural`` the past labels of
the handbook set are known 7 days late. ``--set`` overrides hyperparameters, ``--config`` settings of the plan.
Datasets are read from ../shared/data; one that is missing is skipped with a message.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.flow import DATA, SUBJECTS, Subject
from shared.datasets import ingest
from shared.datasets.model import DatasetLimits
from shared.features.batch import fit_plan
from shared.features.choosing import choose_features
from shared.features.config import GROUPS, FeatureConfig
from shared.features.fitting import training_part
from shared.features.inference import infer_config
from shared.features.tables import write_feature_table
from shared.platform.clock import utc_now
from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms import FittedModel, algorithm, parse
from shared.training.assessment import Assessment, assess
from shared.training.evaluation import evaluate
from shared.training.intervals import figure_intervals
from shared.training.progress import TrainingProgress
from shared.training.slices import SliceLimits, run_slice
from shared.training.split import temporal_split
from shared.training.threshold import MaxF1
from shared.training.training_set import FeatureTable, TrainingSet, build_table

# Plain XGBoost: early stopping on average precision, 300 trees of depth 6 at most, everything else at its default but
# the learning rate: with the default 0.3 it ends far lower on these sets.
_PLAIN = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "learning_rate": 0.1,
    "max_depth": 6,
    "eval_metric": "aucpr",
}
_PLAIN_ROUNDS, _PLAIN_PATIENCE = 300, 40
# ROC-AUC, average precision, recall at 1 % FPR of plain XGBoost on hand-made features.
REFERENCES = {
    "sparkov": {
        "raw columns": (0.991, 0.68, 0.84),
        "+ hour, age, distance": (0.997, 0.89, 0.95),
        "+ velocity per card": (0.999, 0.97, 0.99),
    },
    "handbook": {
        "without past labels": (0.665, 0.34, 0.345),
        "+ terminal's past fraud rate": (0.906, 0.77, 0.79),
    },
}
_COMPARED = {
    "auc_roc": "ROC-AUC",
    "auc_pr": "average precision",
    "recall_at_fpr_1pct": "recall at 1 % FPR",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
_AT_THRESHOLD = ("precision", "recall", "f1_score", "fpr", "precision_at_capacity", "recall_at_capacity")
UNLIMITED = DatasetLimits(body_bytes=2**40, direct_bytes=2**40, rows=10**9, columns=10**4)
_THREADS = 2


@dataclass
class Run:
    """What one dataset gave."""

    rows: int = 0
    features: int = 0
    rounds: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: Assessment | None = None
    plain: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


# What the plan cannot know of a dataset: how late its labels are. Sparkov's say nothing of a later fraud.
LABEL_DELAY_DAYS = {"handbook": 7}


def run(subject: Subject, configuration: dict[str, Any], hyperparameters: dict[str, Any], folder: Path) -> Run:
    """Walk one dataset through the product's own functions, in the order of the services."""
    result = Run()
    data = training_data(subject, configuration, folder, result)
    with result.step("train"):
        model = fitted(data, hyperparameters)
    result.rounds = model.rounds
    with result.step("evaluate"):
        result.verdict = assess(model, data, MaxF1())
    with result.step("plain XGBoost"):
        result.plain = plain_figures(data, result.verdict.threshold)
    return result


def training_data(
    subject: Subject, configuration: dict[str, Any], folder: Path, result: Run, rows: int | None = None
) -> TrainingSet:
    """From the dataset's file, or its first ``rows`` rows in time, to what a job learns from, by way of a plan and
    selection; steps are timed in ``result``.
    """
    source, canonical, table_file = folder / "source.parquet", folder / "data.parquet", folder / "features.parquet"
    time_column = subject.config["time_column"]
    parts = [pl.read_parquet(DATA / name) for name in subject.files]
    split_fraction = subject.split or parts[0].height / sum(part.height for part in parts)
    ordered = pl.concat(parts).sort(time_column, maintain_order=True)
    (ordered if rows is None else ordered.head(rows)).write_parquet(source)
    del parts, ordered
    with result.step("profile"):
        profile = ingest.read_dataset(source, canonical, UNLIMITED, utc_now())
    result.rows = profile.row_count
    with result.step("plan"):
        given = FeatureConfig.model_validate(
            {**subject.config, **configuration, "train_fraction": round(split_fraction, 6)}
        )
        config = infer_config(profile.schema, given)
        part, _ = training_part(pl.scan_parquet(canonical), config.time_column, config.train_fraction)
        plan = fit_plan(part, config)
    with result.step("transform"):
        write_feature_table(plan, canonical, table_file)
    with result.step("select"):
        chosen = choose_features(plan, table_file).plan
    result.features = len(chosen.feature_names)
    with result.step("load"):
        build_table(table_file, chosen.feature_names, folder)
        table = FeatureTable.open(folder)
        return TrainingSet(table, temporal_split(table.labels, table.times, split_fraction))


def fitted(data: TrainingSet, hyperparameters: dict[str, Any], name: str = "xgboost") -> FittedModel:
    """The model that a training job would make of this data."""
    entry, settings = algorithm(name), parse(name, hyperparameters)
    progress = TrainingProgress(
        total_rounds=entry.total_rounds(settings), patience=entry.patience(settings), threads=_THREADS
    )
    trainer = entry.start(data, entry.prepare(data, settings, _THREADS), settings, _THREADS, None)
    checkpoint = b""
    while not progress.finished:
        checkpoint = run_slice(trainer, progress, SliceLimits(), threading.Event(), lambda _: None)
    return entry.load(entry.finish(data, settings, progress, checkpoint))


def plain_figures(data: TrainingSet, threshold: float) -> dict[str, Any]:
    """Figures and intervals of plain XGBoost with early stopping on the same matrix."""
    xgb = load_xgboost()
    split = data.split
    fit = xgb.QuantileDMatrix(np.asarray(data.features(split.fit)), np.asarray(data.labels(split.fit)))
    validation = xgb.QuantileDMatrix(
        np.asarray(data.features(split.validation)), np.asarray(data.labels(split.validation)), ref=fit
    )
    parameters = {**_PLAIN, "nthread": _THREADS}
    booster = xgb.train(
        parameters,
        fit,
        _PLAIN_ROUNDS,
        evals=[(validation, "validation")],
        early_stopping_rounds=_PLAIN_PATIENCE,
        verbose_eval=False,
    )
    best = (0, booster.best_iteration + 1)
    scores = booster.inplace_predict(np.asarray(data.features(split.test)), iteration_range=best)
    labels = np.asarray(data.labels(split.test))
    figures = evaluate(scores, labels, threshold)
    return {**figures, "intervals": figure_intervals(scores, labels, figures, times=data.times(split.test))}


def report(name: str, result: Run) -> None:
    """Print one dataset's tables."""
    assert result.verdict is not None
    figures = result.verdict.metrics
    took = ", ".join(f"{step} {seconds:.1f}" for step, seconds in result.seconds.items())
    print(f"\n**{name}**: {result.rows:,} rows, {result.features} features, {result.rounds} trees; seconds: {took}\n")
    print(f"| {' | '.join(('', *_COMPARED.values()))} |\n|{'---|' * (len(_COMPARED) + 1)}")
    for label, reference in REFERENCES[name].items():
        print(f"| plain XGBoost, {label} | {' | '.join(f'{figure:.3f}' for figure in reference)} | | |")
    for label, row in (("plain XGBoost, the same matrix", result.plain), ("**the default pipeline**", figures)):
        print(f"| {label} | {' | '.join(with_interval(row, figure) for figure in _COMPARED)} |")
    print(f"\nThreshold {figures['threshold']:.4f}; capacity {figures['review']['per_day']} transactions a day:\n")
    print(f"| {' | '.join(_AT_THRESHOLD)} |\n|{'---|' * len(_AT_THRESHOLD)}")
    print(f"| {' | '.join(with_interval(figures, figure) for figure in _AT_THRESHOLD)} |\n")
    print(f"Calibration: {json.dumps(figures['calibration'])}")
    top = list(result.verdict.feature_importance.items())[:12]
    print("Importance: " + ", ".join(f"{feature} {value:.2f}" for feature, value in top))


def with_interval(figures: dict[str, Any], name: str) -> str:
    """A figure and its 95 % interval, to four digits that count."""
    interval = figures["intervals"][name]
    if interval is None:
        return f"{figures[name]:.4g}"
    return f"{figures[name]:.4g} ({interval['low']:.4g} to {interval['high']:.4g})"


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", default=sorted(REFERENCES), metavar="dataset")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--config", type=json.loads, default={}, metavar="JSON", help="more of the plan's settings")
    options = parser.parse_args()
    pairs = (setting.split("=", 1) for setting in options.settings)
    hyperparameters = {key: json.loads(value) for key, value in pairs}
    for name in options.datasets:
        subject = SUBJECTS[name]
        if missing := [file for file in subject.files if not (DATA / file).is_file()]:
            print(f"{name}: skipped, {', '.join(missing)} not found in {DATA}")
            continue
        configuration: dict[str, Any] = {"groups": options.groups.split(","), **options.config}
        if "behavioural" in configuration["groups"] and name in LABEL_DELAY_DAYS:
            configuration["label_delay_days"] = LABEL_DELAY_DAYS[name]
        with tempfile.TemporaryDirectory(prefix="quality-") as folder:
            report(name, run(subject, configuration, hyperparameters, Path(folder)))


if __name__ == "__main__":
    main()
