"""What a caller is told about a body that does not fit."""

import json
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import azure.functions as func
import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from functions.requests import parse_json, read_body
from shared.platform.errors import InvalidContent, UnsupportedMedia


class _Limit(BaseModel):
    type: Literal["limit"]
    fpr: float = Field(gt=0)
    above: float = 0

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.above >= self.fpr:
            raise ValueError("above must be below fpr")
        return self


class _Fixed(BaseModel):
    type: Literal["fixed"]


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: UUID
    policy: Annotated[_Limit | _Fixed, Field(discriminator="type")] = _Fixed(type="fixed")
    rows: list[_Fixed] = []
    name: str = ""

    @field_validator("name")
    @classmethod
    def _not_root(cls, name: str) -> str:
        if name == "root":
            raise ValueError("root is taken")
        return name


GOOD = {"id": "00000000-0000-0000-0000-000000000001"}


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ([], "body", "must be an object"),
        (None, "body", "must be an object"),
        ({}, "id", "is required"),
        ({"id": 5}, "id", "must be a UUID"),
        ({"id": "x"}, "id", "must be a UUID"),
        ({**GOOD, "typo": 1}, "typo", "is not known here"),
        ({**GOOD, "name": "root"}, "name", "root is taken"),
        ({**GOOD, "rows": {}}, "rows", "must be a list"),
        ({**GOOD, "rows": [{"type": "fixed"}, 7]}, "rows.1", "must be an object"),
        ({**GOOD, "policy": {"type": "limit"}}, "policy.fpr", "is required"),
        ({**GOOD, "policy": {"type": "limit", "fpr": 1, "above": 2}}, "policy", "above must be below fpr"),
        ({**GOOD, "policy": {"type": "limit", "fpr": -1}}, "policy.fpr", "Input should be greater than 0"),
    ],
)
def test_a_refusal_names_the_field_as_the_caller_wrote_it(document: Any, field: str, message: str) -> None:
    """No names of Python types, and no variant of a union in the path."""
    with pytest.raises(InvalidContent) as refused:
        parse_json(json.dumps(document).encode(), _Order)
    assert [(detail.field, detail.message) for detail in refused.value.details] == [(field, message)]
    assert refused.value.target == field


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"content-type": "text/plain"}, "the body must be application/json"),
        ({}, "the body must be application/json"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "the body must not be compressed"),
    ],
)
def test_a_body_of_another_kind_is_refused_for_what_it_is(headers: dict[str, str], message: str) -> None:
    """A compressed body is not called malformed JSON."""
    request = func.HttpRequest(method="POST", url="/", headers=headers, body=json.dumps(GOOD).encode())
    with pytest.raises(UnsupportedMedia, match=message):
        read_body(request, _Order, 1000)


def test_charset_and_identity_are_no_obstacle() -> None:
    """What common clients add to the headers changes nothing."""
    headers = {"content-type": "Application/JSON; charset=utf-8", "content-encoding": "identity"}
    request = func.HttpRequest(method="POST", url="/", headers=headers, body=json.dumps(GOOD).encode())
    assert read_body(request, _Order, 1000).name == ""
