"""Every route over HTTP: bad input in the one error shape; who is let in is in test_role_table."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

import function_app  # noqa: F401 - fills ENDPOINTS
from functions.access import ROUTES
from functions.endpoint import ENDPOINTS, Endpoint
from tests.fixtures import documented
from tests.fixtures.app import API, RunningApp

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
WITH_BODY = [entry for entry in ENDPOINTS if entry.body is not None]
WITH_ID = [entry for entry in ENDPOINTS if "{" in entry.route]
EXAMPLES = orjson.loads(documented.EXAMPLES.read_bytes())
CALLERS = ("admin", "scientist", "analyst", "machine")


def _name(entry: Any) -> str:
    return entry.name if isinstance(entry, Endpoint) else str(entry)


def _path(entry: Endpoint, identifier: str | None = None) -> str:
    parts = [part if not part.startswith("{") else identifier or str(uuid4()) for part in entry.route.split("/")]
    return "/".join(parts)


def _valid_body(entry: Endpoint) -> Any:
    """The example of the OpenAPI document; of a file, that it was uploaded before."""
    if entry.uploads:
        return {"upload_id": str(uuid4())}
    return EXAMPLES[entry.name]["request"] if entry.body else None


def _refused(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The error of an answer that has one of ``statuses`` and exactly the one shape."""
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:500]}"
    body = answer.json()
    assert set(body) == {"error", "meta"}
    assert set(body["error"]) == {"code", "message", "target", "details"}
    assert all(set(detail) == {"field", "message"} for detail in body["error"]["details"])
    assert body["meta"]["request_id"] == answer.headers["x-request-id"]
    assert "timestamp" in body["meta"]
    error: dict[str, Any] = body["error"]
    return error


@pytest.fixture(scope="module")
def clients(app: RunningApp) -> Iterator[dict[str, httpx.Client]]:
    """One client a role, and one without identity."""
    made = {role: app.client(role) for role in (*CALLERS, "")}
    yield made
    for client in made.values():
        client.close()


def test_nobody_gets_in_without_identity(clients: dict[str, httpx.Client]) -> None:
    """Over HTTP as in the role table: no token, no answer."""
    _refused(clients[""].get("models"), 401)


def test_a_deactivated_user_is_out_at_once(app: RunningApp) -> None:
    """With the token that worked a moment ago."""
    token = {"Authorization": f"Bearer {app.mint('leaver')}"}
    me = httpx.get(f"{app.url}{API}/users/me", headers=token).json()["data"]
    with app.client("admin") as admin:
        assert admin.patch(f"users/{me['id']}", json={"is_active": False}).is_success
    _refused(httpx.get(f"{app.url}{API}/users/me", headers=token), 403)


@pytest.mark.parametrize("entry", ENDPOINTS, ids=_name)
def test_a_wrong_method_is_told_the_right_ones(clients: dict[str, httpx.Client], entry: Endpoint) -> None:
    """405 with Allow, for every method that the path does not answer."""
    allowed = {method for method, route in ROUTES if route == entry.route}
    for method in set(METHODS) - allowed:
        answer = clients["admin"].request(method, _path(entry))
        _refused(answer, 405)
        assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["nothing", "models/production/nothing", "datasets/not-a-guid", "%00", "a/../b", "é"])
def test_an_unknown_path_is_not_found(clients: dict[str, httpx.Client], path: str) -> None:
    """In the one shape, by the app itself."""
    _refused(clients["admin"].get(path), 404)


def test_a_doubled_slash_is_another_path(app: RunningApp) -> None:
    """It is not answered with the methods of the path without it."""
    _refused(httpx.post(f"{app.url}{API}//predict", json={}), 404)


@pytest.mark.parametrize("entry", WITH_ID, ids=_name)
def test_an_unknown_id_is_not_found(clients: dict[str, httpx.Client], entry: Endpoint) -> None:
    """A well-formed id of nothing, with a body that is right where one is needed."""
    body = _valid_body(entry)
    answer = clients["admin"].request(entry.method, _path(entry), **({} if body is None else {"json": body}))
    _refused(answer, 404)


@pytest.mark.parametrize("entry", WITH_ID, ids=_name)
@pytest.mark.parametrize(
    "identifier", ["1", "not-a-guid", "00000000-0000-0000-0000-00000000000g", "'; DROP TABLE users"]
)
def test_a_malformed_id_is_not_found(clients: dict[str, httpx.Client], entry: Endpoint, identifier: str) -> None:
    """It names nothing, and reaches no query."""
    _refused(clients["admin"].request(entry.method, _path(entry, identifier)), 404)


