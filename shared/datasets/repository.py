"""Rows of ``datasets``."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.datasets.model import Dataset, DatasetStatus, NewDataset, Profile, data_path
from shared.platform.database import Connection, scalar
from shared.platform.queries import queries

_SQL = queries("datasets")


async def insert(
    conn: Connection,
    dataset_id: UUID,
    new: NewDataset,
    profile: Profile,
    *,
    version: str,
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
        "created_by": created_by,
    }
    return Dataset.model_validate(await (await conn.execute(_SQL["insert_dataset"], parameters)).fetchone())


async def get(conn: Connection, dataset_id: UUID) -> Dataset | None:
    """One dataset."""
    row = await (await conn.execute(_SQL["get_dataset"], {"dataset_id": dataset_id})).fetchone()
    return None if row is None else Dataset.model_validate(row)


async def list_page(
    conn: Connection, *, name: str | None, status: DatasetStatus | None, limit: int, offset: int
) -> tuple[list[Dataset], int]:
    """One page, newest first, and the number of datasets that the filters leave."""
    escaped = None if name is None else name.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    filters: dict[str, Any] = {"name": escaped, "status": status}
    rows = await (await conn.execute(_SQL["list_datasets"], {**filters, "limit": limit, "offset": offset})).fetchall()
    total = scalar(await (await conn.execute(_SQL["count_datasets"], filters)).fetchone(), "total")
    return [Dataset.model_validate(row) for row in rows], total
