"""Signatures that the Python worker refuses are refused here."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import azure.functions as func
import pytest

from devhost.app_loader import AppError, index_functions
from devhost.signatures import check_signature

HTTP = {"req": "httpTrigger", "$return": "http"}


def good(req: func.HttpRequest) -> func.HttpResponse: ...


def text(req: func.HttpRequest) -> str: ...


def bare(req): ...  # type: ignore[no-untyped-def]


def with_context(req: func.HttpRequest, context: func.Context) -> func.HttpResponse: ...


def returns_none(req: func.HttpRequest) -> None: ...


def returns_union(req: func.HttpRequest) -> func.HttpResponse | None: ...


def takes_union(req: func.HttpRequest | None) -> func.HttpResponse: ...


def takes_timer(req: func.TimerRequest) -> func.HttpResponse: ...


def takes_more(req: func.HttpRequest, other: int) -> func.HttpResponse: ...


def takes_none() -> func.HttpResponse: ...


def wrong_context(req: func.HttpRequest, context: int) -> func.HttpResponse: ...


def unresolvable(req: Missing) -> func.HttpResponse: ...  # type: ignore[name-defined]  # noqa: F821


def activity(payload: Any) -> list[int]: ...


def typing_generic(payload: typing.Dict[str, Any]) -> list[int]: ...  # noqa: UP006


def builtin_generic(payload: dict[str, Any]) -> list[int]: ...


@pytest.mark.parametrize("function", [good, text, bare, with_context])
def test_loadable_signatures_pass(function: Callable[..., Any]) -> None:
    """Annotations that fit, or none at all, are fine."""
    assert check_signature(function, HTTP, frozenset({"$return"})) is None


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (returns_none, "return annotation"),
        (returns_union, "return annotation"),
        (takes_union, "annotation of req"),
        (takes_timer, "annotation of req"),
        (takes_more, "without binding: other"),
        (takes_none, "without parameter: req"),
        (wrong_context, "context parameter"),
        (unresolvable, "cannot be resolved"),
    ],
)
def test_unloadable_signatures_are_named(function: Callable[..., Any], reason: str) -> None:
    """Each refusal says what is wrong."""
    assert reason in (check_signature(function, HTTP, frozenset({"$return"})) or "")


def test_activities_take_any_type() -> None:
    """An activity's argument and result may be of any class, or one of typing's generics."""
    for function in (activity, typing_generic):
        assert check_signature(function, {"payload": "activityTrigger"}, frozenset()) is None


def test_builtin_generics_are_refused() -> None:
    """The worker takes `dict[str, Any]` for no type at all."""
    assert "dict[str, typing.Any]" in (
        check_signature(builtin_generic, {"payload": "activityTrigger"}, frozenset()) or ""
    )


def test_app_with_such_a_function_does_not_start() -> None:
    """Indexing ends with the function's name and the reason."""
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    app.route(route="x")(returns_none)
    with pytest.raises(AppError, match="returns_none would not load in Azure: the return annotation"):
        index_functions(app)
