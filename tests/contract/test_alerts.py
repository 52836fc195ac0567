"""Alerts over HTTP: taken over, resolved, dismissed; sorted and filtered."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.fixtures import flow
from tests.fixtures.app import RunningApp


@pytest.fixture
def alert_id(app: RunningApp) -> UUID:
    """An alert that is open."""
    made = uuid4()
    with psycopg.connect(app.database_url) as conn:
        conn.execute(
            "INSERT INTO alerts (id, source_type, alert_type, severity, title, description) "
            "VALUES (%s, 'DRIFT', 'DATA_DRIFT', 'WARNING', 'amount has drifted', 'PSI is 0.31, the limit 0.25')",
            (made,),
        )
    return made


@pytest.fixture
def analyst(app: RunningApp) -> Iterator[httpx.Client]:
    with app.client("analyst") as client:
        yield client


def test_an_alert_is_taken_over_and_resolved(analyst: httpx.Client, alert_id: UUID) -> None:
    """By an analyst, with a word on how; afterwards it stays so."""
    me = flow.data(analyst.get("users/me"))["id"]
    taken = flow.data(analyst.post(f"alerts/{alert_id}/acknowledge"))
    assert (taken["status"], taken["acknowledged_by"]) == ("ACKNOWLEDGED", me)
    notes = {"resolution_notes": "a new payment provider; the model is trained again"}
    assert flow.data(analyst.post(f"alerts/{alert_id}/resolve", json=notes))["status"] == "RESOLVED"
    assert analyst.post(f"alerts/{alert_id}/resolve", json=notes).status_code == 409
    assert flow.data(analyst.get(f"alerts/{alert_id}"))["resolved_by"] == me


def test_an_alert_is_dismissed_with_the_reason(analyst: httpx.Client, alert_id: UUID) -> None:
    """Kept with it."""
    answer = analyst.post(f"alerts/{alert_id}/dismiss", json={"reason": "a test of the shop"})
    assert flow.data(answer)["resolution_notes"] == "a test of the shop"
