"""Route templates, constraints and the order in which functions are tried."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.constraints import UnknownConstraint, parse_constraint
from devhost.routing import ALL_METHODS, Router, decode_path, make_route
from devhost.templates import InvalidTemplate, parse_template

GUID = "8a7a1b36-3e0b-4c0e-9f6f-0d6a3f0c1b2d"


@pytest.mark.parametrize(
    ("constraint", "fits", "fails"),
    [
        ("int", ["0", "-7", "2147483647"], ["2147483648", "1.5", "x", ""]),
        ("long", ["9223372036854775807"], ["9223372036854775808"]),
        ("guid", [GUID, GUID.upper(), GUID.replace("-", ""), f"{{{GUID}}}"], ["compare", GUID[:-1]]),
        ("bool", ["true", "FALSE"], ["1", "yes"]),
        ("alpha", ["abcXYZ"], ["a1", "a-b"]),
        ("decimal", ["1.5", "1,000.25", "-2"], ["1e3", "NaN"]),
        ("double", ["1.5e3", "NaN"], ["x"]),
        ("float", ["-0.5"], ["--1"]),
        ("datetime", ["2026-01-31", "2026-01-31T10:00:00Z", "1/31/2026"], ["2026-13-01", "soon"]),
        ("length(3)", ["abc"], ["ab", "abcd"]),
        ("length(2,4)", ["ab", "abcd"], ["a", "abcde"]),
        ("minlength(2)", ["ab"], ["a"]),
        ("maxlength(2)", ["ab"], ["abc"]),
        ("min(18)", ["18"], ["17", "x"]),
        ("max(18)", ["18", "-3"], ["19"]),
        ("range(1,12)", ["1", "12"], ["0", "13"]),
        (r"regex(^v\d+$)", ["v1", "V22"], ["v", "1v"]),
        ("required", ["x"], [""]),
    ],
)
def test_constraint_decides(constraint: str, fits: list[str], fails: list[str]) -> None:
    """Each constraint accepts and refuses what ASP.NET routing does."""
    check = parse_constraint(constraint)
    assert [value for value in fits if not check(value)] == []
    assert [value for value in fails if check(value)] == []


@pytest.mark.parametrize("constraint", ["uuid", "length", "length(x)", "range(1)", "int(1)", "min(1"])
def test_unknown_constraints_are_refused(constraint: str) -> None:
    """A constraint that does not exist, or lacks its arguments, is an error and not a literal."""
    with pytest.raises(UnknownConstraint):
        parse_constraint(constraint)


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("a/b", "a/b", {}),
        ("a/b", "A/B/", {}),
        ("a/b", "a//b", None),
        ("a/b", "a", None),
        ("a/{x}", "a/Mixed Case", {"x": "Mixed Case"}),
        ("a/{x}", "a/", None),
        ("a/{x?}", "a", {}),
        ("a/{x?}", "a/1", {"x": "1"}),
        ("a/{x=five}", "a", {"x": "five"}),
        ("a/{x:int=5}", "a", {"x": "5"}),
        ("a/{x:int=5}", "a/six", None),
        ("a/{x:int?}", "a/7", {"x": "7"}),
        ("a/{*rest}", "a/b/c/d", {"rest": "b/c/d"}),
        ("a/{*rest}", "a", {}),
        ("{*rest}", "anything/at/all", {"rest": "anything/at/all"}),
        ("files/{name}.{extension}", "files/report.csv", {"name": "report", "extension": "csv"}),
        ("files/{name}.{extension}", "files/a.b.csv", {"name": "a.b", "extension": "csv"}),
        (r"a/{x:regex(^\d{{2}}$)}", "a/12", {"x": "12"}),
        (r"a/{x:regex(^\d{{2}}$)}", "a/123", None),
        ("a/{x:minlength(2):alpha}/b", "a/xy/b", {"x": "xy"}),
        ("a/{x:guid}", f"a/{GUID}", {"x": GUID}),
    ],
)
def test_template_matches(template: str, path: str, values: dict[str, str] | None) -> None:
    """Literals ignore case, a trailing slash is free, and only given parameters are route values."""
    assert parse_template(template).match(path) == values


@pytest.mark.parametrize("template", ["a/{x", "{x?}/b", "{*rest}/b", "{x}/{X}", "a/{}", "a/{1x}", "a/b{*rest}"])
def test_malformed_templates_are_refused(template: str) -> None:
    """What the Azure host would not start with is an error here."""
    with pytest.raises(InvalidTemplate):
        parse_template(template)


def test_first_function_name_wins_over_a_literal() -> None:
    """A parameter tried first hides the literal beside it; a constraint uncovers it."""
    hidden = Router([make_route("b", "api", "models/compare", [], 1), make_route("A", "api", "models/{id}", [], 2)])
    assert hidden.match("GET", "api/models/compare") == (hidden.routes[0], {"id": "compare"})
    open_ = Router([make_route("b", "api", "models/compare", [], 1), make_route("A", "api", "models/{id:guid}", [], 2)])
    found = open_.match("GET", "api/models/compare")
    assert found is not None
    assert found[0].target == 1


def test_method_is_part_of_the_match() -> None:
    """The same path under another method is another function, or none."""
    router = Router([make_route("a", "", "x", ["get"], 1), make_route("b", "", "x", ["POST"], 2)])
    targets = {method: found[0].target for method in ALL_METHODS if (found := router.match(method, "x")) is not None}
    assert targets == {"GET": 1, "POST": 2}


def test_empty_prefix_and_no_routes() -> None:
    """A router without routes matches nothing."""
    assert Router([]).match("GET", "") is None


@pytest.mark.parametrize(
    ("raw", "decoded"), [("/a%20b", "/a b"), ("/a%2Fb%2fc", "/a%2Fb%2Fc"), ("/%C3%A4", "/ä"), ("/plain", "/plain")]
)
def test_path_is_decoded_but_for_slashes(raw: str, decoded: str) -> None:
    """Percent escapes are decoded once; an encoded slash stays, so it cannot make a segment."""
    assert decode_path(raw) == decoded


_SEGMENTS = st.sampled_from(
    ["a", "B", "compare", "{x}", "{y:int}", "{z:guid}", "{w:alpha}", "v{n:int}", "{p}-{q}", "{v:length(2)}"]
)
_LAST = st.sampled_from(["", "/{last?}", "/{rest=7}", "/{*tail}", "/{number:int?}"])
_TEMPLATES = st.builds(lambda parts, last: "/".join(parts) + last, st.lists(_SEGMENTS, min_size=1, max_size=3), _LAST)
_PATH_SEGMENTS = st.sampled_from(["a", "b", "Compare", "12", "v3", "x-y", GUID, "ab", "", "%2F", "É"])


def _is_unambiguous(template: str) -> bool:
    names = re.findall(r"\{\*?(\w+)", template)
    return len(names) == len(set(names))


@given(
    st.lists(st.tuples(_TEMPLATES.filter(_is_unambiguous), st.sets(st.sampled_from(["GET", "POST"]))), max_size=8),
    st.lists(st.lists(_PATH_SEGMENTS, max_size=5).map("/".join), min_size=1, max_size=8),
    st.sampled_from(["", "api", "api/v1"]),
)
def test_index_never_changes_the_outcome(templates: list[tuple[str, set[str]]], paths: list[str], prefix: str) -> None:
    """The router with its buckets and literal table agrees with trying every route in order."""
    routes = [
        make_route(f"f{number}", prefix, text, methods, number) for number, (text, methods) in enumerate(templates)
    ]
    router = Router(routes)
    for path in paths:
        for method in ("GET", "POST", "DELETE"):
            full = f"{prefix}/{path}".strip("/") if prefix else path
            assert router.match(method, full) == router.match_in_order(method, full)
