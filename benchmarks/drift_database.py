"""Folding predictions and reading windows, on a PostgreSQL of one's own; called by ``benchmarks.drift --database``.

A million predictions of one model over 91 days, each with an input of 30 keys as JSONB and its cells, as scoring stores
them. Times are wall seconds of one worker and the server together.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, cast
from uuid import UUID, uuid4

import numpy as np
import orjson
from psycopg.types.json import Jsonb

from benchmarks.drift_data import NAMES, NUMBERS, categories, count, numbers, profile_of
from benchmarks.private_database import private_database
from shared.alerts.service import AlertService
from shared.monitoring.cells import CellEncoder
from shared.monitoring.drift import window_drift
from shared.monitoring.folding import FoldService
from shared.monitoring.reference import Reference, References
from shared.monitoring.rollup import RollupLayout
from shared.monitoring.windows import Windows, same_hours_of_the_week
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.scoring.identifiers import prediction_id

_DAYS = 91
_START = datetime(2026, 1, 5, tzinfo=UTC)
_POOL = 20_000  # different inputs; what is counted does not depend on how many there are


class _OneReference:
    """In place of files in Blob: what they would hold."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    async def get(self, model_id: UUID) -> Reference:
        """The reference of the one model."""
        assert model_id == self._reference.model_id
        return self._reference


async def measure(rows: int) -> None:
    """Store, fold, read; print the table."""
    rng = np.random.default_rng(3)
    matrix, codes = numbers(rng, 100_000), categories(rng, 100_000)
    scores = rng.beta(0.5, 20, 100_000).astype(np.float32)
    profile = profile_of(matrix, codes, scores)
    reference = Reference(
        model_id=uuid4(),
        name="fraud",
        version="1.0",
        threshold=0.5,
        profile=profile,
        encoder=cast(CellEncoder, None),  # every row has its cells
        layout=RollupLayout.of(profile),
        importance={},
        until=None,
    )
    training = count(profile, matrix, codes, scores)
    async with private_database() as database:
        await _store(database, reference, rows, rng)
        alerts = AlertService(database, utc_now)
        folding = FoldService(database, cast(References, _OneReference(reference)), alerts, utc_now)
        server = await _server(database)
        print(f"{'what':<44} {'s':>8} {'processor s':>12}")
        with _timed(server, f"fold {rows:,} predictions", "(under 5)"):
            assert await folding.fold(reference.model_id) == rows
        with _timed(server, "fold again, nothing new"):
            await folding.fold(reference.model_id)
        windows, end = Windows(database), _START + timedelta(days=_DAYS)
        for days in (1, 7, 30, 90, 90):  # the first reading prepares what all others use
            span = end - timedelta(days=days), end
            with _timed(server, f"window of {days} days, statistics", "(under 0.25)"):
                current = await windows.counts(reference, [span])
                window_drift(profile, reference.layout, training, current.counts)
        span = end - timedelta(days=1), end
        with _timed(server, "the same hours of four weeks"):
            await windows.counts(reference, same_hours_of_the_week(span, 4))
        with _timed(server, "cube of 90 days"):
            await windows.cube(reference, (end - timedelta(days=90), end))
        async with database.connection() as conn:
            size = await (
                await conn.execute("SELECT pg_total_relation_size('prediction_rollups') / 1048576.0 AS mb")
            ).fetchone()
            assert size is not None
            print(f"{'rollups on disk, MB':<44} {float(size['mb']):>8.1f}")


@contextmanager
def _timed(server: int, what: str, goal: str = "") -> Iterator[None]:
    wall, processor = perf_counter(), process_time() + _children(server)
    yield
    wall, processor = perf_counter() - wall, process_time() + _children(server) - processor
    print(f"{what:<44} {wall:>8.3f} {processor:>12.2f}  {goal}")


async def _server(database: Database) -> int:
    """The process that all backends are children of."""
    async with database.connection() as conn:
        status = Path(f"/proc/{conn.info.backend_pid}/stat").read_text()
    return int(status.rpartition(")")[2].split()[1])


def _children(parent: int) -> float:
    """Processor seconds of the children that a process has."""
    ticks = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == parent:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def _store(database: Database, reference: Reference, rows: int, rng: np.random.Generator) -> None:
    matrix, codes = numbers(rng, _POOL), categories(rng, _POOL)
    scores = rng.beta(0.5, 20, _POOL).astype(np.float32)
    profile = reference.profile
    assert profile.scores is not None
    cells = np.hstack([profile.encode(matrix), codes, profile.scores.encode(scores)[:, None]])
    documents = []
    for vector, words in zip(matrix.tolist(), codes.tolist(), strict=True):
        features: dict[str, Any] = dict(zip(NAMES, [None if v != v else v for v in vector], strict=False))
        features |= {name: f"{word:02}" for name, word in zip(NAMES[NUMBERS:], words, strict=True)}
        documents.append(orjson.dumps({"transaction": {}, "features": features}).decode())
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics,"
            " artifact_sha256) VALUES (%s, 'fraud', '1.0', 'xgboost', %s, 'models/x', %s, %s)",
            (reference.model_id, Jsonb({}), Jsonb({}), "0" * 64),
        )
        await conn.execute("SELECT ensure_predictions_partitions('2026-01-01', 6)")
        copy = (
            "COPY predictions (id, model_id, input_features, fraud_score, is_fraud, latency_ms, created_at, cells)"
            " FROM STDIN"
        )
        chosen = rng.integers(0, _POOL, rows)
        seconds = np.sort(rng.random(rows)) * _DAYS * 86_400
        async with conn.cursor() as cursor, cursor.copy(copy) as lines:
            for position, after in zip(chosen.tolist(), seconds.tolist(), strict=True):
                at = _START + timedelta(milliseconds=int(after * 1000))
                score = float(scores[position])
                await lines.write_row(
                    (
                        prediction_id(at),
                        reference.model_id,
                        documents[position],
                        score,
                        score >= 0.5,
                        9,
                        at,
                        cells[position].tobytes(),
                    )
                )
        await conn.execute("VACUUM ANALYZE predictions")
