"""Challengers: they follow what production has scored, in their own time, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from shared.alerts.model import AlertStatus
from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.features.batch import transform
from shared.features.config import FeatureConfig
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Connection, Database, Row
from shared.platform.errors import Conflict, NotFound
from shared.registry.service import RegistryService
from shared.scoring.service import ScoringService
from shared.scoring.shadow.model import Challenger, Period
from shared.scoring.shadow.report import ShadowReport
from shared.scoring.shadow.service import ShadowService
from shared.training.artifacts import ModelArtifact
from shared.users.model import Caller
from tests.fixtures.artifacts import packed_model
from tests.fixtures.serving import registered
from tests.integration.test_history_scoring import CONFIG, as_request, transactions

KINDS = ["card", "bank", "gift", "cash"]
ORDERS = pl.DataFrame(
    {
        "amount": np.linspace(1, 500, 200),
        "kind": KINDS * 50,
        "is_fraud": [int(n % 4 == 2) for n in range(200)],
    }
)
OTHERS = ORDERS.with_columns(pl.Series("is_fraud", [int(n >= 150) for n in range(200)]))
WITH_COUNTRY = ORDERS.with_columns(country=pl.Series(["de", "fr"] * 100))


class Shadow:
    """Scoring and its challengers on real parts; the challengers' clock can run ahead."""

    def __init__(self, database: Database, blobs: BlobStore, origin: Origin, caller: Caller) -> None:
        self.database = database
        self.blobs = blobs
        self.ahead = timedelta(0)
        self.alerts = AlertService(database, utc_now)
        self.registry = RegistryService(database)
        self.scoring = ScoringService(database, blobs, self.registry, self.alerts, utc_now)
        self.service = self.fresh()
        self._who: dict[str, Any] = {"caller": caller, "origin": origin}

    def fresh(self) -> ShadowService:
        """The service of a worker that has just started."""
        scoring = ScoringService(self.database, self.blobs, self.registry, self.alerts, self.clock)
        return ShadowService(
            self.database,
            self.registry,
            scoring.models,
            scoring.history,
            self.alerts,
            self.clock,
            retention=timedelta(days=30),
        )

    def clock(self) -> datetime:
        """Now, or later."""
        return utc_now() + self.ahead

    async def model(self, artifact: ModelArtifact, status: str = "STAGING") -> UUID:
        """A registered model."""
        return await registered(self.database, self.blobs, artifact, status=status)

    async def challenged(self, artifact: ModelArtifact) -> UUID:
        """A challenger."""
        model_id = await self.model(artifact)
        await self.start(model_id)
        return model_id

    async def start(self, model_id: UUID) -> Challenger:
        """Let it score."""
        return await self.service.start(model_id, **self._who)

    async def stop(self, model_id: UUID) -> Challenger:
        """Let it score no longer."""
        return await self.service.stop(model_id, **self._who)

    async def score(self, *sent: dict[str, Any]) -> list[UUID]:
        """Transactions in production; the ids of the predictions."""
        answers = [await self.scoring.score(each, model_id=None, explain=False) for each in sent]
        return [answer.prediction.id for answer in answers]

    async def follow(self) -> int:
        """A run, when what was scored has settled."""
        self.ahead = timedelta(minutes=2)
        followed = await self.service.follow()
        self.ahead = timedelta(0)
        return followed

    async def rows(self, model_id: UUID) -> dict[UUID, Row]:
        """What a challenger would have decided, by prediction."""
        async with self.database.connection() as conn:
            cursor = await conn.execute("SELECT * FROM shadow_predictions WHERE challenger_id = %s", (model_id,))
            return {row["prediction_id"]: row for row in await cursor.fetchall()}

    async def report(self, model_id: UUID, examples: int = 5) -> ShadowReport:
        """Of the last hour."""
        now = utc_now()
        return await self.service.report(model_id, Period(now - timedelta(hours=1), now), examples=examples)

    async def set_status(self, model_id: UUID, status: str) -> None:
        """As a promotion or an archiving leaves the row."""
        async with self.database.connection() as conn:
            await conn.execute("UPDATE ml_models SET status = %s WHERE id = %s", (status, model_id))


@pytest.fixture
def shadow(database: Database, blobs: BlobStore, origin: Origin, system: Caller) -> Shadow:
    """No model yet."""
    return Shadow(database, blobs, origin, system)


def order(number: int, **changes: Any) -> dict[str, Any]:
    """A transaction that the models of this page take."""
    return {"transaction_id": f"order-{number}", "amount": 2.5 * number, "kind": KINDS[number % 4], **changes}


