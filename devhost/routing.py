"""Which function answers a request: the Azure host's rules, made fast.

Functions are tried in the order of their names, without regard to case, and the first whose method and template fit
wins. A literal segment has no precedence over a parameter, and a wrong method is the same as no match.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import unquote

from devhost.templates import Template, parse_template

T = TypeVar("T")

ALL_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"})


@dataclass(frozen=True, slots=True)
class Route(Generic[T]):
    """One HTTP function's route. An empty `methods` means every method."""

    name: str
    template: Template
    methods: frozenset[str]
    target: T

    def accepts(self, method: str) -> bool:
        """Whether the function takes this method."""
        return not self.methods or method in self.methods


def make_route(name: str, prefix: str, template: str, methods: Iterable[str], target: T) -> Route[T]:
    """Build a route from the host's `routePrefix` and a function's template (its name where it has none)."""
    text = f"{prefix.strip('/')}/{template.strip('/')}".strip("/")
    return Route(name, parse_template(text), frozenset(method.upper() for method in methods), target)


def decode_path(raw: str) -> str:
    """Decode percent escapes as Kestrel does: everything but an encoded slash."""
    if "%" not in raw:
        return raw
    return "%2F".join(unquote(part) for part in raw.replace("%2f", "%2F").split("%2F"))


class Router(Generic[T]):
    """Ordered matching, with an index that never changes the outcome.

    For each method the routes are bucketed by the text of one segment position (the first at which the templates
    differ, so usually the one after the prefix). A bucket keeps the name order and holds every route whose segment
    there is that literal or a parameter, so the first match in a bucket is the first match overall. The answers of
    wholly literal templates are computed once.
    """

    def __init__(self, routes: Iterable[Route[T]]) -> None:
        self.routes = sorted(routes, key=lambda route: (route.name.casefold(), route.name))
        self._pivot = self._first_difference()
        self._buckets: dict[tuple[str, str | None], list[Route[T]]] = {}
        self._literal: dict[tuple[str, str], Route[T]] = {}
        for method in ALL_METHODS:
            accepting = [route for route in self.routes if route.accepts(method)]
            keys = {self._key_of(route) for route in accepting} | {None}
            for key in keys:
                self._buckets[method, key] = [route for route in accepting if self._key_of(route) in (key, None)]
        for route in self.routes:
            if route.template.is_literal:
                path = "/".join(literal or "" for literal in route.template.literals)
                for method in ALL_METHODS:
                    if (found := self.match_in_order(method, path)) is not None and not found[1]:
                        self._literal[method, path] = found[0]

    def match(self, method: str, path: str) -> tuple[Route[T], dict[str, str]] | None:
        """Return the route and its values for a decoded path without leading slash, or None."""
        literal = self._literal.get((method, path))
        if literal is not None:
            return literal, {}
        segments = path.split("/", self._pivot + 1)
        key = segments[self._pivot].casefold() if len(segments) > self._pivot else None
        bucket = self._buckets.get((method, key))
        if bucket is None:
            bucket = self._buckets.get((method, None), [])
        for route in bucket:
            values = route.template.match(path)
            if values is not None:
                return route, values
        return None

    def match_in_order(self, method: str, path: str) -> tuple[Route[T], dict[str, str]] | None:
        """The rule itself, without the index: try each route in order. `match` must always agree with it."""
        for route in self.routes:
            if route.accepts(method) and (values := route.template.match(path)) is not None:
                return route, values
        return None

    def _first_difference(self) -> int:
        literals = [route.template.literals for route in self.routes]
        position = 0
        while literals and all(len(row) > position and row[position] is not None for row in literals):
            if len({row[position] for row in literals}) > 1:
                break
            position += 1
        return position

    def _key_of(self, route: Route[T]) -> str | None:
        """The literal at the pivot, or None where any text (or none) may stand there."""
        literals = route.template.literals
        return literals[self._pivot] if len(literals) > self._pivot else None
