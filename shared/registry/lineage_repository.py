"""What models were made from, and what was made from datasets, as rows."""

from collections.abc import Sequence
from uuid import UUID

from shared.platform.database import Connection, scalar
from shared.platform.queries import queries
from shared.registry.provenance import Descendant, Provenance, SourceDataset

_SQL = queries("registry")


async def get_provenance(conn: Connection, model_ids: Sequence[UUID]) -> dict[UUID, Provenance]:
    """What the models that exist of these were made from."""
    rows = await (await conn.execute(_SQL["get_provenance"], {"model_ids": list(model_ids)})).fetchall()
    return {found.model.id: found for found in map(Provenance.model_validate, rows)}


async def get_dataset_of(conn: Connection, feature_set_id: UUID) -> UUID | None:
    """The dataset that a feature set was made from; None where there is no such set."""
    row = await (await conn.execute(_SQL["get_dataset_of_feature_set"], {"feature_set_id": feature_set_id})).fetchone()
    return None if row is None else row["dataset_id"]


async def list_ancestors(conn: Connection, dataset_id: UUID) -> list[SourceDataset]:
    """The dataset and those it came from, nearest first; empty where there is no such dataset."""
    rows = await (await conn.execute(_SQL["list_dataset_ancestors"], {"dataset_id": dataset_id})).fetchall()
    return [SourceDataset.model_validate(row) for row in rows]


async def list_children(conn: Connection, dataset_id: UUID) -> list[SourceDataset]:
    """The newest versions made from a dataset."""
    rows = await (await conn.execute(_SQL["list_dataset_children"], {"dataset_id": dataset_id})).fetchall()
    return [SourceDataset.model_validate(row) for row in rows]


async def list_descendants(
    conn: Connection, dataset_id: UUID, feature_set_id: UUID | None, *, limit: int, offset: int
) -> tuple[list[Descendant], int]:
    """One page of what was made from a dataset, or from one feature set of it, and how many rows there are."""
    chosen = {"dataset_id": dataset_id, "feature_set_id": feature_set_id}
    rows = await (await conn.execute(_SQL["list_descendants"], {**chosen, "limit": limit, "offset": offset})).fetchall()
    total = scalar(await (await conn.execute(_SQL["count_descendants"], chosen)).fetchone(), "total")
    return [Descendant.model_validate(row) for row in rows], total
