"""What was answered is stored: a kill -9 under load loses no acknowledged prediction and stores none twice."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import httpx
import psycopg
import pytest

from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow

CLIENTS = 8
REQUESTS = 2000
KILL_AFTER = 700


def test_every_acknowledged_prediction_is_stored_once(own_app: RunningApp) -> None:
    """Eight clients score; the host is killed amid it and started again; the clients go on."""
    frame = flow.sample(4000)
    with own_app.client("scientist") as client:
        flow.promote(client, flow.trained_model(client, frame, "acknowledged"))
    posted = [flow.transaction(frame, position) for position in range(200)]
    acknowledged: dict[str, str] = {}
    unanswered: list[str] = []
    lock, enough, restarted = Lock(), Event(), Event()

    def score(first: int) -> None:
        with own_app.client("machine") as client:
            for number in range(first, REQUESTS, CLIENTS):
                transaction_id = f"request-{number}"
                transaction = {**posted[number % len(posted)], "transaction_id": transaction_id}
                try:
                    answer = flow.data(client.post("predict", json={"transaction": transaction}))
                except httpx.HTTPError:
                    with lock:
                        unanswered.append(transaction_id)
                    enough.set()
                    assert restarted.wait(60)
                else:
                    with lock:
                        acknowledged[transaction_id] = answer["prediction_id"]
                        if len(acknowledged) >= KILL_AFTER:
                            enough.set()

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(score, first) for first in range(CLIENTS)]
        assert enough.wait(60)
        own_app.kill()
        own_app.start()
        restarted.set()
        for finished in clients:
            finished.result()

    assert 1 <= len(unanswered) <= CLIENTS, "the kill came while requests were under way"
    assert len(acknowledged) == REQUESTS - len(unanswered)
    with psycopg.connect(own_app.database_url) as conn:
        rows = conn.execute("SELECT transaction_id, id::text FROM predictions").fetchall()
    stored: dict[str, str] = dict(rows)
    assert len(stored) == len(rows), "a request was stored twice"
    assert {name: stored.get(name) for name in acknowledged} == acknowledged
    assert set(stored) - set(acknowledged) <= set(unanswered)
