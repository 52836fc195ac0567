"""What must hold afterwards: rows against answers, and model ids against promotions."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
from psycopg.rows import dict_row

from benchmarks.faults.load import Sent
from benchmarks.faults.world import World

_ROWS = "SELECT transaction_id, id::text, model_id::text, fraud_score, is_fraud FROM predictions"
_PROMOTIONS = """
    SELECT model_id::text, extract(epoch FROM promoted_at)::float8 AS at
    FROM model_promotions
    WHERE to_status = 'PRODUCTION'
    ORDER BY promoted_at
"""
_SAME = {"prediction_id": "id", "model_id": "model_id", "fraud_score": "fraud_score", "is_fraud": "is_fraud"}
DOCUMENTED = frozenset({200, 503})
"""What a client that sends sound transactions is told."""


def violations(world: World, sent: Sequence[Sent], conn: psycopg.Connection[Any]) -> list[str]:
    """Every promise that was broken, in words; none is the aim."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_ROWS).fetchall()
        promotions = cursor.execute(_PROMOTIONS).fetchall()
    requests = _together(sent)
    found = _refusals(sent)
    stored = Counter(row["transaction_id"] for row in rows)
    found += [f"{name} is stored {times} times" for name, times in stored.items() if times > 1 and name in requests]
    by_name = {row["transaction_id"]: row for row in rows}
    found += [fault for request in sent if request.answer is not None for fault in _lost(request, by_name)]
    for row in rows:
        if (request := requests.get(row["transaction_id"])) is not None:
            found += _misnamed(world, request, row)
    return found + _untimely(world, promotions)


def _together(sent: Sequence[Sent]) -> dict[str, Sent]:
    """Each transaction from the beginning of its first attempt to the end of its last."""
    found: dict[str, Sent] = {}
    for request in sent:
        first = found.get(request.transaction_id, request)
        found[request.transaction_id] = replace(request, began=min(first.began, request.began))
    return found


def _refusals(sent: Sequence[Sent]) -> list[str]:
    found = [f"{r.transaction_id}: {r.status}" for r in sent if r.status not in (DOCUMENTED | {None})]
    found += [f"{r.transaction_id}: {r.fault}" for r in sent if r.status is not None and r.fault is not None]
    return found + [f"{r.transaction_id} hung" for r in sent if r.fault == "hung"]


def _lost(request: Sent, rows: dict[str, dict[str, Any]]) -> list[str]:
    """An acknowledged row must be there as it was answered."""
    row = rows.get(request.transaction_id)
    if row is None:
        return [f"{request.transaction_id} was answered and is not stored"]
    assert request.answer is not None
    return [
        f"{request.transaction_id}: {field} was answered as {request.answer[field]}, stored as {row[column]}"
        for field, column in _SAME.items()
        if request.answer[field] != row[column]
    ]


def _misnamed(world: World, request: Sent, row: dict[str, Any]) -> list[str]:
    """The score must be the named model's, and that must have been in production while the request was under way."""
    model_id = row["model_id"]
    if model_id not in world.scores:
        return [f"{request.transaction_id} names {model_id}, which never was in production"]
    expected = world.scores[model_id][request.body]
    found = []
    if row["fraud_score"] != expected:
        found.append(f"{request.transaction_id} has the score {row['fraud_score']}, its model gives {expected}")
    if model_id not in _in_production(world, request.began, request.ended):
        found.append(f"{request.transaction_id} names {model_id}, which was not in production then")
    return found


def _in_production(world: World, since: float, until: float) -> set[str]:
    """Models in production at any moment between; a switch may have been seen from its beginning to its end."""
    begins = [switch.began for switch in world.switches]
    ends = [switch.ended for switch in world.switches]
    first = max(bisect_right(ends, since) - 1, 0)
    return {switch.model_id for switch in world.switches[first : bisect_right(begins, until)]}


def _untimely(world: World, promotions: list[dict[str, Any]]) -> list[str]:
    """The history of promotions must say the same as whoever promoted."""
    if [row["model_id"] for row in promotions] != [switch.model_id for switch in world.switches]:
        return ["model_promotions lists other promotions than were made"]
    return [
        f"{row['model_id']} was promoted at {row['at']}, between {switch.began} and {switch.ended} by the clock outside"
        for row, switch in zip(promotions, world.switches, strict=True)
        if not switch.began <= row["at"] <= switch.ended
    ]
