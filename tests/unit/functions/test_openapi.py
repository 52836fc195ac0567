"""The OpenAPI document: complete, consistent, and with examples that are true."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

import function_app  # noqa: F401 - fills ENDPOINTS
from functions.endpoint import ENDPOINTS, Endpoint
from functions.openapi.document import errors_of, openapi_json
from functions.openapi.page import content_security_policy, page

ROOT = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = orjson.loads(openapi_json())
OPERATIONS = {operation["operationId"]: operation for path in DOCUMENT["paths"].values() for operation in path.values()}


def _name(entry: Any) -> str:
    return str(entry.name)


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in _references(value)]
    return [found for value in part for found in _references(value)] if isinstance(part, list) else []


@pytest.mark.parametrize("entry", ENDPOINTS, ids=_name)
def test_an_endpoint_says_what_it_answers(entry: Endpoint) -> None:
    """Without ``response=`` a client cannot know."""
    assert entry.response is not None


@pytest.mark.parametrize("entry", ENDPOINTS, ids=_name)
def test_an_operation_tells_everything(entry: Endpoint) -> None:
    """What it is about, every parameter of its path and query, who may call it, and every error."""
    operation = OPERATIONS[entry.name]
    assert operation["summary"]
    assert operation["description"]
    named = {parameter["name"] for parameter in operation["parameters"]}
    assert set(re.findall(r"\{(\w+):guid\}", entry.route)) <= named
    assert set(entry.query.model_fields if entry.query else ()) <= named
    assert ("Idempotency-Key" in named) == (entry.idempotent is not None)
    assert ("requestBody" in operation) == (entry.body is not None or bool(entry.uploads))
    assert set(operation.get("x-roles", ())) == {role.value for role in entry.access or ()}
    statuses = {entry.status, *entry.also, *errors_of(entry)}
    assert set(operation["responses"]) == {str(status) for status in statuses}


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    """Schemas are named once, and none is there that nothing refers to."""
    references = set(_references(DOCUMENT))
    for reference in references:
        part: Any = DOCUMENT
        for key in reference.removeprefix("#/").split("/"):
            part = part[key]
    assert {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]} <= references


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_a_schema_is_one(name: str) -> None:
    """Of the dialect that OpenAPI 3.1 speaks."""
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def _examples() -> list[tuple[str, dict[str, Any], Any]]:
    errors = [answer["content"]["application/json"] for answer in DOCUMENT["components"]["responses"].values()]
    found = [("error", part["schema"], part["example"]) for part in errors]
    for operation_id, operation in OPERATIONS.items():
        answers = [answer.get("content", {}) for answer in operation["responses"].values()]
        for content in (operation.get("requestBody", {}).get("content", {}), *answers):
            found += [(operation_id, part["schema"], part["example"]) for part in content.values() if "example" in part]
    return found


@pytest.mark.parametrize(("name", "schema", "example"), _examples())
def test_an_example_fits_its_schema(name: str, schema: dict[str, Any], example: Any) -> None:
    """It was recorded from the running app; where the schema moved on it has to be recorded again."""
    document = {**schema, "components": DOCUMENT["components"]}
    validator = Draft202012Validator(document, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [error.message for error in validator.iter_errors(example)] == []


@pytest.mark.parametrize("entry", [entry for entry in ENDPOINTS if entry.body is not None], ids=_name)
def test_a_body_has_an_example(entry: Endpoint) -> None:
    """Readers start from one."""
    assert "example" in OPERATIONS[entry.name]["requestBody"]["content"]["application/json"]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No address but its own in it, and the policy allows its own script and style by their hashes."""
    text = page().decode()
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", text)
    assert "unsafe" not in content_security_policy()
    assert content_security_policy().count("'sha256-") == 2


@pytest.mark.skipif(shutil.which("node") is None, reason="runs the page's script in Node.js")
def test_the_page_draws_every_operation(tmp_path: Path) -> None:
    """With all its folds open, without an error."""
    (tmp_path / "openapi.json").write_bytes(openapi_json())
    command = ["node", str(ROOT / "tests/fixtures/page_dom.js"), str(ROOT / "functions/openapi/page/page.js")]
    ran = subprocess.run([*command, str(tmp_path / "openapi.json")], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert set(json.loads(ran.stdout)) == set(OPERATIONS)
