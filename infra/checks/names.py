"""Names: what is used is declared, what is declared is used, and modules get exactly the parameters they ask for."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from infra.checks.bicep import Fault, File, Module, Resource
from infra.checks.expressions import Call, Expression, Loop, Member, Name, Object, Other, parts_of, walk

_OF_A_MODULE = {"name", "scope", "params", "dependsOn"}

# The functions of the language that are used here; another one is added when it is needed.
FUNCTIONS = frozenset(
    {
        *("cidrSubnet", "contains", "deployment", "empty", "environment", "filter", "guid", "items", "join", "json"),
        *("map", "min", "readEnvironmentVariable", "replace", "resourceGroup", "resourceId", "split", "string"),
        *("subscription", "subscriptionResourceId", "take", "tenant", "union", "uniqueString"),
    }
)


def check_names(files: Mapping[str, File]) -> Iterator[Fault]:
    """Undeclared and unused names, unknown functions, parameters and outputs without a description."""
    for file in files.values():
        declared = {*file.parameters, *file.variables, *file.resources, *file.modules}
        used: set[str] = set()
        for value, bound in _expressions(file):
            for name in _free(value, frozenset(bound)):
                used.add(name.name)
                if name.name not in declared:
                    yield Fault(file.name, name.line, f"{name.name} is not declared")
            for part in walk(value):
                if isinstance(part, Call) and part.function not in FUNCTIONS:
                    yield Fault(file.name, part.line, f"{part.function} is not a function that Bicep is known to have")
        if file.is_parameters:
            continue
        for unused in sorted({*file.parameters, *file.variables} - used):
            yield Fault(file.name, file.lines[unused], f"{unused} is declared and not used")
        for bare in file.undescribed:
            yield Fault(file.name, file.lines[bare], f"{bare} has no description")


def check_modules(files: Mapping[str, File]) -> Iterator[Fault]:
    """Modules exist and get every parameter without a default, and no other; outputs that are read exist."""
    for file in files.values():
        for module in file.modules.values():
            target = files.get(module_path(file, module))
            if target is None:
                yield Fault(file.name, module.line, f"there is no {module.path}")
                continue
            for key in sorted(module.body.entries.keys() - _OF_A_MODULE):
                yield Fault(file.name, module.body.lines[key], f"a module has no property {key}")
            given = module.body.entries.get("params")
            if isinstance(given, Object):
                yield from _parameters(file.name, given, target, module.name)
            elif any(not parameter.has_default for parameter in target.parameters.values()):
                yield Fault(file.name, module.line, f"{module.name} is given no params")
        for value, _ in _expressions(file):
            for part in walk(value):
                yield from _output(files, file, part)


def check_members(files: Mapping[str, File]) -> Iterator[Fault]:
    """``x.y`` names a member that x has, where x is an object or a loop over objects that stand in the file."""
    for file in files.values():
        declarations: list[Resource | Module] = [*file.resources.values(), *file.modules.values()]
        for value, _ in _expressions(file):
            yield from _members(file, value, {})
        for declared in declarations:
            if declared.bound:
                [source] = declared.around if isinstance(declared.around, list) else [None]
                yield from _members(file, declared.body, {declared.bound[0]: _element(file, source)})


def _members(file: File, value: Expression, bound: Mapping[str, set[str]]) -> Iterator[Fault]:
    if isinstance(value, Loop):
        bound = {**bound, value.variables[0]: _element(file, value.source)}
    if isinstance(value, Member) and isinstance(value.of, Name):
        name = value.of.name
        parameter, variable = file.parameters.get(name), file.variables.get(name)
        known = bound.get(name, set())
        if not known and parameter is not None and not parameter.kind.endswith("[]"):
            known = set(parameter.members)
        elif not known and isinstance(variable, Object):
            known = set(variable.entries)
        if known and value.name not in known:
            yield Fault(file.name, value.line, f"{name} has no {value.name}")
    for part in parts_of(value):
        yield from _members(file, part, bound)


def _element(file: File, source: Expression) -> set[str]:
    """The members that every object of a list has; nothing where they are not known."""
    if isinstance(source, Name) and source.name in file.parameters:
        return set(file.parameters[source.name].members)
    listed = file.variables.get(source.name) if isinstance(source, Name) else source
    if not isinstance(listed, list) or not all(isinstance(part, Object) for part in listed):
        return set()
    return set.intersection(*(set(part.entries) for part in listed if isinstance(part, Object)))


def check_parameter_files(files: Mapping[str, File]) -> Iterator[Fault]:
    """A parameter file gives its template what it asks for, down to the members of object types."""
    for file in files.values():
        if not file.is_parameters:
            continue
        target = files.get(file.uses or "")
        if target is None:
            yield Fault(file.name, 1, f"there is no {file.uses}")
            continue
        given = Object(file.variables, file.lines, 1)
        yield from _parameters(file.name, given, target, str(file.uses))


def module_path(file: File, module: Module) -> str:
    """The module's file, seen from the root as ``file`` is."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file.name), module.path))


