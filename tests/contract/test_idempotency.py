"""Idempotency-Key over HTTP."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.fixtures.app import RunningApp

CSV = b"amount,is_fraud\n1,0\n2,1\n"


@pytest.fixture(scope="module")
def client(app: RunningApp) -> Iterator[httpx.Client]:
    with app.client("scientist") as client:
        yield client


def _post(client: httpx.Client, key: str, name: str, **changes: Any) -> httpx.Response:
    """A form; each has a boundary of its own."""
    arguments = {"files": {"file": ("x.csv", CSV)}, "data": {"name": name}, **changes}
    return client.post("datasets", headers={"Idempotency-Key": key}, **arguments)


def _total(client: httpx.Client, name: str) -> int:
    answer = client.get("datasets", params={"name": name})
    total: int = answer.json()["meta"]["pagination"]["total"]
    return total


def test_twenty_equal_requests_at_once_make_one_resource(client: httpx.Client) -> None:
    """One is answered 201, the others that or, while it is at work, 409 with Retry-After; afterwards all the same."""
    key, name = uuid4().hex, uuid4().hex
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: _post(client, key, name), range(20)))
    first = [answer for answer in answers if answer.status_code == 201 and "idempotency-replayed" not in answer.headers]
    assert len(first) == 1
    for answer in answers:
        if answer.status_code == 201:
            assert answer.content == first[0].content
        else:
            assert answer.status_code == 409
            assert answer.json()["error"]["code"] == "request_in_progress"
            assert 1 <= int(answer.headers["retry-after"]) <= 5
    again = _post(client, key, name)
    assert (again.status_code, again.content) == (201, first[0].content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first[0].headers["location"]
    assert _total(client, name) == 1


def test_another_body_with_the_key_is_refused(client: httpx.Client) -> None:
    """409, and nothing is made."""
    key, name = uuid4().hex, uuid4().hex
    assert _post(client, key, name).status_code == 201
    other = _post(client, key, name, files={"file": ("x.csv", CSV + b"3,0\n")})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert _post(client, key, uuid4().hex).status_code == 409
    assert _total(client, name) == 1


def test_a_refused_request_does_not_use_the_key_up(client: httpx.Client) -> None:
    """Corrected, it succeeds under the same key."""
    key, name = uuid4().hex, uuid4().hex
    assert _post(client, key, name, files={"file": ("x.csv", b"a,b\n")}).status_code == 422
    assert _post(client, key, name).status_code == 201


def test_the_keys_of_two_callers_are_two_keys(app: RunningApp, client: httpx.Client) -> None:
    """Nobody is answered what another asked for."""
    key, name = uuid4().hex, uuid4().hex
    with app.client("admin") as admin:
        made = {_post(caller, key, name).json()["data"]["id"] for caller in (client, admin)}
    assert len(made) == 2


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "ümlaut".encode().decode("latin-1")])
def test_a_malformed_key_is_named(client: httpx.Client, key: str) -> None:
    """1 to 255 visible ASCII characters."""
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = client.post("datasets", headers=headers, files={"file": ("x.csv", CSV)}, data={"name": "x"})
    assert (answer.status_code, answer.json()["error"]["target"]) == (422, "Idempotency-Key")
