"""Quality on the split of the Fraud Detection Handbook: one week to train on, a week of delay, one week to judge.

    python -m benchmarks.handbook_week [--set KEY=VALUE …]

Trains on 25 to 31 July 2018 and judges 8 to 14 August, without the customers that were known as defrauded before a
day of the test (chapter 5.2 of the book). History features look back over everything since April, labels are known 7
days late. ``--set`` overrides hyperparameters. The dataset is read from ../shared/data; without it the command says so.
"""

import argparse
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.flow import DATA, SUBJECTS
from benchmarks.quality import LABEL_DELAY_DAYS, UNLIMITED, fitted
from shared.datasets import ingest
from shared.features.batch import fit_plan
from shared.features.config import FeatureConfig
from shared.features.inference import infer_config
from shared.features.plan import FeaturePlan
from shared.features.tables import LABEL, TIME, write_feature_table
from shared.platform.clock import utc_now
from shared.training.evaluation import ScoreCurve
from shared.training.split import temporal_split
from shared.training.training_set import FeatureTable, TrainingSet

_DAY = timedelta(days=1)
_TRAIN_FROM = datetime(2018, 7, 25, tzinfo=UTC)
_TRAIN_DAYS = _DELAY_DAYS = _TEST_DAYS = 7
_TRAIN_END = _TRAIN_FROM + _TRAIN_DAYS * _DAY
_TEST_FROM = _TRAIN_END + _DELAY_DAYS * _DAY
_TEST_END = _TEST_FROM + _TEST_DAYS * _DAY
# ROC-AUC, average precision, recall at 1 % FPR where it is known. The book is Le Borgne, Siblini, Lebichot, Bontempi,
# "Reproducible Machine Learning for Credit Card Fraud Detection - Practical Handbook", 2022.
REFERENCES = {
    "the book: logistic regression": "0.871 / 0.606 / ",
    "the book: random forest": "0.867 / 0.658 / ",
    "the book: XGBoost": "0.862 / 0.639 / ",
    "plain XGBoost, the book's 15 features": "0.863 / 0.61 / 0.665",
    "plain XGBoost, more windows": "0.858 / 0.66 / 0.69",
}


def test_rows(times: pl.Series, customers: pl.Series, labels: pl.Series) -> npt.NDArray[np.bool_]:
    """Which rows are judged, shape (n,): those of the test week whose customer was not known as defrauded that day."""
    frauds = pl.DataFrame({"time": times, "customer": customers}).filter(labels == 1)

    def defrauded(start: datetime, end: datetime) -> set[Any]:
        return set(frauds.filter((frauds["time"] >= start) & (frauds["time"] < end))["customer"])

    known = defrauded(_TRAIN_FROM, _TRAIN_END)
    judged = np.zeros(len(times), dtype=bool)
    for number in range(_TEST_DAYS):
        day = _TEST_FROM + number * _DAY
        known |= defrauded(day - (_DELAY_DAYS + 1) * _DAY, day - _DELAY_DAYS * _DAY)
        judged |= ((times >= day) & (times < day + _DAY) & ~customers.is_in(list(known))).to_numpy()
    return judged


def week_plan(frame: pl.LazyFrame, config: FeatureConfig) -> FeaturePlan:
    """The default plan, fitted on the training week."""
    time = pl.col(str(config.time_column))
    return fit_plan(frame.filter((time >= _TRAIN_FROM) & (time < _TRAIN_END)), config)


def judged_set(plan: FeaturePlan, table: pl.DataFrame, customers: pl.Series, *, everything: bool) -> TrainingSet:
    """The rows to train on, then the rows to judge.

    :param everything: train on all days before the training week too, as the product would.
    """
    times, labels = table[TIME], table[LABEL]
    training = (times < _TRAIN_END).to_numpy()
    if not everything:
        training &= (times >= _TRAIN_FROM).to_numpy()
    rows = np.concatenate([np.flatnonzero(training), np.flatnonzero(test_rows(times, customers, labels))])
    chosen = table[rows]
    whole = FeatureTable(
        np.ascontiguousarray(chosen.select(plan.feature_names).to_numpy()),
        chosen[LABEL].to_numpy().astype(np.int8),
        chosen[TIME].dt.epoch("us").to_numpy(),
        plan.feature_names,
    )
    return TrainingSet(whole, temporal_split(whole.labels, whole.times, training.sum() / len(rows)))


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    hyperparameters = {
        key: json.loads(value) for key, value in (setting.split("=", 1) for setting in parser.parse_args().settings)
    }
    subject = SUBJECTS["handbook"]
    source = DATA / subject.files[0]
    if not source.is_file():
        print(f"skipped: {source.name} not found in {DATA}")
        return
    with tempfile.TemporaryDirectory(prefix="week-") as folder:
        until_test, canonical, features = (Path(folder, name) for name in ("source", "data", "features"))
        time = str(subject.config["time_column"])
        frame = pl.read_parquet(source).filter(pl.col(time) < _TEST_END.replace(tzinfo=None))
        frame.sort(time, maintain_order=True).write_parquet(until_test)
        schema = ingest.read_dataset(until_test, canonical, UNLIMITED, utc_now()).schema
        given = {**subject.config, "label_delay_days": LABEL_DELAY_DAYS["handbook"]}
        plan = week_plan(pl.scan_parquet(canonical), infer_config(schema, FeatureConfig.model_validate(given)))
        write_feature_table(plan, canonical, features)
        table, customers = pl.read_parquet(features), frame.sort(time, maintain_order=True)["CUSTOMER_ID"]
    print("| trained on | ROC-AUC | average precision | recall at 1 % FPR |\n|---|---|---|---|")
    for name, figures in REFERENCES.items():
        print(f"| {name} | {' | '.join(figures.split(' / '))} |")
    for name, everything in (("the week", False), ("all days until then", True)):
        data = judged_set(plan, table, customers, everything=everything)
        model = fitted(data, hyperparameters)
        scores, labels = model.predict(data.features(data.split.test)), data.labels(data.split.test)
        curve = ScoreCurve.of(scores, labels)
        recall = curve.recall_at_fpr(0.01)
        print(f"| **this pipeline, default plan, {name}** ({data.split.train_end:,} rows, {model.rounds} trees, "
              f"judged on {len(labels):,} with {curve.positives} frauds) | **{curve.auc_roc():.3f}** | "
              f"**{curve.auc_pr():.3f}** | **{recall:.3f}** |")  # fmt: skip


if __name__ == "__main__":
    main()