def _parameters(place: str, given: Object, target: File, called: str) -> Iterator[Fault]:
    for name in given.entries:
        if name not in target.parameters:
            yield Fault(place, given.lines[name], f"{called} has no parameter {name}")
    for name, parameter in target.parameters.items():
        if name not in given.entries:
            if not parameter.has_default:
                yield Fault(place, given.line, f"{called} is not given {name}")
            continue
        value = given.entries[name]
        literal = isinstance(value, str | int)
        if parameter.allowed and literal and value not in parameter.allowed:
            yield Fault(place, given.lines[name], f"{name} of {called} cannot be {value!r}")
        if isinstance(value, Object) and parameter.members:
            for member in sorted(parameter.members.keys() ^ value.entries.keys()):
                known = "is missing" if member in parameter.members else "is unknown"
                yield Fault(place, given.lines[name], f"{name}.{member} of {called} {known}")
            for member, kind in parameter.members.items():
                yield from _member(place, value, member, kind)


def _member(place: str, value: Object, member: str, kind: str) -> Iterator[Fault]:
    given = value.entries.get(member)
    allowed = [part.strip().strip("'") for part in kind.split("|")]
    if isinstance(given, str | int) and not isinstance(given, bool):
        plain = kind in ("string", "int")
        right = (kind == "string") == isinstance(given, str) if plain else str(given) in allowed
        if not right:
            yield Fault(place, value.lines[member], f"{member} cannot be {given!r}; it is {kind}")


def _output(files: Mapping[str, File], file: File, part: Expression) -> Iterator[Fault]:
    """``module.outputs.x``, with or without a ``!`` after the module."""
    if not (isinstance(part, Member) and isinstance(part.of, Member) and part.of.name == "outputs"):
        return
    of = part.of.of
    name = of.name if isinstance(of, Name) else of.text.rstrip("!") if isinstance(of, Other) else ""
    module = file.modules.get(name)
    target = files.get(module_path(file, module)) if module else None
    if target is not None and part.name not in target.outputs:
        yield Fault(file.name, part.line, f"{name} has no output {part.name}")


def _expressions(file: File) -> Iterator[tuple[Expression, tuple[str, ...]]]:
    """Every expression of a file, with the names that a loop around it brings."""
    for value in (*file.variables.values(), *file.outputs.values()):
        yield value, ()
    for parameter in file.parameters.values():
        yield parameter.default, ()
    declarations: list[Resource | Module] = [*file.resources.values(), *file.modules.values()]
    for declared in declarations:
        yield declared.around, ()
        yield declared.body, declared.bound


def _free(value: Expression, bound: frozenset[str]) -> Iterator[Name]:
    """The names in an expression that no loop or lambda inside it introduces."""
    if isinstance(value, Name):
        if value.name not in bound:
            yield value
        return
    if isinstance(value, Loop):
        yield from _free(value.source, bound)
        yield from _free(value.body, bound | set(value.variables))
        return
    inner = bound
    if isinstance(value, Other):
        inner = bound | set(value.bound)
    # The grammar reads "x => x.y" as (x => x).y, so a lambda's name holds for whatever it is a part of.
    lambdas = [part for part in parts_of(value) if isinstance(part, Other) and part.bound]
    for each in lambdas:
        inner |= set(each.bound)
    for part in parts_of(value):
        yield from _free(part, inner)