BAD_BODIES: list[tuple[str, bytes, str, tuple[int, ...]]] = [
    ("empty", b"", "application/json", (400,)),
    ("not JSON", b"{", "application/json", (400,)),
    ("not UTF-8", b'{"a": "\xff"}', "application/json", (400,)),
    ("NaN", b'{"a": NaN}', "application/json", (400,)),
    ("infinity", b'{"a": Infinity}', "application/json", (400,)),
    ("a lone surrogate", b'{"a": "\\ud800"}', "application/json", (400,)),
    ("a list", b"[]", "application/json", (422,)),
    ("null", b"null", "application/json", (422,)),
    ("text", b'"text"', "application/json", (422,)),
    ("an unknown field", b'{"no_such_field": 1}', "application/json", (422,)),
    ("NUL", b'{"reason": "\\u0000"}', "application/json", (422,)),
    ("deep nesting", b"[" * 100_000, "application/json", (400,)),
    ("too long", b'{"a": "' + b"x" * 1_100_000 + b'"}', "application/json", (413,)),
    ("another type", b"a=1", "application/x-www-form-urlencoded", (415,)),
    ("no type", b"{}", "", (415,)),
]


@pytest.mark.parametrize(("kind", "content", "media_type", "statuses"), BAD_BODIES, ids=[bad[0] for bad in BAD_BODIES])
@pytest.mark.parametrize("entry", WITH_BODY, ids=_name)
def test_a_bad_body_is_refused(
    clients: dict[str, httpx.Client],
    entry: Endpoint,
    kind: str,
    content: bytes,
    media_type: str,
    statuses: tuple[int, ...],
) -> None:
    """Whatever is wrong with it, the answer says so and has the one shape."""
    headers = {"Content-Type": media_type} if media_type else {}
    _refused(clients["admin"].request(entry.method, _path(entry), content=content, headers=headers), *statuses)


@pytest.mark.parametrize("entry", [entry for entry in ENDPOINTS if entry.access is not None], ids=_name)
def test_an_unknown_query_parameter_is_named(clients: dict[str, httpx.Client], entry: Endpoint) -> None:
    """A misspelt filter must not silently mean no filter."""
    body = _valid_body(entry)
    arguments = {} if body is None else {"json": body}
    answer = clients["admin"].request(entry.method, _path(entry), params={"no_such_parameter": "1"}, **arguments)
    error = _refused(answer, 422)
    if not entry.body:
        assert "no_such_parameter" in [detail["field"] for detail in error["details"]]


@pytest.mark.parametrize(
    ("path", "parameter"), [("datasets", "name"), ("models", "algorithm"), ("predictions", "transaction_id")]
)
def test_nul_in_a_filter_is_named(clients: dict[str, httpx.Client], path: str, parameter: str) -> None:
    """PostgreSQL has no such text."""
    assert _refused(clients["admin"].get(path, params={parameter: "a\x00"}), 422)["target"] == parameter


PAGED = [entry for entry in ENDPOINTS if entry.query is not None and "page_size" in entry.query.model_fields]


@pytest.mark.parametrize("value", ["0", "101", "-1", "many", "1.5"])
@pytest.mark.parametrize("entry", PAGED, ids=_name)
def test_a_bad_page_size_is_named(clients: dict[str, httpx.Client], entry: Endpoint, value: str) -> None:
    """Pages have 1 to 100 rows."""
    error = _refused(clients["admin"].get(_path(entry), params={"page_size": value}), 422)
    assert error["target"] == "page_size"


