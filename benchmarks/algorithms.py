"""Every algorithm at its defaults on the same rows: seconds, figures on the later test part, and what explaining costs.

    python -m benchmarks.algorithms [sparkov | handbook] [--rows 200000] [--only NAME,NAME]

Prints a Markdown table. The features are those of the default plan, computed once. "Mean" is the mean score beside the
fraud rate of the test part: scores are meant to be probabilities, before any calibration. "Explain" is for the
contributions of one row, the median of 50. Times are processor time of all threads, which other work on the machine
changes little. Datasets are read from ../shared/data; without them nothing is measured.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.flow import DATA, SUBJECTS
from benchmarks.quality import LABEL_DELAY_DAYS, Run, fitted, training_data
from shared.training.algorithms import ALGORITHMS
from shared.training.algorithms.base import FittedModel
from shared.training.evaluation import evaluate
from shared.training.training_set import TrainingSet

_COLUMNS = (
    "algorithm",
    "processor s",
    "ROC-AUC",
    "average precision",
    "recall at 1 % FPR",
    "Brier",
    "mean",
    "explain, processor ms",
)


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="sparkov", choices=sorted(SUBJECTS))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--only", default=",".join(ALGORITHMS))
    options = parser.parse_args()
    subject = SUBJECTS[options.dataset]
    if missing := [file for file in subject.files if not (DATA / file).is_file()]:
        print(f"not measured: {', '.join(missing)} not found in {DATA}")
        return
    delay = LABEL_DELAY_DAYS.get(options.dataset)
    with tempfile.TemporaryDirectory(prefix="algorithms-") as folder:
        configuration = {} if delay is None else {"label_delay_days": delay}
        data = training_data(subject, configuration, Path(folder), Run(), options.rows)
        rate = data.labels(data.split.test).mean()
        print(f"{options.dataset}: {data.split.rows:,} rows, {len(data.table.feature_names)} features, "
              f"{data.split.fit_end:,} to fit on; {rate:.4%} of the test part is fraud\n")  # fmt: skip
        print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
        for name in options.only.split(","):
            if ALGORITHMS[name].requires is None:
                print(f"| {' | '.join(_measured(name, data))} |", flush=True)


def _measured(name: str, data: TrainingSet) -> list[str]:
    started = time.process_time()
    model = fitted(data, {}, name)
    seconds = time.process_time() - started
    scores = model.predict(data.features(data.split.test))
    figures = evaluate(scores, data.labels(data.split.test), 0.5)
    return [
        f"`{name}`",
        f"{seconds:.1f}",
        *(f"{figures[key]:.4f}" for key in ("auc_roc", "auc_pr", "recall_at_fpr_1pct")),
        f"{figures['brier']:.5f}",
        f"{scores.mean():.4%}",
        f"{_explaining(model, data):.1f}",
    ]


def _explaining(model: FittedModel, data: TrainingSet) -> float:
    """Milliseconds of processor time for the contributions of one row."""
    taken = []
    for row in np.asarray(data.features(data.split.test)[:50]):
        started = time.process_time()
        model.contributions(row[None])
        taken.append((time.process_time() - started) * 1000)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
