"""From an uploaded file to a stored, explained score, over HTTP on real parts."""

from math import exp
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import httpx
import polars as pl
import psycopg
import pytest

from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return flow.sample(8000)


@pytest.fixture(scope="module")
def live(app: RunningApp, frame: pl.DataFrame) -> dict[str, Any]:
    """A model that was trained and promoted over HTTP."""
    with app.client("scientist") as client:
        model_id = flow.trained_model(client, frame, "main-flow")
        model = flow.data(client.get(f"models/{model_id}"))
        baselines = [{"metric": "auc_roc", "operator": "gte", "threshold": 0.7}]
        flow.data(client.post(f"models/{model_id}/baselines", json={"baselines": baselines}))
        return {**model, **flow.promote(client, model_id)}


def test_the_model_learned_something(live: dict[str, Any]) -> None:
    """On transactions later than those it was trained on."""
    assert live["status"] == "PRODUCTION"
    assert live["metrics"]["auc_roc"] > 0.8
    assert set(live["feature_importance"]) == set(live["feature_names"])
    assert live["verdict"]["checks"][0]["passed"]


def test_neither_label_nor_protected_columns_are_features(live: dict[str, Any]) -> None:
    """Gender, birth date and what is known only later must not reach the model."""
    assert not [
        name for name in live["feature_names"] if any(word in name for word in ("gender", "birth", "is_fraud", "label"))
    ]