CSV = b"amount,is_fraud\n1,0\n2,1\n"
UPLOADS: list[tuple[str, dict[str, Any], int]] = [
    ("no type", {"content": CSV}, 415),
    ("another type", {"content": CSV, "headers": {"Content-Type": "image/png"}}, 415),
    ("no name", {"content": CSV, "headers": {"Content-Type": "text/csv"}}, 422),
    ("empty name", {"content": CSV, "headers": {"Content-Type": "text/csv"}, "params": {"name": " "}}, 422),
    ("long name", {"content": CSV, "headers": {"Content-Type": "text/csv"}, "params": {"name": "x" * 256}}, 422),
    ("empty body", {"content": b"", "headers": {"Content-Type": "text/csv"}, "params": {"name": "x"}}, 422),
    ("no rows", {"content": b"a,b\n", "headers": {"Content-Type": "text/csv"}, "params": {"name": "x"}}, 422),
    ("torn file", {"content": b"PAR1", "headers": {"Content-Type": "text/csv"}, "params": {"name": "x"}}, 400),
    ("form without file", {"files": {"other": ("x.csv", CSV)}, "data": {"name": "x"}}, 422),
    ("form without name", {"files": {"file": ("x.csv", CSV)}}, 422),
    ("form with an unknown field", {"files": {"file": ("x.csv", CSV)}, "data": {"name": "x", "owner": "me"}}, 422),
    ("broken form", {"content": b"--", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 422),
    ("form without boundary", {"content": b"--", "headers": {"Content-Type": "multipart/form-data"}}, 422),
    ("NUL in the name", {"content": CSV, "headers": {"Content-Type": "text/csv"}, "params": {"name": "a\x00"}}, 422),
    ("form with NUL in the name", {"files": {"file": ("x.csv", CSV)}, "data": {"name": "a\x00"}}, 422),
    ("long JSON", {"json": {"name": "x" * 2_000_000, "upload_id": str(uuid4())}}, 413),
    ("unknown upload", {"json": {"name": "x", "upload_id": str(uuid4())}}, 422),
    ("upload without name", {"json": {"upload_id": str(uuid4())}}, 422),
]


@pytest.mark.parametrize(("kind", "request_", "status"), UPLOADS, ids=[upload[0] for upload in UPLOADS])
def test_a_bad_upload_is_refused(
    clients: dict[str, httpx.Client], kind: str, request_: dict[str, Any], status: int
) -> None:
    """Whatever is wrong with the file or its description, and no dataset appears."""
    before = clients["admin"].get("datasets").json()["meta"]["pagination"]["total"]
    _refused(clients["admin"].post("datasets", **request_), status)
    assert clients["admin"].get("datasets").json()["meta"]["pagination"]["total"] == before


@pytest.mark.parametrize("media_type", ["text/csv", "application/octet-stream"])
def test_a_raw_body_is_a_dataset(clients: dict[str, httpx.Client], media_type: str) -> None:
    """Named by the query string."""
    answer = clients["scientist"].post(
        "datasets", content=CSV, headers={"Content-Type": media_type}, params={"name": "raw", "description": "two rows"}
    )
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    assert (data["name"], data["version"], data["row_count"]) == ("raw", "1.0", 2)
    assert answer.headers["location"].endswith(data["id"])
    assert [column["name"] for column in data["schema"]["columns"]] == ["amount", "is_fraud"]
    statistics = clients["analyst"].get(f"datasets/{data['id']}/statistics").json()["data"]
    assert statistics["column_stats"]["amount"]["max"] == 2


def test_the_request_id_is_kept_when_well_formed(clients: dict[str, httpx.Client]) -> None:
    """It comes back in the header and in the body; nonsense is replaced."""
    answer = clients["admin"].get("users/me", headers={"X-Request-Id": "order-4711"})
    assert answer.headers["x-request-id"] == answer.json()["meta"]["request_id"] == "order-4711"
    answer = clients["admin"].get("users/me", headers={"X-Request-Id": "bad id\t" + "x" * 200})
    assert len(answer.headers["x-request-id"]) == 36


def test_every_request_leaves_one_line_in_the_log(app: RunningApp, clients: dict[str, httpx.Client]) -> None:
    """With its id, function, status and duration, whoever asked and whatever came of it."""
    for path, status in (("users/me", 200), (f"models/{uuid4()}", 404)):
        request_id = f"logged-{uuid4()}"
        assert clients["analyst"].get(path, headers={"X-Request-Id": request_id}).status_code == status
        lines = [line for line in app.log.splitlines() if request_id in line]
        assert len(lines) == 1
        assert all(field in lines[0] for field in ("function", f"{status}", "duration_ms", "user_id"))


def test_secrets_are_not_logged(app: RunningApp, clients: dict[str, httpx.Client]) -> None:
    """After all these requests no token, key, password or e-mail address is in the log."""
    clients["admin"].get("users/me")
    token = clients["admin"].headers["authorization"].removeprefix("Bearer ")
    password = app.database_url.split(":")[2].split("@")[0]
    for secret in (token, "a-machine-key-for-tests", password, "local-admin@example.com", "AccountKey="):
        assert secret not in app.log
