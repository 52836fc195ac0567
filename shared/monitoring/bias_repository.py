"""Rows of ``protected_attributes`` and ``bias_metrics``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from psycopg.types.json import Jsonb

from shared.monitoring.bias_model import AttributeBias, BiasMetric, NewProtectedAttribute, ProtectedAttribute
from shared.monitoring.windows import Span
from shared.platform.database import Connection, Row
from shared.platform.queries import queries

_SQL = queries("bias")
_LONGEST_NAME = 100


def _parameters(attribute: NewProtectedAttribute) -> dict[str, Any]:
    given = attribute.model_dump(include=set(NewProtectedAttribute.model_fields))
    return {**given, "groups": Jsonb(attribute.groups), "thresholds": Jsonb(attribute.thresholds)}


def _attribute(row: Row | None) -> ProtectedAttribute | None:
    return None if row is None else ProtectedAttribute.model_validate(row)


async def insert_attribute(
    conn: Connection, attribute: NewProtectedAttribute, created_by: UUID | None, now: datetime
) -> ProtectedAttribute | None:
    """A new attribute; None where the name is taken."""
    parameters = {**_parameters(attribute), "id": uuid4(), "created_by": created_by, "now": now}
    return _attribute(await (await conn.execute(_SQL["insert_attribute"], parameters)).fetchone())


async def lock_attribute(conn: Connection, attribute_id: UUID) -> ProtectedAttribute | None:
    """One attribute, held until the transaction ends."""
    cursor = await conn.execute(_SQL["lock_attribute"], {"attribute_id": attribute_id})
    return _attribute(await cursor.fetchone())


async def update_attribute(
    conn: Connection, attribute_id: UUID, attribute: NewProtectedAttribute, *, is_active: bool, now: datetime
) -> ProtectedAttribute:
    """The attribute with other settings.

    :raises psycopg.errors.UniqueViolation: another one has this name.
    """
    parameters = {**_parameters(attribute), "attribute_id": attribute_id, "is_active": is_active, "now": now}
    return ProtectedAttribute.model_validate(
        await (await conn.execute(_SQL["update_attribute"], parameters)).fetchone()
    )


async def list_attributes(conn: Connection) -> list[ProtectedAttribute]:
    """Every attribute, by name."""
    rows = await (await conn.execute(_SQL["list_attributes"])).fetchall()
    return [ProtectedAttribute.model_validate(row) for row in rows]


async def store_window(
    conn: Connection, model_id: UUID, span: Span, found: Sequence[AttributeBias], now: datetime
) -> None:
    """The figures of a window, in place of what was said of it before."""
    window = {"model_id": model_id, "window_start": span[0], "window_end": span[1]}
    await conn.execute(_SQL["forget_bias_of_window"], window)
    rows = [
        {
            "id": uuid4(),
            "protected_attribute": each.attribute[:_LONGEST_NAME],
            "metric_name": figure.metric,
            "overall_value": figure.value,
            "group_values": figure.groups,
            "status": figure.status.value,
            "threshold_used": figure.threshold,
            "sample_size": sum(figure.sizes.values()),
            "group_sizes": figure.sizes,
            "interval_low": figure.low,
            "interval_high": figure.high,
            "p_value": figure.p,
        }
        for each in found
        for figure in each.figures
    ]
    await conn.execute(_SQL["insert_bias_metrics"], {**window, "rows": orjson.dumps(rows).decode(), "now": now})


async def list_metrics(
    conn: Connection, filters: dict[str, Any], *, before: tuple[datetime, UUID], limit: int
) -> list[BiasMetric]:
    """A page of figures, newest first, from behind the position ``before`` on."""
    parameters = {**filters, "before": before[0], "before_id": before[1], "limit": limit}
    rows = await (await conn.execute(_SQL["list_bias_metrics"], parameters)).fetchall()
    return [BiasMetric.model_validate(row) for row in rows]