async def test_challengers_score_what_production_scored(shadow: Shadow) -> None:
    """Each prediction once, with the score that the challenger would have given, beside the champion's and the amount;
    later runs take up what came since.
    """
    champion = await shadow.model(packed_model(ORDERS), "PRODUCTION")
    other = await shadow.challenged(packed_model(OTHERS))
    first = await shadow.score(*(order(n) for n in range(30)))
    assert await shadow.follow() == 30
    assert await shadow.follow() == 0
    later = await shadow.score(*(order(n) for n in range(30, 40)))
    assert await shadow.follow() == 10
    rows = await shadow.rows(other)
    assert set(rows) == {*first, *later}
    for number, prediction_id in enumerate([*first, *later]):
        row = rows[prediction_id]
        decided, _, _ = await shadow.scoring.get(prediction_id)
        alone = await shadow.scoring.score(order(number, transaction_id=None), model_id=other, explain=False)
        assert (row["fraud_score"], row["is_fraud"]) == (alone.prediction.score, alone.prediction.is_fraud)
        assert (row["champion_id"], row["champion_score"]) == (champion, decided.fraud_score)
        assert row["amount"] == 2.5 * number


async def test_only_what_has_settled_is_followed(shadow: Shadow) -> None:
    """A prediction of this minute may still have older ones committed beside it, so it waits for the next run."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    await shadow.challenged(packed_model(OTHERS))
    await shadow.score(order(1))
    assert await shadow.service.follow() == 0
    assert await shadow.follow() == 1


async def test_the_stored_vector_is_used_where_the_plan_is_the_same(shadow: Shadow) -> None:
    """With the champion's plan the stored vector counts; with another one, only the transaction does."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    same = await shadow.challenged(packed_model(ORDERS, threshold=0.1))
    other = await shadow.challenged(packed_model(WITH_COUNTRY))
    (prediction_id,) = await shadow.score(order(7))
    expected = {model: score for model in (same, other) if (score := await _alone(shadow, model, order(2)))}
    replaced = await shadow.scoring.score(order(2, transaction_id="replaced"), model_id=None, explain=False)
    async with shadow.database.connection() as conn:
        await conn.execute(
            "UPDATE predictions SET input_features = jsonb_set(input_features, '{features}', "
            "(SELECT input_features -> 'features' FROM predictions WHERE id = %s)) WHERE id = %s",
            (replaced.prediction.id, prediction_id),
        )
    await shadow.follow()
    assert (await shadow.rows(same))[prediction_id]["fraud_score"] == expected[same]
    assert (await shadow.rows(other))[prediction_id]["fraud_score"] == await _alone(shadow, other, order(7))


async def _alone(shadow: Shadow, model_id: UUID, sent: dict[str, Any]) -> float:
    answer = await shadow.scoring.score({**sent, "transaction_id": None}, model_id=model_id, explain=False)
    return answer.prediction.score


async def test_history_is_as_it_was_before_each_transaction(shadow: Shadow) -> None:
    """A challenger with history sees for each transaction the events before its moment, whatever has come since: bit
    for bit what the batch executor makes of the whole.
    """
    frame = transactions()
    artifact = packed_model(frame, CONFIG)
    plan = FeaturePlan.from_json(artifact.files["plan.json"])
    plain = packed_model(frame, FeatureConfig(time_column="time", id_column="order_id", amount_column="amount"))
    await shadow.model(plain, "PRODUCTION")
    challenger = await shadow.challenged(artifact)
    ids = await shadow.score(*(as_request(row) for row in frame.to_dicts()))
    assert await shadow.follow() == 0, "its history does not hold these transactions yet"
    shadow.ahead = timedelta(minutes=2)
    ahead = ScoringService(shadow.database, shadow.blobs, shadow.registry, shadow.alerts, shadow.clock)
    await ahead.top_up_history()
    shadow.ahead = timedelta(minutes=2)
    assert await shadow.follow() == len(ids)
    features = transform(plan, frame.lazy()).collect().to_numpy()
    model = await shadow.scoring.models.get(challenger)
    rows = await shadow.rows(challenger)
    assert [rows[each]["fraud_score"] for each in ids] == model.fitted.predict(features).tolist()


