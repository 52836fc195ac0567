"""The worker's checks of a function's signature at load time: what it would refuse must not start here either."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import azure.functions as func

_RETURN = "$return"


def check_signature(call: Callable[..., Any], bindings: Mapping[str, str], outputs: frozenset[str]) -> str | None:
    """Say why the Python worker would not load a function, or None where it would.

    `bindings` maps the names of its bindings to their types; `outputs` are the output bindings' names.
    """
    parameters = dict(inspect.signature(call).parameters)
    try:
        hints = typing.get_type_hints(call)
    except NameError as error:
        return f"an annotation cannot be resolved at run time: {error}"
    bound = {name: kind for name, kind in bindings.items() if name != _RETURN}
    if "context" in parameters and "context" not in bound:
        parameters.pop("context")
        if "context" in hints and getattr(hints["context"], "__name__", "") != "Context":
            return "the context parameter must be annotated azure.functions.Context"
    if missing := set(parameters) - set(bound):
        return f"parameters without binding: {', '.join(sorted(missing))}"
    if missing := set(bound) - set(parameters):
        return f"bindings without parameter: {', '.join(sorted(missing))}"
    for name, kind in bound.items():
        if name not in outputs and name in hints and not _fits(kind, hints[name], "check_input_type_annotation"):
            return f"the annotation of {name} does not fit its {kind} binding: {hints[name]!r}"
    returned = hints.get("return")
    if (
        _RETURN in bindings
        and "return" in hints
        and not _fits(bindings[_RETURN], returned, "check_output_type_annotation")
    ):
        return f"the return annotation does not fit the {bindings[_RETURN]} binding: {returned!r}"
    return None


def _fits(kind: str, annotation: Any, check: str) -> bool:
    """Whether an annotation is a class, or one of typing's generics, that the binding's converter accepts.

    The worker knows neither unions nor builtin generics: `dict[str, Any]` is refused, `typing.Dict[str, Any]` is not.
    """
    origin = typing.get_origin(annotation)
    if isinstance(annotation, types.GenericAlias | types.UnionType) or origin is typing.Union:
        return False
    if origin is None and not isinstance(annotation, type):
        return False
    if annotation in (str, bytes):  # handed over as they are
        return True
    registry = func.get_binding_registry()  # type: ignore[no-untyped-call]
    converter = registry.get(kind)
    return converter is None or bool(getattr(converter, check)(origin or annotation))