def test_the_training_report_is_a_page_that_may_do_nothing(app: RunningApp, live: dict[str, Any]) -> None:
    """HTML with every section, under a policy that lets a browser fetch and run nothing."""
    with app.client("analyst") as client:
        answer = client.get(f"models/{live['id']}/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    document = ElementTree.fromstring(answer.content)
    named = {element.get("id") for element in document.iter()}
    assert {"verdict", "roc", "precision-recall", "reliability", "beeswarm", "making"} <= named
    assert len(answer.content) < 1_000_000


def test_a_scored_transaction_is_stored_before_the_answer(
    app: RunningApp, live: dict[str, Any], frame: pl.DataFrame
) -> None:
    """The row is there as soon as the answer is, with the transaction as received and the vector by name."""
    posted = flow.transaction(frame, 100)
    with app.client("machine") as client:
        answer = flow.data(client.post("predict", json={"transaction": posted}))
    with psycopg.connect(app.database_url) as conn:
        row = conn.execute(
            "SELECT model_id::text, transaction_id, fraud_score, is_fraud, input_features "
            "FROM predictions WHERE id = %s",
            (answer["prediction_id"],),
        ).fetchone()
    assert row is not None
    assert row[:4] == (live["id"], posted["transaction_id"], answer["fraud_score"], answer["is_fraud"])
    assert row[4]["transaction"] == posted
    assert set(row[4]["features"]) == set(live["feature_names"])


def test_an_explanation_adds_up_to_the_score(app: RunningApp, live: dict[str, Any], frame: pl.DataFrame) -> None:
    """Base value plus contributions is the margin; its sigmoid is the score."""
    with app.client("analyst") as client:
        answer = flow.data(client.post("predict/explain", json={"transaction": flow.transaction(frame, 200)}))
    assert answer["explanation"] == {"method": "tree_shap", "unit": "log_odds", "of": "score"}
    margin = answer["base_value"] + sum(answer["contributions"].values())
    assert 1 / (1 + exp(-margin)) == pytest.approx(answer["fraud_score"], abs=1e-4)
    assert 3 <= len(answer["reasons"]) <= 5
    with app.client("machine") as client:
        catalogue = flow.data(client.get("reason-codes"))
    assert answer["reason_catalogue"] == catalogue["version"]
    assert {reason["code"] for reason in answer["reasons"]} <= {entry["code"] for entry in catalogue["codes"]}
    strengths = [abs(reason["contribution"]) for reason in answer["reasons"]]
    assert strengths == sorted(strengths, reverse=True)


def test_flagged_transactions_come_with_reasons_and_the_others_get_them_when_read(
    app: RunningApp, live: dict[str, Any], frame: pl.DataFrame
) -> None:
    """A decision is a comparison with the model's threshold, and what is read later equals what was answered."""
    frauds = [position for position, label in enumerate(frame["is_fraud"].to_list()) if label][-25:]
    genuine = [position for position, label in enumerate(frame["is_fraud"].to_list()) if not label][-25:]
    decisions = set()
    with app.client("analyst") as client:
        for position in frauds + genuine:
            answer = flow.data(client.post("predict", json={"transaction": flow.transaction(frame, position)}))
            decisions.add(answer["is_fraud"])
            assert answer["is_fraud"] == (answer["fraud_score"] >= live["threshold"])
            assert bool(answer["reasons"]) == answer["is_fraud"]
            read = flow.data(client.get(f"predictions/{answer['prediction_id']}"))
            assert read["fraud_score"] == answer["fraud_score"]
            assert read["reasons"]
            if answer["is_fraud"]:
                assert read["reasons"] == answer["reasons"]
    assert decisions == {True, False}


def test_online_scores_equal_scores_of_the_batch_features(
    app: RunningApp, live: dict[str, Any], frame: pl.DataFrame
) -> None:
    """The vectors of the first hundred transactions are the rows that feature engineering made, history included."""
    with app.client("scientist") as client:
        preview = flow.data(client.get(f"features/sets/{live['feature_set_id']}/preview", params={"rows": 100}))
        ordered = frame.sort("transaction_time", maintain_order=True)
        for position, row in enumerate(preview["rows"]):
            answer = flow.data(client.post("predict", json={"transaction": flow.transaction(ordered, position)}))
            stored = flow.data(client.get(f"predictions/{answer['prediction_id']}"))["input_features"]["features"]
            for name, value in stored.items():
                expected = pytest.approx(value, rel=1e-6) if value is not None else None
                assert row["features"][name] == expected, (position, name)


def test_predictions_are_listed_by_cursor(app: RunningApp, live: dict[str, Any], frame: pl.DataFrame) -> None:
    """Newest first, each once, over as many pages as it takes; those of one transaction alone, too."""
    with app.client("analyst") as client:
        made = []
        for number in range(5):
            posted = {**flow.transaction(frame, 1), "transaction_id": f"listed-{number}"}
            made.append(flow.data(client.post("predict", json={"transaction": posted}))["prediction_id"])
        seen: list[str] = []
        cursor = None
        while len(seen) < len(made):
            query = {"model_id": live["id"], "page_size": 2, **({"cursor": cursor} if cursor else {})}
            answer = client.get("predictions", params=query).json()
            seen += [row["prediction_id"] for row in answer["data"]]
            cursor = answer["meta"]["pagination"]["next_cursor"]
        alone = client.get("predictions", params={"transaction_id": "listed-3"}).json()
    assert seen[: len(made)] == made[::-1]
    assert [row["prediction_id"] for row in alone["data"]] == [made[3]]
    assert alone["meta"]["pagination"]["next_cursor"] is None


def test_a_transaction_that_fits_only_the_new_model_is_scored_by_it(
    app: RunningApp, live: dict[str, Any], frame: pl.DataFrame
) -> None:
    """Right after a promotion no transaction is refused on the word of the old model."""
    renamed = frame.rename({"amount": "total"})
    with app.client("scientist") as client:
        successor = flow.trained_model(client, renamed, "other-columns")
        assert _model_of(client, flow.transaction(frame, 1)) == live["id"]
        flow.promote(client, successor)
        assert _model_of(client, flow.transaction(renamed, 1)) == successor
        flow.data(client.post(f"models/{successor}/rollback", json={"reason": "the test says so"}))
        assert _model_of(client, flow.transaction(frame, 1)) == live["id"]


def _model_of(client: httpx.Client, transaction: dict[str, Any]) -> str:
    """The model that scores such a transaction now; another one every time, which nobody has had an answer to."""
    answer = client.post("predict", json={"transaction": {**transaction, "transaction_id": str(uuid4())}})
    return str(flow.data(answer)["model_id"])


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"amount": "a lot"}, 422, "transaction.amount"),
        ({"amount": None}, 422, "transaction.amount"),
        ({"amount": True}, 422, "transaction.amount"),
        ({"transaction_time": "yesterday"}, 422, "transaction.transaction_time"),
        ({"transaction_id": "x" * 256}, 422, "transaction.transaction_id"),
        ({"extra": {"nested": 1}}, 422, "transaction"),
    ],
)
def test_a_transaction_that_does_not_fit_is_refused_by_field(
    app: RunningApp, live: dict[str, Any], frame: pl.DataFrame, changes: dict[str, Any], status: int, field: str
) -> None:
    """The field is named, and nothing is stored."""
    posted = {**flow.transaction(frame, 1), "transaction_id": f"refused-{field}", **changes}
    with app.client("machine") as client:
        answer = client.post("predict", json={"transaction": posted})
    assert answer.status_code == status, answer.text
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    with psycopg.connect(app.database_url) as conn:
        stored = conn.execute("SELECT 1 FROM predictions WHERE transaction_id = %s", (posted["transaction_id"],))
        assert stored.fetchone() is None


