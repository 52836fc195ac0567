"""Labels over HTTP: who may send them, how many at once, and what is refused how."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tests.fixtures.app import RunningApp


def test_ten_thousand_labels_are_one_call(app: RunningApp) -> None:
    """A body beyond the limit of other routes; each label has its outcome, in order, and the counts add up."""
    name = uuid4().hex
    labels = [
        {"transaction_id": f"{name}-{number}-{'x' * 40}", "is_fraud": number % 2 == 0, "source": "chargeback",
         "labeled_at": "2026-03-01T10:00:00Z"}
        for number in range(10_000)
    ]  # fmt: skip
    with app.client("analyst") as client:
        answer = client.post("predictions/labels", json={"labels": labels})
    assert len(answer.request.content) > 1_048_576
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert data["counts"] == {"pending": 10_000}
    assert [one["transaction_id"] for one in data["labels"]] == [one["transaction_id"] for one in labels]


def test_a_time_to_come_is_refused_by_its_field(app: RunningApp) -> None:
    """422 names the label and the field, for the rule and for the shape."""
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    good = {"transaction_id": "a", "is_fraud": True}
    with app.client("analyst") as client:
        for field, value in (("labeled_at", later), ("is_fraud", "yes")):
            answer = client.post("predictions/labels", json={"labels": [good, {**good, field: value}]})
            assert answer.status_code == 422
            assert answer.json()["error"]["details"][0]["field"] == f"labels.1.{field}"


def test_unknown_predictions_are_reported_and_have_no_labels(app: RunningApp) -> None:
    """In the answer of the call, and by 404."""
    unknown = str(uuid4())
    with app.client("analyst") as client:
        answer = client.post("predictions/labels", json={"labels": [{"prediction_id": unknown, "is_fraud": True}]})
        assert answer.json()["data"]["labels"] == [
            {"transaction_id": None, "prediction_id": unknown, "outcome": "unknown", "predictions": 0}
        ]
        assert client.get(f"predictions/{unknown}/labels").status_code == 404


def test_machines_send_no_labels(app: RunningApp) -> None:
    """A function key is for scoring alone."""
    with app.client("machine") as client:
        assert client.post("predictions/labels", json={"labels": []}).status_code == 403
