"""Rows of ``feature_sets``."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.features.config import FeatureConfig
from shared.features.model import (
    FeatureSet,
    FeatureSetFiles,
    FeatureSetFilter,
    FeatureSetRequest,
    Progress,
    SourceDataset,
    orchestration_id_of,
)
from shared.platform.database import Connection, Row
from shared.platform.listing import Listing, Page
from shared.platform.queries import queries

_SQL = queries("features")
_FEATURE_SETS = Listing(
    _SQL["list_feature_sets"],
    _SQL["count_feature_sets"],
    table="fs",
    sorts={"created_at": "created_at", "name": "name", "status": "status"},
)


async def _row(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> Row | None:
    return await (await conn.execute(_SQL[statement], parameters)).fetchone()


async def _feature_set(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> FeatureSet | None:
    row = await _row(conn, statement, parameters)
    return None if row is None else FeatureSet.model_validate(row)


async def insert(
    conn: Connection,
    feature_set_id: UUID,
    request: FeatureSetRequest,
    config: FeatureConfig,
    *,
    plan_given: bool,
    created_by: UUID | None,
    now: datetime,
) -> FeatureSet:
    """A pending feature set; ``config`` is complete."""
    parameters = {
        "id": feature_set_id,
        "dataset_id": request.dataset_id,
        "name": request.output_name,
        "description": request.description,
        "config": Jsonb(config.model_dump(mode="json")),
        "plan_given": plan_given,
        "plan_of": request.plan_of,
        "progress": _json(Progress()),
        "storage_path": FeatureSetFiles(feature_set_id).prefix,
        "orchestration_id": orchestration_id_of(feature_set_id),
        "created_by": created_by,
        "now": now,
    }
    return FeatureSet.model_validate(await _row(conn, "insert_feature_set", parameters))


async def get(conn: Connection, feature_set_id: UUID, *, lock: bool = False) -> FeatureSet | None:
    """One feature set, with ``lock`` held until the transaction ends."""
    statement = "lock_feature_set" if lock else "get_feature_set"
    return await _feature_set(conn, statement, {"feature_set_id": feature_set_id})


async def list_page(conn: Connection, which: FeatureSetFilter, page: Page) -> tuple[list[FeatureSet], int]:
    """One page without configuration and reports, and how many the filters leave."""
    rows, total = await _FEATURE_SETS.read(conn, asdict(which), page)
    return [FeatureSet.model_validate(row) for row in rows], total


async def get_source(conn: Connection, dataset_id: UUID) -> SourceDataset | None:
    """The dataset to compute features of."""
    row = await _row(conn, "get_source_dataset", {"dataset_id": dataset_id})
    return None if row is None else SourceDataset.model_validate(row)


async def hold_source(conn: Connection, dataset_id: UUID) -> str | None:
    """The status of the dataset, held until the transaction ends; None where there is none."""
    row = await _row(conn, "hold_source_dataset", {"dataset_id": dataset_id})
    return None if row is None else row["status"]


async def update_progress(
    conn: Connection, feature_set_id: UUID, progress: Progress, *, input_rows: int | None = None
) -> FeatureSet | None:
    """The feature set, now PROCESSING; None if it has ended."""
    parameters = {"feature_set_id": feature_set_id, "progress": _json(progress), "input_rows": input_rows}
    return await _feature_set(conn, "update_progress", parameters)


async def complete(
    conn: Connection,
    feature_set_id: UUID,
    progress: Progress,
    *,
    all_features: list[dict[str, Any]],
    selected_features: list[dict[str, Any]],
    selection_report: Mapping[str, Any],
    content_hash: str,
    now: datetime,
) -> FeatureSet | None:
    """The completed feature set; None unless it was PROCESSING."""
    parameters = {
        "feature_set_id": feature_set_id,
        "progress": _json(progress),
        "all_features": Jsonb(all_features),
        "selected_features": Jsonb(selected_features),
        "selection_report": Jsonb(dict(selection_report)),
        "feature_count": len(all_features),
        "selected_feature_count": len(selected_features),
        "content_hash": content_hash,
        "now": now,
    }
    return await _feature_set(conn, "complete_feature_set", parameters)


async def fail(
    conn: Connection, feature_set_id: UUID, progress: Progress, message: str, now: datetime
) -> FeatureSet | None:
    """The failed feature set; None if it had ended before."""
    parameters = {
        "feature_set_id": feature_set_id,
        "progress": _json(progress),
        "error_message": message,
        "now": now,
    }
    return await _feature_set(conn, "fail_feature_set", parameters)


async def list_unfinished(conn: Connection, before: datetime) -> list[tuple[UUID, str]]:
    """Ids and orchestrations of sets that were asked for before ``before`` and have not ended."""
    rows = await (await conn.execute(_SQL["list_unfinished_feature_sets"], {"before": before})).fetchall()
    return [(row["id"], row["orchestration_id"]) for row in rows]


def _json(progress: Progress) -> Jsonb:
    return Jsonb(progress.model_dump(mode="json"))
