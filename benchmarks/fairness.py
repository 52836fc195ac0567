"""Fairness of a million decisions with three attributes, beside Fairlearn's MetricFrame on the same data.

    python -m benchmarks.fairness [--rows 1000000]

Ours counts every attribute, every pair and the three together, with intervals, tests and verdicts. MetricFrame computes
selection rate, true- and false-positive rate and precision of the three attributes and of their one intersection,
without intervals. Fairlearn runs in an environment of its own (.local/fairlearn), made at the first run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

from shared.monitoring.fairness import compress, figures, group_counts, holm, intersections, rates

_GROUPS = (("F", "M", "X"), tuple(f"band {n}" for n in range(7)), ("AT", "CH", "DE", "FR", "IT"))
_RIVAL = """
import sys, time, warnings, json
warnings.simplefilter("ignore")
import numpy as np, pandas as pd
from fairlearn.metrics import MetricFrame, selection_rate, true_positive_rate, false_positive_rate
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from sklearn.metrics import precision_score
data = np.load(sys.argv[1])
frame = pd.DataFrame({f"a{n}": data["codes"][:, n] for n in range(3)})
y, flagged = data["labels"], data["flagged"].astype(int)
metrics = {"selection_rate": selection_rate, "tpr": true_positive_rate, "fpr": false_positive_rate,
           "precision": precision_score}
start = time.perf_counter()
for features in (frame[["a0"]], frame[["a1"]], frame[["a2"]], frame):
    MetricFrame(metrics=metrics, y_true=y, y_pred=flagged, sensitive_features=features).by_group
found = []
for name in frame:
    found.append(demographic_parity_difference(y, flagged, sensitive_features=frame[name]))
    found.append(equalized_odds_difference(y, flagged, sensitive_features=frame[name]))
print(json.dumps({"seconds": time.perf_counter() - start, "found": found}))
"""


def main() -> None:
    """Measure both, check that they agree, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.integers(0, len(of), options.rows) for of in _GROUPS]).astype(np.uint8)
    scores = rng.random(options.rows).astype(np.float32)
    labels = (rng.random(options.rows) < scores * 0.1).astype(np.int8)
    flagged = scores > 0.9 + 0.02 * (codes[:, 0] == 1)

    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        counted = compress(codes, flagged, labels, scores)
        looked = [group_counts(_GROUPS, columns, counted) for columns in intersections(3)]
        found = [figures(each) for each in looked]
        holm([figure.p for each in found for figure in each])
        for each in looked:
            rates(each)
        seconds.append(time.perf_counter() - started)
    ours = min(seconds)

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "decisions.npz")
        np.savez(data, codes=codes, labels=labels, flagged=flagged)
        told = subprocess.run([_rival_python(), "-c", _RIVAL, str(data)], check=True, capture_output=True, text=True)
    theirs = json.loads(told.stdout)
    by_name = [{figure.metric: figure.value for figure in each} for each in found[:3]]
    mine = [each[name] for each in by_name for name in ("demographic_parity_diff", "equalized_odds_diff")]
    print("| way | seconds |\n|---|---|")
    print(f"| ours: 3 attributes, 4 intersections, intervals, tests | {ours:.3f} |")
    print(f"| Fairlearn: 3 attributes, 1 intersection, no intervals | {theirs['seconds']:.1f} |")
    print(f"ratio: {theirs['seconds'] / ours:.0f}")
    print(f"largest difference between the figures of both: {np.abs(np.subtract(mine, theirs['found'])).max():.1e}")


def _rival_python() -> str:
    """The interpreter of Fairlearn's environment."""
    folder = Path(".local", "fairlearn").resolve()
    python = folder / "bin" / "python"
    if not python.exists():
        print("making Fairlearn's environment …", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "fairlearn"], check=True)
    return str(python)


if __name__ == "__main__":
    main()
