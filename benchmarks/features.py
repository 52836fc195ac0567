"""Features without history in figures: fit, transform, choose on a file; one vector online.

    python -m benchmarks.features ../shared/data/sparkov_train.parquet

Prints seconds a step, peak memory, microseconds a vector, and in how many rows the two executors differ.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan
from shared.features.choosing import choose_features
from shared.features.config import FeatureConfig
from shared.features.fitting import column_type, training_part
from shared.features.inference import infer_config
from shared.features.online import compile_plan
from shared.features.tables import check_dataset, write_feature_table

_ONLINE_ROWS = 20_000


@contextmanager
def _timed(step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{step:<24}{time.perf_counter() - started:8.2f} s")


def main() -> None:
    """Run every step on one Parquet file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    dataset: Path = parser.parse_args().dataset
    frame = pl.scan_parquet(dataset)
    types = {name: column_type(dtype) for name, dtype in frame.collect_schema().items()}
    columns = [Column(name=name, type=kind, nullable=True) for name, kind in types.items() if kind]
    config = infer_config(DatasetSchema(columns=columns), FeatureConfig(groups=("transaction", "temporal")))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "features.parquet")
        with _timed("check"):
            rows = check_dataset(frame, config).rows
        with _timed("fit"):
            plan = fit_plan(training_part(frame, config.time_column, config.train_fraction)[0], config)
        with _timed("transform and write"):
            write_feature_table(plan, dataset, table)
        with _timed("select and profile"):
            choice = choose_features(plan, table)
        print(f"{rows} rows, {len(plan.features)} features, {len(choice.plan.features)} selected")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        in_order = frame.sort(config.time_column, maintain_order=True) if config.time_column else frame
        # As JSON brings them: text for timestamps.
        transactions = [
            {key: value.isoformat() if isinstance(value, date) else value for key, value in row.items()}
            for row in in_order.head(_ONLINE_ROWS).collect().iter_rows(named=True)
        ]
        online = compile_plan(plan)
        started = time.perf_counter()
        vectors = [online.vector(transaction) for transaction in transactions]
        print(f"online {(time.perf_counter() - started) / len(vectors) * 1e6:.1f} µs a vector")
        batch = pl.scan_parquet(table).head(_ONLINE_ROWS).select(plan.feature_names).collect().to_numpy()
        same = (batch == np.stack(vectors)) | (np.isnan(batch) & np.isnan(np.stack(vectors)))
        print(f"{len(vectors)} rows compared, {int((~same.all(axis=1)).sum())} differ")


if __name__ == "__main__":
    main()
