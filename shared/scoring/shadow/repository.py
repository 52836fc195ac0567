"""Rows of ``challengers`` and ``shadow_predictions``, and the predictions that challengers follow."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from shared.platform.database import Connection, Row
from shared.platform.queries import queries
from shared.scoring.shadow.model import Challenger, Followed, Period, ShadowPrediction
from shared.scoring.shadow.report import Disagreement, Pairs, Scores, Tenth

_SQL = queries("shadow")


async def lock(conn: Connection) -> None:
    """Let nobody else start a challenger until the transaction ends."""
    await conn.execute(_SQL["lock_challengers"])


async def get(conn: Connection, model_id: UUID) -> Challenger | None:
    """One challenger, stopped or not."""
    row = await (await conn.execute(_SQL["get_challenger"], {"model_id": model_id})).fetchone()
    return None if row is None else Challenger.model_validate(row)


async def list_active(conn: Connection) -> list[Challenger]:
    """Those that score, oldest first."""
    rows = await (await conn.execute(_SQL["list_challengers"])).fetchall()
    return [Challenger.model_validate(row) for row in rows]


async def start(conn: Connection, model_id: UUID, *, started_by: UUID | None, now: datetime) -> None:
    """A model scores in the shadow from ``now`` on."""
    await conn.execute(_SQL["start_challenger"], {"model_id": model_id, "started_by": started_by, "now": now})


async def stop(conn: Connection, model_id: UUID, now: datetime) -> bool:
    """Whether it scored until now."""
    cursor = await conn.execute(_SQL["stop_challenger"], {"model_id": model_id, "now": now})
    return await cursor.fetchone() is not None


async def stop_those_that_left_staging(conn: Connection, now: datetime) -> list[UUID]:
    """The challengers that were promoted or archived."""
    rows = await (await conn.execute(_SQL["stop_those_that_left_staging"], {"now": now})).fetchall()
    return [row["model_id"] for row in rows]


async def list_followed(conn: Connection, challenger: Challenger, until: datetime, limit: int) -> list[Followed]:
    """The next predictions of models in production, oldest first."""
    parameters = {
        "challenger_id": challenger.model_id,
        "after": challenger.position_at,
        "after_id": challenger.position_id,
        "until": until,
        "limit": limit,
    }
    rows = await (await conn.execute(_SQL["list_production_predictions"], parameters)).fetchall()
    return [Followed(**row, **orjson.loads(inputs)) for row in rows if (inputs := row.pop("input_features"))]


async def store(conn: Connection, challenger_id: UUID, rows: Sequence[ShadowPrediction]) -> None:
    """Store what was decided, and that the challenger has come to the last of them."""
    parameters = {
        "challenger_id": challenger_id,
        "created": [row.of.created_at for row in rows],
        "ids": [row.of.id for row in rows],
        "champions": [row.of.model_id for row in rows],
        "champion_scores": [row.of.fraud_score for row in rows],
        "champion_flags": [row.of.is_fraud for row in rows],
        "scores": [row.score for row in rows],
        "flags": [row.is_fraud for row in rows],
        "amounts": [row.amount for row in rows],
    }
    await conn.execute(_SQL["store_shadow_predictions"], parameters)
    last = rows[-1].of
    position = {"challenger_id": challenger_id, "position_at": last.created_at, "position_id": last.id}
    await conn.execute(_SQL["advance_challenger"], position)


async def forget(conn: Connection, before: datetime, limit: int) -> int:
    """Delete at most ``limit`` rows of predictions made before a moment; returns how many."""
    return (await conn.execute(_SQL["forget_shadow_predictions"], {"before": before, "limit": limit})).rowcount


async def count_decisions(conn: Connection, challenger_id: UUID, period: Period) -> list[Pairs]:
    """Pairs of decisions."""
    return [
        Pairs(row["champion_is_fraud"], row["is_fraud"], row["count"], row["amount"])
        for row in await _rows(conn, "count_decisions", challenger_id, period)
    ]


async def count_labelled(conn: Connection, challenger_id: UUID, period: Period) -> list[Pairs]:
    """Pairs of decisions whose label is known, by label."""
    return [
        Pairs(row["champion_is_fraud"], row["is_fraud"], row["count"], row["amount"], row["actual_label"])
        for row in await _rows(conn, "count_labelled_decisions", challenger_id, period)
    ]


async def compare_scores(conn: Connection, challenger_id: UUID, period: Period) -> tuple[Scores, list[UUID]]:
    """How the scores lie to each other, and whose they are besides the challenger's."""
    row = (await _rows(conn, "compare_scores", challenger_id, period))[0]
    tenths = await _rows(conn, "count_scores", challenger_id, period)
    scores = Scores(
        correlation=row["correlation"],
        champion_mean=row["champion_mean"],
        challenger_mean=row["mean"],
        mean_absolute_difference=row["mean_difference"],
        tenths=[Tenth(low=t["tenth"] / 10, champion=t["champion"], challenger=t["challenger"]) for t in tenths],
    )
    return scores, row["champions"] or []


async def list_disagreements(
    conn: Connection, challenger_id: UUID, period: Period, *, blocked: bool, limit: int
) -> list[Disagreement]:
    """Predictions that only the challenger blocks, or only the champion, the largest amounts first."""
    rows = await _rows(conn, "list_disagreements", challenger_id, period, is_fraud=blocked, limit=limit)
    return [Disagreement(**row, challenger_score=row.pop("fraud_score")) for row in rows]


async def _rows(conn: Connection, statement: str, challenger_id: UUID, period: Period, **more: Any) -> list[Row]:
    parameters = {"challenger_id": challenger_id, "start": period.start, "until": period.until, **more}
    return await (await conn.execute(_SQL[statement], parameters)).fetchall()
