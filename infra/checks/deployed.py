"""What an environment would deploy: the template followed through its modules with the values of a parameter file.

Values that only Azure knows (ids, addresses, what a function computes) are :data:`UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra.checks.bicep import File
from infra.checks.expressions import Call, Choice, Expression, Loop, Member, Name, Object, Other
from infra.checks.names import module_path


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Symbol:
    """A resource or module as a value."""

    name: str


@dataclass(frozen=True)
class Deployed:
    """One resource of an environment."""

    file: str
    line: int
    symbol: str
    type: str
    body: dict[str, Any]

    def get(self, path: str) -> Any:
        """The value at a dotted path of the body; UNKNOWN where it is not known, None where nothing is there."""
        value: Any = self.body
        for part in path.split("."):
            if value is UNKNOWN:
                return UNKNOWN
            value = value.get(part) if isinstance(value, dict) else None
        return value


def deployed(files: Mapping[str, File], parameters: str, **overrides: Any) -> list[Deployed]:
    """The resources of the environment of a parameter file; ``overrides`` replace parameters of the template."""
    file = files[parameters]
    own = _Scope(files, file, {})
    values = {name: own.resolve(value) for name, value in file.variables.items()} | overrides
    return list(_Scope(files, files[str(file.uses)], values).resources())


@dataclass(frozen=True)
class _Scope:
    files: Mapping[str, File]
    file: File
    bindings: Mapping[str, Any] = field(default_factory=dict)

    def resources(self) -> Iterator[Deployed]:
        for resource in self.file.resources.values():
            if not resource.existing:
                for scope in self._instances(resource.around, resource.bound):
                    body = scope.resolve(resource.body)
                    yield Deployed(self.file.name, resource.line, resource.name, resource.type, body)
        for module in self.file.modules.values():
            for scope in self._instances(module.around, module.bound):
                given = scope.resolve(module.body).get("params", {})
                target = self.files.get(module_path(self.file, module))
                if target is not None:
                    yield from _Scope(self.files, target, given).resources()

    def _instances(self, around: Expression, bound: tuple[str, ...]) -> Iterator[_Scope]:
        """One scope for each turn of the loop; none where the condition is known to be false."""
        assert isinstance(around, list)
        for condition in around[1:] if bound else around:
            if self.resolve(condition) is False:
                return
        if not bound:
            yield self
            return
        source = self.resolve(around[0])
        turns = source if isinstance(source, list) else [UNKNOWN]
        for index, element in enumerate(turns):
            yield _Scope(self.files, self.file, {**self.bindings, **dict(zip(bound, (element, index), strict=False))})

    def resolve(self, value: Expression) -> Any:
        """A value as strings, numbers, lists and dictionaries."""
        match value:
            case list():
                return [self.resolve(part) for part in value]
            case Object():
                return {key: self.resolve(part) for key, part in value.entries.items()}
            case Name():
                return self._name(value.name)
            case Member():
                of = self.resolve(value.of)
                return of.get(value.name, UNKNOWN) if isinstance(of, dict) else UNKNOWN
            case Choice():
                condition = self.resolve(value.condition)
                if condition is UNKNOWN:
                    return UNKNOWN
                return self.resolve(value.then if condition else value.otherwise)
            case Loop():
                scopes = self._instances([value.source], tuple(value.variables))
                return [scope.resolve(value.body) for scope in scopes]
            case Call():
                return _call(value.function, [self.resolve(part) for part in value.arguments])
            case Other():
                return _operation(value, [self.resolve(part) for part in value.parts])
            case _:
                return value

    def _name(self, name: str) -> Any:
        if name in self.bindings:
            return self.bindings[name]
        if name in self.file.variables:
            return self.resolve(self.file.variables[name])
        if name in self.file.parameters:
            return self.resolve(self.file.parameters[name].default)
        return Symbol(name)


def _call(function: str, arguments: list[Any]) -> Any:
    if function == "union":  # of what is known of it
        return {key: value for part in arguments if isinstance(part, dict) for key, value in part.items()}
    if any(argument is UNKNOWN for argument in arguments):
        return UNKNOWN
    match function, arguments:
        case "empty", [value]:
            return not value
        case "string", [value]:
            return str(value)
        case "items", [dict() as value]:
            return [{"key": key, "value": value[key]} for key in sorted(value)]
        case "subscriptionResourceId", [kind, name]:
            return f"{kind}/{name}"
        case _:
            return UNKNOWN


def _operation(value: Other, parts: list[Any]) -> Any:
    if any(part is UNKNOWN or isinstance(part, Symbol) for part in parts):
        return UNKNOWN
    match value.operator, parts:
        case "==", [left, right]:
            return left == right
        case "!=", [left, right]:
            return left != right
        case "!", [part]:
            return not part
        case _:
            return UNKNOWN
