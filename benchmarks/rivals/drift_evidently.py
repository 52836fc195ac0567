"""Evidently's data drift preset; run by benchmarks.drift in an environment of its own.

python drift_evidently.py FOLDER METHOD
"""

import sys
from pathlib import Path

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from measured import report

folder, method = Path(sys.argv[1]), sys.argv[2]
reference, current = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "current"))
definition = DataDefinition(
    numerical_columns=[name for name in reference if name.startswith("number")],
    categorical_columns=[name for name in reference if name.startswith("category")],
)
preset = DataDriftPreset() if method == "default" else DataDriftPreset(method=method)


def work() -> None:
    """From two data frames to the result."""
    old, new = (Dataset.from_pandas(frame, data_definition=definition) for frame in (reference, current))
    Report([preset]).run(new, old).dict()


report(work)
