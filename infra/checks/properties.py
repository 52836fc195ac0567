"""Resources against the table of resource types: versions, properties, required ones, kinds of values, enumerations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from infra.checks.bicep import Fault, File, Resource
from infra.checks.expressions import Call, Choice, Expression, Loop, Member, Name, Object, Other

_OF_THE_LANGUAGE = {"name", "parent", "scope", "dependsOn"}  # beside the properties of the resource itself


@cache
def table() -> dict[str, Any]:
    """resource_types.json, derived from the Azure packages by ``infra.checks.derive``."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("resource_types.json").read_text())
    return loaded


def check_resources(files: Mapping[str, File]) -> Iterator[Fault]:
    """Every resource of every file."""
    for file in files.values():
        for resource in file.resources.values():
            yield from _resource(file, resource)


def _resource(file: File, resource: Resource) -> Iterator[Fault]:
    known = table()["resources"].get(resource.type)
    if known is None:
        yield Fault(file.name, resource.line, f"{resource.type} is not in the table of resource types")
        return
    if resource.version != known["version"]:
        message = f"{resource.type} is used as of {known['version']}, not {resource.version}"
        yield Fault(file.name, resource.line, message)
    if "name" not in resource.body.entries:
        yield Fault(file.name, resource.line, f"{resource.name} has no name")
    if resource.type.count("/") > 1 and "parent" not in resource.body.entries:
        yield Fault(file.name, resource.line, f"{resource.name} has no parent")
    if resource.existing:
        return
    own = {key: value for key, value in resource.body.entries.items() if key not in _OF_THE_LANGUAGE}
    body = Object(own, resource.body.lines, resource.body.line)
    yield from _Checker(file, resource.line).model(body, {"model": known["model"]}, resource.name)


@dataclass(frozen=True)
class _Checker:
    """Compares values with types; ``line`` is the nearest one known, ``excluded`` what a condition rules out."""

    file: File
    line: int
    excluded: tuple[tuple[str, Expression], ...] = ()

    def value(self, value: Expression, kind: Any, place: str) -> Iterator[Fault]:
        """The faults of one value; what cannot be known before a deployment has none."""
        match value:
            case None | Member() | Other():
                return
            case Call(function="union"):
                for part in value.arguments:
                    yield from self.value(part, _without_required(kind), place)
            case Call(function="filter"):
                yield from self.value(value.arguments[0], kind, place)
            case Call():
                return
            case Choice():
                yield from self._choice(value, kind, place)
            case Name():
                for alternative in self._alternatives(value):
                    yield from self.value(alternative, kind, place)
            case _:
                yield from self._literal(value, kind, place)

    def _literal(self, value: Expression, kind: Any, place: str) -> Iterator[Fault]:
        if isinstance(kind, str):
            if not _is_scalar(value, kind):
                yield self._fault(f"{place} is {kind}, not {_shown(value)}")
        elif "enum" in kind:
            if value not in kind["enum"]:
                choices = ", ".join(map(str, kind["enum"]))
                yield self._fault(f"{place} cannot be {_shown(value)}; it is one of {choices}")
        elif "list" in kind:
            yield from self._list(value, kind["list"], place)
        elif not isinstance(value, Object):
            yield self._fault(f"{place} is an object, not {_shown(value)}")
        elif "map" in kind:
            for key, part in value.entries.items():
                yield from replace(self, line=value.lines[key]).value(part, kind["map"], f"{place}.{key}")
        else:
            yield from self.model(value, kind, place)

    def _list(self, value: Expression, kind: Any, place: str) -> Iterator[Fault]:
        if isinstance(value, Loop):
            yield from self.value(value.body, kind, place)
        elif isinstance(value, list):
            for index, part in enumerate(value):
                yield from self.value(part, kind, f"{place}[{index}]")
        else:
            yield self._fault(f"{place} is a list, not {_shown(value)}")

    def model(self, value: Object, kind: Any, place: str) -> Iterator[Fault]:
        """An object against a model: nothing unknown, nothing missing."""
        model = kind["model"] if isinstance(kind["model"], dict) else table()["models"][kind["model"]]
        named = model.get("discriminator") and value.entries.get(model["discriminator"])
        if isinstance(named, str):
            if named not in model["subtypes"]:
                yield self._fault(f"{place} cannot be a {named}; it is one of {', '.join(model['subtypes'])}")
                return
            model = table()["models"][model["subtypes"][named]]
        at = replace(self, line=value.line)
        for key, part in value.entries.items():
            inside = replace(self, line=value.lines[key])
            if key in model["properties"]:
                yield from inside.value(part, model["properties"][key], f"{place}.{key}")
            else:
                yield inside._fault(f"{place} has no property {key}")
        if not kind.get("partial"):
            for key in model["required"]:
                if key not in value.entries:
                    yield at._fault(f"{place} lacks the required property {key}")

    def _choice(self, value: Choice, kind: Any, place: str) -> Iterator[Fault]:
        yield from self.value(value.then, kind, place)
        narrowed = self
        condition = value.condition
        if isinstance(condition, Other) and condition.operator == "==":
            name, literal = condition.parts
            if isinstance(name, Name):
                narrowed = replace(self, excluded=(*self.excluded, (name.name, literal)))
        yield from narrowed.value(value.otherwise, kind, place)

    def _alternatives(self, value: Name) -> list[Expression]:
        if value.name in self.file.variables:
            return [self.file.variables[value.name]]
        parameter = self.file.parameters.get(value.name)
        if parameter is None:
            return []
        excluded = [literal for name, literal in self.excluded if name == value.name]
        return [allowed for allowed in parameter.allowed if allowed not in excluded]

    def _fault(self, message: str) -> Fault:
        return Fault(self.file.name, self.line, message)


def _is_scalar(value: Expression, kind: str) -> bool:
    if kind == "any":
        return True
    expected: Any = {"string": str, "bool": bool, "int": int, "number": int}[kind]
    return isinstance(value, expected) and (kind == "bool" or not isinstance(value, bool))


def _without_required(kind: Any) -> Any:
    return {**kind, "partial": True} if isinstance(kind, dict) and "model" in kind else kind


def _shown(value: Expression) -> str:
    return repr(value) if isinstance(value, str | int) else type(value).__name__.lower()
