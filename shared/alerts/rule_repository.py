"""Rows of ``alert_rules`` and ``alert_rule_states``."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.alerts.rules import Observation, Rule, RuleSettings
from shared.platform.database import Connection, Row, scalar
from shared.platform.queries import queries

_SQL = queries("alert_rules")


async def _one(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> Row | None:
    return await (await conn.execute(_SQL[statement], parameters)).fetchone()


def _rule(row: Row | None) -> Rule | None:
    return None if row is None else Rule.model_validate(row)


async def insert(
    conn: Connection, rule_id: UUID, settings: RuleSettings, created_by: UUID | None, now: datetime
) -> Rule | None:
    """A new rule; None where the name is taken."""
    parameters = {**settings.model_dump(), "id": rule_id, "created_by": created_by, "now": now}
    return _rule(await _one(conn, "insert_rule", parameters))


async def get(conn: Connection, rule_id: UUID, *, lock: bool = False) -> Rule | None:
    """One rule, with ``lock`` held until the transaction ends."""
    return _rule(await _one(conn, "lock_rule" if lock else "get_rule", {"rule_id": rule_id}))


async def update(conn: Connection, rule_id: UUID, settings: RuleSettings, now: datetime) -> Rule:
    """The rule with other settings.

    :raises psycopg.errors.UniqueViolation: another rule has this name.
    """
    return Rule.model_validate(
        await _one(conn, "update_rule", {**settings.model_dump(), "rule_id": rule_id, "now": now})
    )


async def delete(conn: Connection, rule_id: UUID) -> None:
    """The rule is gone; its alerts stay."""
    await conn.execute(_SQL["delete_rule"], {"rule_id": rule_id})


async def list_page(conn: Connection, filters: Mapping[str, Any], *, limit: int, offset: int) -> tuple[list[Rule], int]:
    """One page, by name, and the number of rules that the filters leave."""
    rows = await (await conn.execute(_SQL["list_rules"], {**filters, "limit": limit, "offset": offset})).fetchall()
    total = scalar(await _one(conn, "count_rules", filters), "total")
    return [Rule.model_validate(row) for row in rows], total


async def active(conn: Connection, metrics: Iterable[str]) -> list[Rule]:
    """The active rules about some metrics."""
    rows = await (await conn.execute(_SQL["active_rules"], {"metrics": list(metrics)})).fetchall()
    return [Rule.model_validate(row) for row in rows]


async def observe(conn: Connection, rule: Rule, seen: Observation, *, broken: bool) -> int | None:
    """How many windows in a row have broken the rule, this one included; None where the window was seen before."""
    parameters = {
        "rule_id": rule.id,
        "model_id": seen.model_id,
        "subject": seen.subject or "",
        "broken": broken,
        "window_end": seen.window_end,
    }
    row = await _one(conn, "observe_window", parameters)
    return None if row is None else row["broken_windows"]
