"""What a data scientist reads when a table or a request cannot make a model, over HTTP."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import polars as pl
import pytest

from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow

ROW = pl.int_range(pl.len())


@pytest.fixture(scope="module")
def client(app: RunningApp) -> Iterator[httpx.Client]:
    with app.client("scientist") as client:
        yield client


@pytest.fixture(scope="module")
def feature_set_id(client: httpx.Client) -> str:
    dataset = flow.upload(client, flow.sample(1500), "good")
    feature_set_id = flow.compute_features(client, dataset["id"], "good")
    flow.wait(client, f"features/sets/{feature_set_id}")
    return feature_set_id


def _search(**changes: Any) -> dict[str, Any]:
    return {"search": {"trials": 4, **changes}}


REQUESTS = {
    "feature_set_id": [
        ({"feature_set_id": "7"}, "must be a UUID"),
        ({"feature_set_id": str(uuid4())}, "no feature set has this id"),
    ],
    "name": [({"name": "  "}, "at least 1 character"), ({"name": "x" * 256}, "at most 255 characters")],
    "dataset_id": [({"dataset_id": "x"}, "is not known here")],
    "algorithm": [({"algorithm": "catboost"}, "'catboost' is not one of xgboost"), ({"algorithm": 5}, "valid string")],
    "train_test_split": [({"train_test_split": 0.99}, "less than or equal to 0.95")],
    "hyperparameters": [({"hyperparameters": [6]}, "must be an object")],
    "hyperparameters.depth": [({"hyperparameters": {"depth": 3}}, "xgboost has no such hyperparameter")],
    "hyperparameters.max_depth": [
        ({"hyperparameters": {"max_depth": 0}}, "greater than or equal to 1"),
        ({"hyperparameters": {"max_depth": "deep"}}, "valid integer"),
        ({"hyperparameters": {"max_depth": 3.5}}, "valid integer"),
        ({"hyperparameters": {"max_depth": True}}, "must not be true or false"),
        ({"hyperparameters": {"max_depth": None}}, "valid integer"),
    ],
    "hyperparameters.n_estimators": [({"hyperparameters": {"n_estimators": 10**9}}, "less than or equal to 10000")],
    "hyperparameters.contamination": [
        ({"algorithm": "isolation_forest", "hyperparameters": {"contamination": 2}}, "less than 0.5")
    ],
    "hyperparameters.hidden_layer_sizes": [
        ({"algorithm": "neural_network", "hyperparameters": {"hidden_layer_sizes": [0]}}, "greater than or equal to 1")
    ],
    "hyperparameters.C": [
        ({"algorithm": "logistic_regression", "hyperparameters": {"C": -1}}, "greater than 0"),
    ],
    "hyperparameters.learning_rate": [
        ({"algorithm": "random_forest", "hyperparameters": {"learning_rate": 0.1}}, "random_forest has no such"),
    ],
    "threshold_policy": [
        ({"threshold_policy": {"type": "best"}}, "'best'"),
        ({"threshold_policy": "max_f1"}, "object"),
    ],
    "threshold_policy.fpr": [({"threshold_policy": {"type": "fpr_limit"}}, "is required")],
    "threshold_policy.precision": [
        ({"threshold_policy": {"type": "target_precision", "precision": 1.5}}, "less than or equal to 1")
    ],
    "calibration": [({"calibration": "platt"}, "'auto', 'none', 'sigmoid' or 'isotonic'")],
    "evaluation": [({"evaluation": {"missed_fraud_cost": 5}}, "given together or not at all")],
    "evaluation.review_capacity_per_day": [({"evaluation": {"review_capacity_per_day": -1}}, "greater than 0")],
    "search.method": [(_search(method="grid"), "'random' or 'successive_halving'")],
    "search.trials": [
        (_search(trials=1), "greater than or equal to 2"),
        (_search(trials=1000), "less than or equal to 100"),
    ],
    "search.metric": [(_search(metric="accuracy"), "'auc_pr'")],
    "search.space": [
        (_search(space={}), "at least 1 item"),
        (_search(space={"max_depth": [3]}), "holds only one combination"),
    ],
    "search.space.depth": [(_search(space={"depth": [1, 2]}), "xgboost has no such hyperparameter")],
    "search.space.max_depth": [(_search(space={"max_depth": [0, 4]}), "0: Input should be greater than or equal to 1")],
    "search.space.learning_rate": [
        (_search(space={"learning_rate": {"low": 0.1, "high": 50}}), "50.0: Input should be less than or equal to 1"),
        (_search(space={"learning_rate": {"low": 0.3, "high": 0.1}}), "low must be less than high"),
        (_search(space={"learning_rate": "all"}), "must be a list of values, or an object with low and high"),
    ],
}


@pytest.mark.parametrize("field", REQUESTS)
def test_a_request_is_refused_at_once_by_field(client: httpx.Client, feature_set_id: str, field: str) -> None:
    """422 with the field and the reason, nothing else besides, and no job comes of it."""
    for changes, reason in REQUESTS[field]:
        body = {"name": "bad", "feature_set_id": feature_set_id, **changes}
        answer = client.post("training/jobs", json=body)
        assert answer.status_code == 422, changes
        error = answer.json()["error"]
        assert {detail["field"] for detail in error["details"]} == {field}
        assert any(reason in detail["message"] for detail in error["details"]), error
    listed = flow.data(client.get("training/jobs", params={"feature_set_id": feature_set_id}))
    assert listed == []


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_numbers_that_json_does_not_have_are_malformed(client: httpx.Client, feature_set_id: str, number: str) -> None:
    """400, with the place."""
    body = json.dumps({"name": "bad", "feature_set_id": feature_set_id, "hyperparameters": {"learning_rate": 0.5}})
    answer = client.post(
        "training/jobs", content=body.replace("0.5", number), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert "line 1 column" in answer.json()["error"]["message"]


def test_a_feature_set_that_is_not_completed_is_a_conflict(client: httpx.Client) -> None:
    """409 with the state it is in; the same request is good once it is completed."""
    dataset = flow.upload(client, flow.sample(1500), "early")
    early = flow.compute_features(client, dataset["id"], "early")
    answer = client.post("training/jobs", json={"name": "early", "feature_set_id": early})
    assert answer.status_code == 409
    assert "it must be COMPLETED" in answer.json()["error"]["message"]
    flow.wait(client, f"features/sets/{early}")
    job_id = flow.start_training(client, early, "early", hyperparameters={"n_estimators": 2})
    flow.wait(client, f"training/jobs/{job_id}")


def test_jobs_that_nobody_has_asked_for_are_not_found(client: httpx.Client) -> None:
    """404, for looking and for cancelling."""
    assert client.get(f"training/jobs/{uuid4()}").status_code == 404
    assert client.post(f"training/jobs/{uuid4()}/cancel").status_code == 404


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (pl.lit(None, dtype=pl.Int64), "no row has a label"),
        (pl.lit(0), "every label is genuine; both classes are needed"),
        (pl.lit(1), "every label is fraud; both classes are needed"),
        (ROW % 3, "values such as 2 are neither 0 (genuine) nor 1 (fraud)"),
    ],
    ids=["none", "all genuine", "all fraud", "other values"],
)
def test_labels_that_cannot_be_learned_from_are_refused_before_any_work(
    client: httpx.Client, label: pl.Expr, reason: str
) -> None:
    """Feature engineering says so at once, with the column."""
    dataset = flow.upload(client, flow.sample(600).with_columns(is_fraud=label), "labels")
    body = {"dataset_id": dataset["id"], "output_name": "labels", "config": flow.CONFIG}
    answer = client.post("features/compute", json=body)
    assert answer.status_code == 422
    message = f"'is_fraud' cannot be the label: {reason}"
    assert answer.json()["error"]["details"] == [{"field": "config.label_column", "message": message}]


def test_text_where_a_number_is_expected_is_refused_before_any_work(client: httpx.Client) -> None:
    """With the column and its type."""
    frame = flow.sample(600).with_columns(amount=pl.lit("much"))
    dataset = flow.upload(client, frame, "text")
    config = {**flow.CONFIG, "amount_column": "amount"}
    answer = client.post("features/compute", json={"dataset_id": dataset["id"], "output_name": "t", "config": config})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"] == [
        {"field": "config.amount_column", "message": "'amount' is a string; wanted: float or integer"}
    ]


def test_what_needs_labels_is_refused_where_there_are_none(client: httpx.Client) -> None:
    """422 for every algorithm that learns from labels, for searches, and for policies and curves that need them."""
    dataset = flow.upload(client, flow.sample(1500), "unlabelled")
    unlabelled = flow.compute_features(client, dataset["id"], "unlabelled", {**flow.CONFIG, "label_column": None})
    flow.wait(client, f"features/sets/{unlabelled}")
    forest = {"algorithm": "isolation_forest"}
    for field, changes in [
        ("feature_set_id", {"algorithm": "xgboost"}),
        ("feature_set_id", {**forest, **_search()}),
        ("threshold_policy", {**forest, "threshold_policy": {"type": "max_f1"}}),
        ("calibration", {**forest, "calibration": "sigmoid"}),
    ]:
        answer = client.post("training/jobs", json={"name": "bad", "feature_set_id": unlabelled, **changes})
        assert (answer.status_code, answer.json()["error"]["target"]) == (422, field)
        assert "label" in answer.json()["error"]["message"]


def _outcome(client: httpx.Client, frame: pl.DataFrame, name: str) -> tuple[str, dict[str, Any]]:
    """What fails first, or the job: ``features`` or ``training`` and the row."""
    dataset = flow.upload(client, frame, name)
    route = f"features/sets/{flow.compute_features(client, dataset['id'], name)}"
    found = _ended(client, route)
    if found["status"] == "FAILED":
        return "features", found
    job_id = flow.start_training(client, found["id"], name, hyperparameters={"n_estimators": 5})
    return "training", _ended(client, f"training/jobs/{job_id}")


def _ended(client: httpx.Client, route: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while True:
        found: dict[str, Any] = flow.data(client.get(route))
        if found["status"] in {"COMPLETED", "FAILED"}:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def _two_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.head(2).with_columns(is_fraud=ROW % 2)


def _one_row_repeated(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame.head(1)] * 600).with_columns(is_fraud=ROW % 2)


def _fraud_in(frame: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    return frame.with_columns(is_fraud=ROW.is_between(first, last).cast(pl.Int8))


@pytest.mark.parametrize(
    ("change", "stage", "reason"),
    [
        (_two_rows, "features", "the training part (the first 80% of the rows) has 0 fraudulent and 1 genuine rows"),
        (lambda frame: _fraud_in(frame, 1400, 1400), "features", "has 0 fraudulent and 1200 genuine rows"),
        (_one_row_repeated, "features", "no feature varies in the training part"),
        (lambda frame: _fraud_in(frame, 0, 99), "training", "the validation part holds no fraud row among its 480"),
    ],
    ids=["two rows", "fraud only at the end", "one row again and again", "fraud only at the beginning"],
)
def test_tables_that_cannot_make_a_model_fail_with_the_reason(
    client: httpx.Client, change: Callable[[pl.DataFrame], pl.DataFrame], stage: str, reason: str
) -> None:
    """FAILED, not tried again, and the sentence says why."""
    where, found = _outcome(client, change(flow.sample(1500)), "poor")
    assert (where, found["status"]) == (stage, "FAILED")
    assert reason in found["error_message"]


def test_columns_that_tell_nothing_do_no_harm(client: httpx.Client) -> None:
    """Without values, constant, infinite here and there, every row twice: the model is made without them."""
    frame = flow.sample(1500).with_columns(
        pl.lit(float("nan")).alias("empty"),
        pl.lit(3.0).alias("constant"),
        pl.when(ROW == 5).then(float("inf")).otherwise(pl.col("amount")).alias("amount"),
    )
    where, job = _outcome(client, pl.concat([frame, frame]).sort("transaction_time"), "dull")
    assert (where, job["status"]) == ("training", "COMPLETED")
    used = flow.data(client.get(f"models/{job['model_id']}"))["feature_names"]
    assert used
    assert not {"empty", "constant"} & set(used)
