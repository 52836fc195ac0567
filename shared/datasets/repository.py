"""Rows of ``datasets``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.datasets.model import (
    Dataset,
    DatasetFilter,
    DatasetSchema,
    DatasetStatus,
    DatasetSummary,
    Dependent,
    NewDataset,
    Profile,
    data_path,
)
from shared.datasets.versions import Version, schema_changes
from shared.platform.database import Connection, Row
from shared.platform.listing import Listing, Page
from shared.platform.queries import queries

_SQL = queries("datasets")
_CATALOGUE = Listing(
    _SQL["list_datasets"],
    _SQL["count_datasets"],
    table="d",
    sorts={"created_at": "created_at", "name": "name", "row_count": "row_count"},
)


async def _one(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> Row | None:
    return await (await conn.execute(_SQL[statement], parameters)).fetchone()


async def insert(
    conn: Connection,
    dataset_id: UUID,
    new: NewDataset,
    profile: Profile,
    *,
    version: str,
    parent_id: UUID | None,
    file_size_bytes: int,
    created_by: UUID | None,
) -> Dataset:
    """A dataset whose file lies at its storage path."""
    parameters = {
        "id": dataset_id,
        "name": new.name,
        "description": new.description,
        "version": version,
        "storage_path": data_path(dataset_id),
        "file_format": "parquet",
        "file_size_bytes": file_size_bytes,
        "row_count": profile.row_count,
        "column_count": len(profile.schema.columns),
        "schema": Jsonb(profile.schema.model_dump()),
        "statistics": Jsonb(profile.statistics.model_dump()),
        "quality": Jsonb(profile.quality.model_dump(mode="json")),
        "parent_id": parent_id,
        "created_by": created_by,
    }
    return Dataset.model_validate(await _one(conn, "insert_dataset", parameters))


async def get(conn: Connection, dataset_id: UUID, *, lock: bool = False) -> Dataset | None:
    """One dataset; with ``lock`` nothing can be made from it until the transaction ends."""
    row = await _one(conn, "lock_dataset" if lock else "get_dataset", {"dataset_id": dataset_id})
    return None if row is None else Dataset.model_validate(row)


async def lock_line(conn: Connection, dataset_id: UUID) -> UUID | None:
    """The first version of the line that a dataset belongs to, held until the transaction ends; None without one."""
    row = await _one(conn, "lock_line", {"dataset_id": dataset_id})
    return None if row is None else row["id"]


async def list_line(conn: Connection, root_id: UUID) -> list[tuple[UUID, str]]:
    """Id and number of each version of a line, newest first."""
    rows = await (await conn.execute(_SQL["list_line"], {"root_id": root_id})).fetchall()
    return [(row["id"], row["version"]) for row in rows]


async def list_versions(
    conn: Connection, dataset_id: UUID, *, limit: int, offset: int
) -> tuple[list[Version], int | None]:
    """One page of a dataset's line, last version first, and how many there are (None for a page behind them)."""
    parameters = {"dataset_id": dataset_id, "limit": limit, "offset": offset}
    rows = await (await conn.execute(_SQL["list_versions"], parameters)).fetchall()
    return [_version(row) for row in rows], rows[0]["total"] if rows else None


def _version(row: Row) -> Version:
    schemas = (row["parent_schema"], row["schema"])
    known = all(schema is not None for schema in schemas)
    changes = schema_changes(*(DatasetSchema.model_validate(schema) for schema in schemas)) if known else None
    return Version.model_validate({**row, "changes": changes})


async def set_status(conn: Connection, dataset_id: UUID, status: DatasetStatus, now: datetime) -> Dataset:
    """Archive or restore a dataset that exists."""
    parameters = {"dataset_id": dataset_id, "status": status, "now": now}
    return Dataset.model_validate(await _one(conn, "set_status", parameters))


async def delete(conn: Connection, dataset_id: UUID) -> None:
    """The row alone; the caller has seen to it that nothing was made from it."""
    await conn.execute(_SQL["delete_dataset"], {"dataset_id": dataset_id})


async def list_dependents(conn: Connection, dataset_id: UUID, limit: int) -> tuple[list[Dependent], int]:
    """What was made from a dataset, ``limit`` of it, and how much there is."""
    parameters = {"dataset_id": dataset_id, "limit": limit}
    rows = await (await conn.execute(_SQL["list_dependents"], parameters)).fetchall()
    return [Dependent.model_validate(row) for row in rows], rows[0]["total"] if rows else 0


async def existing(conn: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Those of ``ids`` that are datasets."""
    rows = await (await conn.execute(_SQL["list_existing"], {"ids": list(ids)})).fetchall()
    return {row["id"] for row in rows}


async def list_page(conn: Connection, which: DatasetFilter, page: Page) -> tuple[list[DatasetSummary], int]:
    """One page of the catalogue, and the number of datasets that the filters leave."""
    filters = {**asdict(which), "statuses": [status.value for status in which.statuses]}
    async with conn.transaction():
        if which.search is not None:
            await conn.execute(_SQL["prefer_indexes"])
        rows, total = await _CATALOGUE.read(conn, filters, page)
    return [DatasetSummary.model_validate(row) for row in rows], total
