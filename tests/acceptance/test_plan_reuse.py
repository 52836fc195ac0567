"""Schemas, plans and their reuse, and refusals of features/compute, over HTTP on real parts."""

from typing import Any

import polars as pl
import pytest
from jsonschema import Draft202012Validator

from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow

CONFIG = {**flow.CONFIG, "groups": ["transaction", "temporal"]}


@pytest.fixture(scope="module")
def fitted(app: RunningApp) -> dict[str, Any]:
    """A completed feature set."""
    with app.client("scientist") as client:
        dataset = flow.upload(client, flow.sample(1_500), "reuse-first")
        return flow.wait(client, f"features/sets/{flow.compute_features(client, dataset['id'], 'first', CONFIG)}")


def _compute(app: RunningApp, dataset_id: str, **what: Any) -> tuple[int, dict[str, Any]]:
    with app.client("scientist") as client:
        body = {"dataset_id": dataset_id, "output_name": "again", **what}
        answer = client.post("features/compute", json=body)
        return answer.status_code, answer.json()


def test_a_plan_is_read_checked_and_posted_for_another_dataset(app: RunningApp, fitted: dict[str, Any]) -> None:
    """The document fits the published schema and, run on other rows, has the same hash; so has the plan by its set."""
    with app.client("scientist") as client:
        plan = flow.data(client.get(f"features/sets/{fitted['feature_set_id']}/plan"))
        Draft202012Validator(flow.data(client.get("features/schema"))["plan"]).validate(plan)
        other = flow.upload(client, flow.sample(1_200, seed=8).drop("is_fraud", "label_known_at"), "reuse-second")
        for what in ({"plan": plan}, {"plan_of": fitted["feature_set_id"]}):
            status, answer = _compute(app, other["id"], **what)
            assert status == 202, answer
            done = flow.wait(client, f"features/sets/{answer['data']['feature_set_id']}")
            assert done["content_hash"] == fitted["content_hash"]
            assert done["plan_of"] == what.get("plan_of")
            assert done["selection_report"]["plan"]["absent_columns"] == ["is_fraud", "label_known_at"]


def test_the_ranking_is_a_picture(app: RunningApp, fitted: dict[str, Any]) -> None:
    """Without scripts; a set without elimination has no curve of it."""
    route = f"features/sets/{fitted['feature_set_id']}"
    with app.client("analyst") as client:
        answer = client.get(f"{route}/ranking")
        assert client.get(f"{route}/elimination").status_code == 404
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    best = fitted["selection_report"]["ranking"][0]["name"]
    assert answer.text.startswith("<svg")
    assert best in answer.text


def test_a_form_can_be_drawn(app: RunningApp) -> None:
    """Analysts read the schemas too; a setting says what it is for and what it may be."""
    with app.client("analyst") as client:
        config = flow.data(client.get("features/schema"))["config"]
    assert config["properties"]["train_fraction"] == {
        "default": 0.8,
        "description": "Share of the rows, the earliest, that features are fitted on.",
        "maximum": 0.95,
        "minimum": 0.1,
        "title": "Train Fraction",
        "type": "number",
    }


REFUSED: list[tuple[str, dict[str, Any], set[str]]] = [
    ("two of three", {"config": {}, "plan_of": "{set}"}, {"body"}),
    ("no such window", {"config": {"windows": ["0h", "-1d", "10000d", "soon"]}},
     {"config.windows.0", "config.windows.1", "config.windows.2", "config.windows.3"}),
    ("missing columns", {"config": {"amount_column": "price", "time_column": "when"}},
     {"config.amount_column", "config.time_column"}),
    ("the label is no label", {"config": {"label_column": "amount"}}, {"config.label_column"}),
    ("history of words", {"config": {"history": [
        {"entity": ["customer_id"], "function": "mean", "column": "country", "window": "1h"}]}}, {"config.history"}),
    ("labels never known", {"config": {"label_delay_days": 7, "history": [
        {"entity": ["customer_id"], "function": "fraud_rate", "window": "7d"}]}}, {"config"}),
    ("no such set", {"plan_of": "00000000-0000-4000-8000-000000000000"}, {"plan_of"}),
    ("no such kind", {"plan": {"config": {}, "fit": {"rows": 1}, "inputs": [], "features": [{"kind": "magic"}]}},
     {"plan.features.0"}),
    ("a believed hash", {"plan": {"config": {}, "fit": {"rows": 1}, "inputs": [], "features": [], "content_hash": "x"}},
     {"plan.content_hash"}),
    ("an impossible feature", {"plan": {"config": {"time_column": "transaction_time"}, "fit": {"rows": 1},
        "inputs": [{"name": "transaction_time", "type": "datetime"}, {"name": "customer_id", "type": "string"}],
        "features": [{"kind": "behavioural", "name": "x", "entity": ["customer_id"], "function": "sum",
                      "window": "1h", "time_column": "transaction_time"}]}}, {"plan.features.0"}),
    ("other columns", {"plan": {"config": {}, "fit": {"rows": 1},
        "inputs": [{"name": "price", "type": "float"}, {"name": "country", "type": "integer"}],
        "features": [{"kind": "raw", "name": "a", "column": "price"}, {"kind": "raw", "name": "b", "column": "country"}]
        }}, {"price", "country"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "what", "fields"), REFUSED, ids=[refused[0] for refused in REFUSED])
def test_a_request_that_cannot_work_is_refused_at_once(
    app: RunningApp, fitted: dict[str, Any], kind: str, what: dict[str, Any], fields: set[str]
) -> None:
    """422 with every field that is wrong, its reason on one line, and nothing started."""
    if what.get("plan_of") == "{set}":
        what = {**what, "plan_of": fitted["feature_set_id"]}
    status, answer = _compute(app, fitted["dataset_id"], **what)
    assert status == 422, answer
    details = answer["error"]["details"]
    assert {detail["field"] for detail in details} == fields
    assert all("\n" not in detail["message"] for detail in details), details


def test_labels_of_one_class_are_refused_at_once(app: RunningApp) -> None:
    """The dataset's statistics tell; no job has to fail."""
    with app.client("scientist") as client:
        genuine = flow.upload(client, flow.sample(300).with_columns(is_fraud=pl.lit(0)), "reuse-genuine")
    status, answer = _compute(app, genuine["id"], config=CONFIG)
    assert status == 422
    assert answer["error"]["target"] == "config.label_column"