async def test_a_run_that_is_repeated_changes_nothing(shadow: Shadow) -> None:
    """Two runs at once, and one whose position was lost, leave each prediction once."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    other = await shadow.challenged(packed_model(OTHERS))
    started = utc_now() - timedelta(minutes=1)
    await shadow.score(*(order(n) for n in range(20)))
    shadow.ahead = timedelta(minutes=2)
    await asyncio.gather(shadow.service.follow(), shadow.fresh().follow())
    before = await shadow.rows(other)
    async with shadow.database.connection() as conn:
        await conn.execute("UPDATE challengers SET position_at = %s", (started,))
    assert await shadow.service.follow() == 20
    assert await shadow.rows(other) == before
    assert len(before) == 20


async def test_a_transaction_that_does_not_fit_is_counted(shadow: Shadow) -> None:
    """A challenger that cannot score it says so in its report, and goes on."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    other = await shadow.challenged(packed_model(WITH_COUNTRY))
    await shadow.score(order(1, country="de"), order(2, country=7), order(3))
    await shadow.follow()
    decisions = (await shadow.report(other)).decisions
    assert (decisions.followed, decisions.scored, decisions.not_scorable) == (3, 2, 1)


async def test_what_left_staging_stops(shadow: Shadow) -> None:
    """A challenger that is promoted or archived scores no longer, and gives its place away."""
    champion = await shadow.model(packed_model(ORDERS), "PRODUCTION")
    archived, promoted = [await shadow.challenged(packed_model(OTHERS)) for _ in range(2)]
    await shadow.set_status(archived, "ARCHIVED")
    await shadow.set_status(champion, "ARCHIVED")
    await shadow.set_status(promoted, "PRODUCTION")
    await shadow.score(order(1))
    assert await shadow.follow() == 0
    assert await shadow.service.list_active() == []
    assert not (await shadow.report(archived)).active
    third = await shadow.challenged(packed_model(OTHERS))
    await shadow.score(order(2))
    assert await shadow.follow() == 1
    assert {row["champion_id"] for row in (await shadow.rows(third)).values()} == {promoted}


async def test_one_that_fails_is_an_alert_and_stops_nobody(shadow: Shadow) -> None:
    """Files that are gone are told; the other challenger follows, and the first catches up when they are back."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    broken = await shadow.challenged(packed_model(OTHERS))
    sound = await shadow.challenged(packed_model(OTHERS))
    path = f"models/{broken}/model.ubj"
    content = await shadow.blobs.read_bytes(path)
    await shadow.blobs.delete_prefix(path)
    await shadow.score(order(1), order(2))
    shadow.service = shadow.fresh()
    await shadow.follow()
    assert (len(await shadow.rows(broken)), len(await shadow.rows(sound))) == (0, 2)
    assert await causes(shadow) == {f"challenger:{broken}", f"model_artifact:{broken}"}
    await shadow.blobs.upload_bytes(path, content)
    shadow.service = shadow.fresh()
    await shadow.follow()
    assert len(await shadow.rows(broken)) == 2
    assert await causes(shadow) == set()


async def causes(shadow: Shadow) -> set[str | None]:
    """Of the alerts that are open."""
    async with shadow.database.connection() as conn:
        cursor = await conn.execute("SELECT cause FROM alerts WHERE status = %s", (AlertStatus.ACTIVE,))
        return {row["cause"] for row in await cursor.fetchall()}


async def test_at_most_three_and_only_from_staging(shadow: Shadow) -> None:
    """A fourth is refused, also of two that are started at once; so is a model that is not in STAGING."""
    for _ in range(2):
        await shadow.challenged(packed_model(OTHERS))
    two = [await shadow.model(packed_model(OTHERS)) for _ in range(2)]
    results = await asyncio.gather(*(shadow.start(model_id) for model_id in two), return_exceptions=True)
    assert {type(result) for result in results} == {Challenger, Conflict}
    trained = await shadow.model(packed_model(OTHERS), "TRAINED")
    with pytest.raises(Conflict):
        await shadow.start(trained)
    with pytest.raises(NotFound):
        await shadow.start(uuid4())
    with pytest.raises(NotFound):
        await shadow.stop(trained)


async def test_started_again_it_goes_on_from_now(shadow: Shadow) -> None:
    """What was scored while it was stopped stays unread, what it had scored stays, and each change is in the log."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    other = await shadow.challenged(packed_model(OTHERS))
    (first,) = await shadow.score(order(1))
    await shadow.follow()
    assert not (await shadow.stop(other)).active
    await shadow.stop(other)
    await shadow.score(order(2))
    assert await shadow.follow() == 0
    assert (await shadow.start(other)).active
    await shadow.start(other)
    (third,) = await shadow.score(order(3))
    assert await shadow.follow() == 1
    assert set(await shadow.rows(other)) == {first, third}
    async with shadow.database.connection() as conn:
        cursor = await conn.execute(
            "SELECT new_values FROM audit_logs WHERE resource_type = 'challenger' ORDER BY created_at"
        )
        assert [row["new_values"]["challenges"] for row in await cursor.fetchall()] == [True, False, True]


