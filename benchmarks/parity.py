"""Parity in figures: every row of a dataset computed online, from history as PostgreSQL stores it, against batch.

    python -m benchmarks.parity --rows 1000000 --data sparkov

A plan is fitted on the earlier part and run over the file by the batch executor; the file's events are backfilled into
a private PostgreSQL with production's durability settings. Then each row is sent as a client sends it: its past is read
from the store as of its time, and its vector must equal the batch executor's row bit for bit. Ends with status 1 when
any row differs. Sparkov is read from ../shared/data; ``sample`` is generated.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.flow import DATA, SUBJECTS
from benchmarks.private_database import private_database
from devhost.sample_data import SampleConfig, generate
from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan, transform
from shared.features.config import FeatureConfig
from shared.features.fitting import column_type, training_part
from shared.features.history.backfill import backfill, dataset_events
from shared.features.history.store import HistoryStore
from shared.features.inference import infer_config
from shared.features.online import OnlinePlan, compile_plan
from shared.features.plan import FeaturePlan
from shared.platform.database import Database

_BATCH = 256
_LANES = 3  # the database works on one batch while the others are computed
_LABEL_DELAY_DAYS = 7.0

Transaction = dict[str, Any]


@dataclass
class Parity:
    """What the comparison found. ``differing`` counts rows; ``by_feature`` says in how many rows a feature differs."""

    rows: int = 0
    differing: int = 0
    seconds: float = 0.0
    by_feature: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Stored:
    """A dataset with its plan, its features by the batch executor, and its events in the store."""

    frame: pl.DataFrame
    plan: FeaturePlan
    expected: NDArray[np.float32]
    store: HistoryStore


def dataset(name: str, rows: int) -> tuple[pl.DataFrame, FeatureConfig]:
    """The first ``rows`` rows in order of time, and what a user says about them.

    Labels are taken to be known a week later, so that features of past labels are part of the plan.
    """
    if name == "sample":
        frame = generate(SampleConfig(rows=rows))
        return frame, FeatureConfig(label_delay_days=_LABEL_DELAY_DAYS)
    subject = SUBJECTS[name]
    source = pl.scan_parquet([DATA / file for file in subject.files])
    frame = source.sort(subject.config["time_column"], maintain_order=True).head(rows).collect()
    return frame, FeatureConfig.model_validate(subject.config | {"label_delay_days": _LABEL_DELAY_DAYS})


async def store_history(database: Database, frame: pl.DataFrame, given: FeatureConfig) -> Stored:
    """Fit a plan on the training part, run it over every row, and backfill the store with the same rows.

    The store's clock stands at the end of the dataset, and its retention reaches back to the beginning.
    """
    columns = [
        Column(name=name, type=kind, nullable=True)
        for name, dtype in frame.schema.items()
        if (kind := column_type(dtype)) is not None
    ]
    config = infer_config(DatasetSchema(columns=columns), given)
    plan = fit_plan(training_part(frame.lazy(), config.time_column, config.train_fraction)[0], config)
    assert plan.layout is not None
    expected = transform(plan, frame.lazy()).collect().to_numpy()
    times = frame[plan.layout.time_column].drop_nulls()
    first, last = (_utc(moment) for moment in (times.min(), times.max()))
    store = HistoryStore(database, lambda: last, retention=last - first + timedelta(days=1))
    await backfill(database, store, plan.layout, dataset_events(plan, plan.layout, frame.lazy()), source="parity")
    return Stored(frame, plan, expected, store)


async def compare(database: Database, stored: Stored) -> Parity:
    """Compute every row online, from what the store holds of the time before it."""
    online = compile_plan(stored.plan)
    found = Parity()
    batches = _batches(stored.frame)
    started = time.perf_counter()

    async def lane() -> None:
        for first, transactions in batches:
            vectors = await _vectors(database, stored.store, online, transactions)
            expected = stored.expected[first : first + len(transactions)]
            same = (vectors.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(vectors) & np.isnan(expected))
            found.rows += len(transactions)
            found.differing += int((~same.all(axis=1)).sum())
            for feature in np.flatnonzero(~same.all(axis=0)):
                found.by_feature[online.feature_names[feature]] += int((~same[:, feature]).sum())

    await asyncio.gather(*(lane() for _ in range(_LANES)))
    found.seconds = time.perf_counter() - started
    return found


async def _vectors(
    database: Database, store: HistoryStore, online: OnlinePlan, transactions: list[Transaction]
) -> NDArray[np.float32]:
    assert online.layout is not None
    events = [online.event(transaction) for transaction in transactions]
    async with database.connection() as conn:
        pasts = await store.read(conn, online.layout, events)
    return np.stack([online.vector(transaction, past) for transaction, past in zip(transactions, pasts, strict=True)])


def _batches(frame: pl.DataFrame) -> Iterator[tuple[int, list[Transaction]]]:
    """Rows as a client would send them; what a file reads as missing is left out."""
    for first in range(0, frame.height, _BATCH):
        rows = frame[first : first + _BATCH].to_dicts()
        yield first, [{name: _json(value) for name, value in row.items() if _is_there(value)} for row in rows]


def _is_there(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and not isfinite(value))


def _json(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def _utc(moment: Any) -> datetime:
    assert isinstance(moment, datetime)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


async def run(name: str, rows: int) -> int:
    """Every step; returns the exit status."""
    frame, given = dataset(name, rows)
    async with private_database() as database:
        started = time.perf_counter()
        stored = await store_history(database, frame, given)
        plan = stored.plan
        print(
            f"{frame.height:,} rows, {len(plan.features)} features, {len(plan.history_features)} of them of history: "
            f"batch and backfill in {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        found = await compare(database, stored)
    print(
        f"{found.rows:,} rows recomputed online in {found.seconds:.0f} s, {found.rows / found.seconds:,.0f}/s: "
        f"{found.differing:,} differ"
    )
    for feature, differing in found.by_feature.most_common():
        print(f"  {feature}: {differing:,} rows")
    return 1 if found.differing or found.rows != frame.height else 0


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", choices=["sparkov", "sample"], default="sparkov")
    options = parser.parse_args()
    if options.data != "sample" and (lacking := [f for f in SUBJECTS[options.data].files if not (DATA / f).is_file()]):
        print(f"not measured: {', '.join(lacking)} not found in {DATA}")
        return 0
    return asyncio.run(run(options.data, options.rows))


if __name__ == "__main__":
    sys.exit(main())
