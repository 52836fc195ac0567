"""The Parquet files of an archive: written, described, and read back."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.archiving.model import ArchiveDamaged, Part
from shared.platform.database import Row

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["predictions", "labels"]

#: Columns that say where a row is in the order of its kind, and when its prediction was made.
_KEY: Final = {"predictions": ("id",), "labels": ("prediction_created_at", "prediction_id", "id")}
_CREATED_AT: Final = {"predictions": "created_at", "labels": "prediction_created_at"}
_READ_AT_ONCE: Final = 1 << 20  # bytes


def schema(kind: Kind) -> "dict[str, pl.DataType]":
    """The columns of a file, in the order of the query that reads them; JSON and ids are text."""
    import polars as pl

    text, flag, time = pl.String(), pl.Boolean(), pl.Datetime("us", "UTC")
    if kind == "predictions":
        return {
            "id": text, "model_id": text, "transaction_id": text, "input_features": text, "fraud_score": pl.Float64(),
            "is_fraud": flag, "confidence": pl.Float64(), "explanation": text, "actual_label": flag,
            "labeled_at": time, "latency_ms": pl.Int32(), "created_at": time, "cells": pl.Binary(),
        }  # fmt: skip
    return {
        "id": pl.Int64(), "prediction_id": text, "prediction_created_at": time, "model_id": text, "is_fraud": flag,
        "labeled_at": time, "source": text, "recorded_at": time, "recorded_by": text, "previous": flag,
    }  # fmt: skip


def frame(kind: Kind, rows: Sequence[Row]) -> "pl.DataFrame":
    """Rows of the database as the file keeps them."""
    import polars as pl

    return pl.DataFrame(rows, schema=schema(kind), orient="row")


def write(kind: Kind, frames: "Sequence[pl.DataFrame]", prefix: str, number: int, local: Path) -> Part:
    """Write one file at ``local``, and describe it. Its name holds its hash: different contents never share a path."""
    import polars as pl

    table = pl.concat(frames)
    table.write_parquet(local, compression="zstd")
    sha256 = _sha256(local)
    name = "part" if kind == "predictions" else "labels"
    return _described(table, kind, f"{prefix}{name}-{number}-{sha256[:12]}.parquet", local, sha256)


def check(part: Part, local: Path) -> None:
    """Return when the file ``local`` is what ``part`` describes.

    :raises ArchiveDamaged: another hash, or other rows.
    """
    if _sha256(local) != part.sha256:
        raise ArchiveDamaged("the file has another SHA-256 than the manifest says", target=part.path)
    if _described(_read(part, local), part.kind, part.path, local, part.sha256) != part:
        raise ArchiveDamaged("the file holds other rows than the manifest says", target=part.path)


def columns(part: Part, local: Path) -> list[str]:
    """The columns of a checked file."""
    return _read(part, local).columns


def records(part: Part, local: Path, *, at_once: int) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a checked file, some at a time."""
    for piece in _read(part, local).iter_slices(at_once):
        yield piece.rows()


def _read(part: Part, local: Path) -> "pl.DataFrame":
    import polars as pl

    try:
        return pl.read_parquet(local)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArchiveDamaged("the file cannot be read", target=part.path) from error


def _described(table: "pl.DataFrame", kind: Kind, path: str, local: Path, sha256: str) -> Part:
    times = table[_CREATED_AT[kind]]
    return Part(
        kind=kind,
        path=path,
        rows=table.height,
        bytes=local.stat().st_size,
        sha256=sha256,
        first=position(kind, table.row(0, named=True)),
        last=position(kind, table.row(-1, named=True)),
        earliest=_moment(times.min()),
        latest=_moment(times.max()),
    )


def position(kind: Kind, row: Row) -> str:
    """Where a row is in the order of its kind."""
    values = [row[name] for name in _KEY[kind]]
    return "|".join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)


def _moment(value: object) -> datetime:
    assert isinstance(value, datetime)
    return value.astimezone(UTC)


def _sha256(local: Path) -> str:
    digest = hashlib.sha256()
    with local.open("rb") as file:
        while chunk := file.read(_READ_AT_ONCE):
            digest.update(chunk)
    return digest.hexdigest()