async def test_report(shadow: Shadow) -> None:
    """Counts, amounts, agreement, correlation and labelled figures are those of the rows, reckoned by hand."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    other = await shadow.challenged(packed_model(OTHERS))
    ids = await shadow.score(*(order(n) for n in range(1, 200)))
    await shadow.follow()
    rows = [row for _, row in sorted((await shadow.rows(other)).items(), key=lambda item: ids.index(item[0]))]
    async with shadow.database.connection() as conn:
        for number, prediction_id in enumerate(ids[1::2]):
            await conn.execute(
                "UPDATE predictions SET actual_label = %s, labeled_at = now() WHERE id = %s",
                (number % 3 == 0, prediction_id),
            )
    report = await shadow.report(other)
    blocked = [row for row in rows if row["is_fraud"] and not row["champion_is_fraud"]]
    approved = [row for row in rows if row["champion_is_fraud"] and not row["is_fraud"]]
    assert blocked
    assert approved
    assert report.decisions.newly_blocked.count == len(blocked)
    assert report.decisions.newly_blocked.amount == pytest.approx(sum(row["amount"] for row in blocked))
    assert report.decisions.newly_approved.count == len(approved)
    assert report.decisions.agreement == pytest.approx(1 - (len(blocked) + len(approved)) / len(rows))
    scores = np.array([[row["champion_score"], row["fraud_score"]] for row in rows])
    assert report.scores.correlation == pytest.approx(np.corrcoef(scores.T)[0, 1])
    histogram = np.histogram(scores[:, 1], bins=10, range=(0, 1))[0]
    assert {round(10 * t.low): t.challenger for t in report.scores.tenths if t.challenger} == {
        n: count for n, count in enumerate(histogram.tolist()) if count
    }
    largest = sorted(blocked, key=lambda row: -row["amount"])[:5]
    assert [e.prediction_id for e in report.newly_blocked_examples] == [row["prediction_id"] for row in largest]
    truth = np.arange(99) % 3 == 0
    assert report.labelled is not None
    assert (report.labelled.count, report.labelled.fraud) == (99, 33)
    _check(report.labelled.champion, rows[1::2], truth, "champion_is_fraud")
    _check(report.labelled.challenger, rows[1::2], truth, "is_fraud")


def _check(figures: Any, rows: list[Row], truth: NDArray[np.bool_], side: str) -> None:
    flags = np.array([row[side] for row in rows])
    amounts = np.array([row["amount"] for row in rows])
    assert figures.recall == pytest.approx((flags & truth).sum() / truth.sum())
    assert figures.precision == pytest.approx((flags & truth).sum() / flags.sum())
    assert figures.value == pytest.approx(amounts[flags & truth].sum() - amounts[flags & ~truth].sum())


async def test_old_rows_are_forgotten(shadow: Shadow) -> None:
    """What is older than the retention goes with the next run."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    other = await shadow.challenged(packed_model(OTHERS))
    await shadow.score(order(1), order(2))
    await shadow.follow()
    async with shadow.database.connection() as conn:
        await conn.execute(
            "UPDATE shadow_predictions SET created_at = created_at - interval '31 days' WHERE amount < 4"
        )
    await shadow.follow()
    assert len(await shadow.rows(other)) == 1


async def test_requests_do_not_touch_it(shadow: Shadow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scored transaction takes the same statements with three challengers as with none; none is theirs."""
    await shadow.model(packed_model(ORDERS), "PRODUCTION")
    await shadow.score(order(1))
    without = await statements(shadow, monkeypatch, order(2))
    for _ in range(3):
        await shadow.challenged(packed_model(OTHERS))
    assert await statements(shadow, monkeypatch, order(3)) == without
    assert without
    assert not any("challenger" in statement or "shadow" in statement for statement in without)


async def statements(shadow: Shadow, monkeypatch: pytest.MonkeyPatch, sent: dict[str, Any]) -> list[str]:
    """What the database is asked while a transaction is scored."""
    asked: list[str] = []
    connection = shadow.database.connection

    @asynccontextmanager
    async def listening() -> AsyncIterator[Connection]:
        async with connection() as conn:
            execute = conn.execute

            async def noting(query: Any, *args: Any, **kwargs: Any) -> Any:
                asked.append(str(query))
                return await execute(query, *args, **kwargs)

            with monkeypatch.context() as patch:
                patch.setattr(conn, "execute", noting)
                yield conn

    with monkeypatch.context() as patch:
        patch.setattr(shadow.database, "connection", listening)
        await shadow.score(sent)
    return asked
