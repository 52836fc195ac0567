"""Reading requests: where they came from, and JSON that is not what it seems."""

import azure.functions as func
import pytest
from pydantic import BaseModel

from functions.requests import PageQuery, origin_of, parse_json, read_query
from shared.platform.errors import InvalidContent, Malformed


class Document(BaseModel):
    """A body with one field of any kind."""

    value: object = None


def _request(**headers: str) -> func.HttpRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpRequest(method="GET", url="/", headers=named, body=b"")


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("", None),
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("10.0.0.1, 203.0.113.7:51234", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("'; DROP TABLE users", None),
    ],
)
def test_the_address_is_the_one_the_front_end_added(forwarded: str, address: str | None) -> None:
    """The last entry, with or without a port; anything else is no address."""
    assert origin_of(_request(x_forwarded_for=forwarded)).ip_address == address


def test_a_long_user_agent_is_cut() -> None:
    """The audit log keeps 500 characters."""
    assert len(origin_of(_request(user_agent="x" * 10_000)).user_agent or "") == 500


@pytest.mark.parametrize("raw", [b"", b"{", b"nan", b'{"value": NaN}', b'{"value": "\xff"}', b'{"value": 1e999999}x'])
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    """With the position in the message."""
    with pytest.raises(Malformed):
        parse_json(raw, Document)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"value": "a\\u0000b"}',
        b'{"value": {"a\\u0000": 1}}',
        b'{"value": [["\\u0000"]]}',
        b'{"value": ' + b"[" * 900 + b'"\\u0000"' + b"]" * 900 + b"}",
    ],
    ids=["value", "name", "nested", "deeply nested"],
)
def test_nul_is_refused_wherever_it_hides(raw: bytes) -> None:
    """PostgreSQL stores no NUL in text or JSON."""
    with pytest.raises(InvalidContent):
        parse_json(raw, Document)


def test_an_escaped_backslash_before_u0000_is_text() -> None:
    """Only the character itself is refused, not its spelling."""
    assert parse_json(b'{"value": "\\\\u0000"}', Document).value == "\\u0000"


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (20, 1), (21, 2)])
def test_pages_are_counted(total: int, pages: int) -> None:
    """The last page may be short."""
    assert PageQuery().pagination(total)["total_pages"] == pages


def test_nul_in_a_parameter_is_named() -> None:
    """No filter can contain it, and it must not reach the database."""
    request = func.HttpRequest(method="GET", url="/", params={"page": "1\x00"}, body=b"")
    with pytest.raises(InvalidContent) as refused:
        read_query(request, PageQuery)
    assert refused.value.target == "page"


def test_a_refusal_has_an_end() -> None:
    """A body full of unknown fields is not answered with all of them."""
    raw = b"{" + b",".join(b'"f%d":0' % number for number in range(10_000)) + b"}"
    with pytest.raises(InvalidContent) as refused:
        parse_json(raw, PageQuery)
    assert len(refused.value.details) == 100
