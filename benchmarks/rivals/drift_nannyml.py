"""NannyML's univariate drift calculator; run by benchmarks.drift in an environment of its own.

python drift_nannyml.py FOLDER METHOD
"""

import sys
from pathlib import Path

import nannyml
import pandas as pd
from measured import report

folder, method = Path(sys.argv[1]), sys.argv[2]
reference, current = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "current"))
names = list(reference)
methods = {"default": {}, "all": {"continuous_methods": ["kolmogorov_smirnov", "jensen_shannon", "wasserstein"]}}
calculator = nannyml.UnivariateDriftCalculator(
    column_names=names,
    treat_as_categorical=[name for name in names if name.startswith("category")],
    chunk_number=1,
    **methods[method],
)
calculator.fit(reference)


def work() -> None:
    """From a data frame to the result; the reference is known, as ours is."""
    calculator.calculate(current).to_df()


report(work)
