"""A small table that a model can learn from, as training reads it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shared.training.split import temporal_split
from shared.training.training_set import FeatureTable, TrainingSet, build_table

NAMES = ("amount", "age", "noise", "count")


def learnable_frame(rows: int = 4000, seed: int = 3) -> pl.DataFrame:
    """Features, ``__label`` (about 4 % fraud) and ``__time``, one row a minute; some values are missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(NAMES))).astype(np.float32)
    risk = 1.5 * x[:, 0] - x[:, 1] * x[:, 3] + rng.normal(scale=0.7, size=rows)
    x[rng.random(x.shape) < 0.03] = np.nan
    label = (risk > np.quantile(risk, 0.96)).astype(np.int8)
    start = np.datetime64("2024-01-01T00:00:00", "us")
    times = start + np.arange(rows) * np.timedelta64(1, "m")
    columns = {name: x[:, i] for i, name in enumerate(NAMES)}
    return pl.DataFrame({**columns, "__label": label, "__time": times}).with_columns(
        pl.col("__time").dt.replace_time_zone("UTC")
    )


def training_set(frame: pl.DataFrame, folder: Path, fraction: float = 0.8) -> TrainingSet:
    """The frame by way of Parquet and the mapped arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(folder / "features.parquet")
    build_table(folder / "features.parquet", NAMES, folder)
    table = FeatureTable.open(folder)
    return TrainingSet(table, temporal_split(table.labels, table.times, fraction))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """A training set that nobody changes."""
    return training_set(learnable_frame(), tmp_path_factory.mktemp("data"))