def test_unknown_categories_and_extra_fields_are_scored(
    app: RunningApp, live: dict[str, Any], frame: pl.DataFrame
) -> None:
    """A new merchant or a new field is no reason to refuse a customer."""
    changes = {"transaction_id": "unknown", "merchant_id": "never seen before", "campaign": "winter"}
    posted = {**flow.transaction(frame, 1), **changes}
    with app.client("machine") as client:
        assert flow.data(client.post("predict", json={"transaction": posted}))["prediction_id"]


def test_a_promotion_takes_effect_with_the_next_request(
    app: RunningApp, live: dict[str, Any], frame: pl.DataFrame
) -> None:
    """The next answer names the new model, and after a rollback the old one."""
    with app.client("scientist") as client:
        job_id = flow.start_training(client, live["feature_set_id"], "successor", hyperparameters={"n_estimators": 10})
        successor = flow.wait(client, f"training/jobs/{job_id}")["model_id"]
        flow.promote(client, successor)
        assert _model_of(client, flow.transaction(frame, 1)) == successor
        flow.data(client.post(f"models/{successor}/rollback", json={"reason": "the test says so"}))
        assert _model_of(client, flow.transaction(frame, 1)) == live["id"]


DATA = Path(__file__).parents[3] / "shared" / "data" / "sparkov_test.parquet"


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_file(), reason="the real datasets are not beside the project")
def test_the_flow_runs_on_real_data(app: RunningApp) -> None:
    """40,000 card transactions nobody here made: roles inferred, trained, scored."""
    frame = pl.read_parquet(DATA).head(40_000)
    config = {"protected_columns": ["gender", "dob"]}
    with app.client("scientist") as client:
        dataset = flow.upload(client, frame, "real")
        feature_set_id = flow.compute_features(client, dataset["id"], "real", config)
        inferred = flow.wait(client, f"features/sets/{feature_set_id}")["config"]
        assert (inferred["label_column"], inferred["time_column"]) == ("is_fraud", "trans_date_trans_time")
        job_id = flow.start_training(client, feature_set_id, "real", hyperparameters={"n_estimators": 60})
        model_id = flow.wait(client, f"training/jobs/{job_id}")["model_id"]
        model = flow.data(client.get(f"models/{model_id}"))
        assert model["metrics"]["auc_roc"] > 0.95
        flow.data(client.post(f"models/{model_id}/promote", json={"target_status": "STAGING", "reason": "real data"}))
        row = {
            name: str(value) if hasattr(value, "isoformat") else value
            for name, value in frame.row(7, named=True).items()
        }
        answer = flow.data(client.post("predict/explain", json={"transaction": row, "model_id": model_id}))
    assert answer["model_id"] == model_id
    assert answer["reasons"]
