"""Datasets over HTTP: files in every form, versions, quality, preview, removal and return."""

import gzip
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fixtures.app import RunningApp

CSV = "transaction_id,amount,shop,is_fraud\n" + "".join(
    f"t{number},{number},{'=evil' if number == 1 else 'Köln'},{number % 2}\n" for number in range(30)
)


@pytest.fixture(scope="module")
def scientist(app: RunningApp) -> Iterator[httpx.Client]:
    """Somebody who may register and remove."""
    with app.client("scientist") as client:
        yield client


def _data(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def _create(client: httpx.Client, content: bytes, media_type: str = "text/csv", **said: str) -> dict[str, Any]:
    answer = client.post(
        "datasets", content=content, headers={"Content-Type": media_type}, params={"name": "x", **said}
    )
    made: dict[str, Any] = _data(answer, 201)
    return made


@pytest.mark.parametrize(
    ("content", "media_type", "said"),
    [
        (CSV.encode(), "text/csv; charset=UTF-8", {}),
        (CSV.encode("cp1252"), 'text/csv; charset="windows-1252"', {}),
        (CSV.encode("utf-16"), "application/octet-stream", {}),
        (gzip.compress(CSV.replace(",", ";").encode()), "application/gzip", {"delimiter": "semicolon"}),
    ],
    ids=["utf-8", "charset", "utf-16", "gzip with semicolons"],
)
def test_a_raw_file_may_be_encoded_and_compressed(
    scientist: httpx.Client, content: bytes, media_type: str, said: dict[str, str]
) -> None:
    """It is the same table each time."""
    made = _create(scientist, content, media_type, **said)
    assert (made["row_count"], [column["name"] for column in made["schema"]["columns"]]) == (
        30, ["transaction_id", "amount", "shop", "is_fraud"],
    )  # fmt: skip
    rows = _data(scientist.get(f"datasets/{made['id']}/preview", params={"rows": 1}))["rows"]
    assert rows == [{"transaction_id": "t0", "amount": 0, "shop": "Köln", "is_fraud": 0}]


def test_what_is_wrong_is_told_at_once_and_in_full(scientist: httpx.Client) -> None:
    """In short with the dataset, at length under quality; the formula is kept as text."""
    made = _create(scientist, CSV.encode())
    assert made["quality"]["counts"] == {"ERROR": 0, "WARNING": 1, "INFO": 3}
    assert made["quality"]["findings"][0]["code"] == "formulas"
    full = _data(scientist.get(f"datasets/{made['id']}/quality"))
    assert full["findings"][0]["examples"] == ["=evil"]
    shops = _data(scientist.get(f"datasets/{made['id']}/statistics"))["column_stats"]["shop"]
    assert {"value": "=evil", "count": 1} in shops["top_values"]


def test_a_dataset_goes_through_its_life(scientist: httpx.Client) -> None:
    """A version, its archive because of it, its return, and the removal of the version."""
    first = _create(scientist, CSV.encode())
    files = {"file": ("next.csv", CSV.replace("shop", "store").encode())}
    answer = scientist.post(f"datasets/{first['id']}/versions", files=files, data={"description": "renamed"})
    second = _data(answer, 201)
    assert answer.headers["location"].endswith(second["id"])
    assert (second["version"], second["name"], second["parent_id"]) == ("2.0", "x", first["id"])
    assert second["changes"] == {"added": ["store"], "removed": ["shop"], "retyped": []}
    listed = _data(scientist.get(f"datasets/{second['id']}/versions"))
    assert [(row["version"], row["changes"] is None) for row in listed] == [("2.0", False), ("1.0", True)]
    removed = _data(scientist.delete(f"datasets/{first['id']}"))
    assert (removed["status"], removed["dependent_count"], removed["dependents"][0]["id"]) == (
        "ARCHIVED", 1, second["id"],
    )  # fmt: skip
    ids = [row["id"] for row in _data(scientist.get("datasets", params={"page_size": 100}))]
    assert second["id"] in ids
    assert first["id"] not in ids
    refused = scientist.post(f"datasets/{first['id']}/versions", files=files)
    assert refused.status_code == 409
    assert _data(scientist.post(f"datasets/{first['id']}/restore"))["status"] == "ACTIVE"
    assert scientist.post(f"datasets/{first['id']}/restore").status_code == 409
    assert _data(scientist.delete(f"datasets/{second['id']}"))["status"] == "DELETED"
    assert scientist.get(f"datasets/{second['id']}").status_code == 404


def test_the_catalogue_is_searched_and_sorted(scientist: httpx.Client) -> None:
    """By words, rows and order; what cannot be searched for is refused."""
    for name, rows in (("alpha stores", 10), ("beta stores", 20)):
        _create(scientist, "\n".join(CSV.splitlines()[: rows + 1]).encode(), name=name)
    for asked, found in (
        ({"search": "stores", "sort": "name"}, ["alpha stores", "beta stores"]),
        ({"search": "STORES transaction", "sort": "-row_count"}, ["beta stores", "alpha stores"]),
        ({"search": "stores", "min_rows": "15", "status": "ANY"}, ["beta stores"]),
        ({"search": "stores", "status": "ARCHIVED"}, []),
    ):
        assert [row["name"] for row in _data(scientist.get("datasets", params=asked))] == found
    assert scientist.get("datasets", params={"search": "?!"}).status_code == 422
    assert scientist.get("datasets", params={"sort": "schema"}).status_code == 422


@pytest.mark.parametrize(
    ("said", "field"), [({"encoding": "klingon"}, "encoding"), ({"delimiter": "colon"}, "delimiter")]
)
def test_unknown_ways_of_reading_are_refused(scientist: httpx.Client, said: dict[str, str], field: str) -> None:
    """By field."""
    answer = scientist.post(
        "datasets", content=CSV.encode(), headers={"Content-Type": "text/csv"}, params={"name": "x", **said}
    )
    assert answer.status_code == 422
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
