"""HTTP functions through the running host: what reaches a function, and what comes back."""

from __future__ import annotations

import socket
import threading
import time
import uuid

import httpx
import pytest

from tests.fixtures.devhost import HostProcess


def test_request_arrives_as_the_azure_host_sends_it(host: HostProcess) -> None:
    """Header names are lower-cased, repeated keys joined, empty query values dropped, the URL kept as sent."""
    seen = host.api(
        "POST",
        "echo/One%20Two/?a=1&A=2&empty=&b=x+y%21",
        content=b"\x00body",
        headers=[("X-Mixed-Case", "1"), ("X-Twice", "a"), ("x-twice", "b")],
    ).json()
    assert seen["method"] == "POST"
    assert seen["url"] == f"{host.url}/api/v1/echo/One%20Two/?a=1&A=2&empty=&b=x+y%21"
    assert seen["params"] == {"a": "1,2", "b": "x y!"}
    assert seen["route"] == {"first": "One Two"}
    assert seen["body"] == "\x00body"
    assert seen["headers"]["x-mixed-case"] == "1"
    assert seen["headers"]["x-twice"] == "a,b"
    assert seen["function"] == "echo_request"
    assert uuid.UUID(seen["invocation"])


def test_optional_segment_is_a_route_value_when_given(host: HostProcess) -> None:
    """An optional parameter is there or absent, and an encoded slash stays encoded."""
    assert host.api("GET", "echo/a/b").json()["route"] == {"first": "a", "second": "b"}
    assert host.api("GET", "echo/a%2Fb").json()["route"] == {"first": "a%2Fb"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "api/v1/nothing/here"),
        ("POST", "api/v1/health/live"),
        ("GET", "api/v1/switched/off"),
        ("GET", "api/v1/things/not-a-guid"),
        ("GET", "api/health/live"),
        ("GET", "somewhere"),
    ],
)
def test_no_match_is_an_empty_404(host: HostProcess, method: str, path: str) -> None:
    """An unknown path, a wrong method, a disabled function and a failed constraint look the same."""
    response = host.http.request(method, f"{host.url}/{path}")
    assert (response.status_code, response.content) == (404, b"")


def test_constraint_lets_a_literal_route_through(host: HostProcess) -> None:
    """A constrained parameter that comes first by name leaves the literal beside it reachable."""
    thing = str(uuid.uuid4())
    assert host.api("GET", f"things/{thing}").json() == {"thing": thing}
    assert host.api("GET", "things/COMPARE").json() == {"compared": True}


def test_failing_function_is_an_empty_500(host: HostProcess) -> None:
    """A function's exception goes to the log, not to the caller."""
    response = host.api("GET", "fails")
    assert (response.status_code, response.content) == (500, b"")
    assert "this text stays in the log" in host.log.read_text()


def test_plain_functions_run_on_the_thread_pool(host: HostProcess) -> None:
    """A plain def runs in a worker thread without the request's context variables."""
    assert host.api("GET", "thread").json()["thread"].startswith("function_")


def test_no_return_value_is_204(host: HostProcess) -> None:
    """A function that returns None answers 204 without body."""
    response = host.api("DELETE", "nothing")
    assert (response.status_code, response.content) == (204, b"")


def test_each_cookie_keeps_its_header(host: HostProcess) -> None:
    """Repeated Set-Cookie headers are not merged; the default type is text."""
    response = host.api("GET", "cookies")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_function_level_takes_function_or_master_key(host: HostProcess) -> None:
    """A function key or the master key, in the header or as ?code=, opens a function; nothing else does."""
    keys = host.keys()
    assert host.api("GET", "keyed").status_code == 401
    assert host.api("GET", "keyed", headers={"x-functions-key": "wrong"}).status_code == 401
    assert host.api("GET", "keyed", headers={"x-functions-key": keys["function"]}).status_code == 200
    assert host.api("GET", "keyed", params={"code": keys["master"]}).status_code == 200


def test_admin_level_takes_the_master_key_only(host: HostProcess) -> None:
    """The function key does not open an admin function."""
    keys = host.keys()
    assert host.api("GET", "mastered", headers={"x-functions-key": keys["function"]}).status_code == 401
    assert host.api("GET", "mastered", headers={"x-functions-key": keys["master"]}).status_code == 200


def test_key_file_is_private(host: HostProcess) -> None:
    """Keys and the issuer's key can be read by their owner only."""
    for name in ("host-keys.json", "issuer.json"):
        assert (host.state / name).stat().st_mode & 0o777 == 0o600


def test_oversized_body_is_413(host: HostProcess) -> None:
    """A body that declares more than the host's limit is refused before it is read."""
    address = host.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as connection:
        head = "POST /api/v1/echo/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 104857601\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_chunked_bodies_are_read_whole(host: HostProcess) -> None:
    """A body without declared length arrives complete."""
    parts = [b"part%d" % number for number in range(50)]
    assert host.api("POST", "echo/x", content=iter(parts)).json()["body"].encode() == b"".join(parts)


def test_client_that_leaves_disturbs_nobody(host: HostProcess) -> None:
    """Connections dropped while a function runs, or in the middle of a body, leave the host well."""
    address = host.url.removeprefix("http://").split(":")
    for head in (
        "GET /api/v1/slow/300 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "POST /api/v1/echo/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\npart",
    ):
        with socket.create_connection((address[0], int(address[1]))) as connection:
            connection.sendall(head.encode())
            time.sleep(0.05)
    time.sleep(0.4)
    assert host.api("GET", "health/live").status_code == 200
    assert "Traceback" not in host.log.read_text().split("this text stays in the log")[-1]


def test_admin_endpoints_list_and_need_the_master_key(host: HostProcess) -> None:
    """The host's state is open; its functions are listed for the master key only."""
    assert host.http.get(f"{host.url}/admin/host/status").json()["state"] == "Running"
    assert host.http.get(f"{host.url}/admin/functions").status_code == 401
    listed = host.http.get(f"{host.url}/admin/functions", headers={"x-functions-key": host.keys()["master"]}).json()
    disabled = [function["name"] for function in listed if function["isDisabled"]]
    assert disabled == ["switched_off"]


def test_sigterm_drains_requests(own_host: HostProcess) -> None:
    """A request in flight is answered after SIGTERM; then the host ends with status 0."""
    own_host.start()
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(httpx.get(f"{own_host.url}/api/v1/slow/800")))
    caller.start()
    time.sleep(0.3)
    assert own_host.stop() == 0
    caller.join(5)
    assert [answer.json() for answer in answers] == [{"slept": True}]


def test_busy_thread_does_not_hold_up_the_end(own_host: HostProcess) -> None:
    """A plain function that computes beyond the drain time is left behind."""
    own_host.options = ["--drain", "0.5"]
    own_host.start()
    statuses: list[int] = []
    url = f"{own_host.url}/api/v1/busy"
    caller = threading.Thread(target=lambda: statuses.append(httpx.get(url, timeout=30).status_code))
    caller.start()
    time.sleep(0.3)
    before = time.monotonic()
    assert own_host.stop() == 0
    assert time.monotonic() - before < 4
    caller.join(5)
    assert statuses == [500]


def test_taken_port_is_named(own_host: HostProcess, host: HostProcess) -> None:
    """Starting on a port in use ends with a message that names it."""
    port = host.url.rpartition(":")[2]
    own_host.options = ["--port", port]
    with pytest.raises(AssertionError, match=f"port {port} on 127.0.0.1 is in use"):
        own_host.start()
