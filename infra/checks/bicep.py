"""Reads Bicep files into declarations, by tree-sitter's grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from infra.checks.expressions import Expression, Object, expression, line_of, loop_variables, text_of

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


@dataclass(frozen=True)
class Fault:
    """What is wrong, and where."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Parameter:
    """A ``param``; ``allowed`` are the values it may take where they are enumerated."""

    name: str
    line: int
    kind: str
    allowed: tuple[Expression, ...]
    members: Mapping[str, str]  # of an object type: member and its type
    default: Expression
    has_default: bool


@dataclass(frozen=True)
class Resource:
    """A ``resource``: one body, whatever condition or loop stands around it."""

    name: str
    line: int
    type: str
    version: str
    existing: bool
    body: Object
    around: Expression  # the condition or the loop's source, for its names
    bound: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """A ``module``."""

    name: str
    line: int
    path: str
    body: Object
    around: Expression
    bound: tuple[str, ...]


@dataclass
class File:
    """One Bicep or parameter file."""

    name: str
    source: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Expression] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)
    outputs: dict[str, Expression] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    undescribed: list[str] = field(default_factory=list)
    uses: str | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_parameters(self) -> bool:
        """Whether it is a .bicepparam file."""
        return self.name.endswith(".bicepparam")


def read_all(root: Path) -> dict[str, File]:
    """Every Bicep and parameter file below ``root``, by its path from there."""
    paths = sorted([*root.rglob("*.bicep"), *root.glob("*.bicepparam")])
    return {str(path.relative_to(root)): read(str(path.relative_to(root)), path.read_text()) for path in paths}


def read(name: str, source: str) -> File:
    """The declarations of one file; what cannot be parsed is among its faults."""
    result = File(name, source)
    text = source
    if result.is_parameters:  # the grammar knows "param x = 1" of parameter files as a variable only
        text = re.sub(r"^param (\w+) =", r"var   \1 =", source, flags=re.MULTILINE)
    tree = _parser().parse(text.encode())
    result.faults.extend(Fault(name, line, f"syntax: {what}") for line, what in _broken(tree.root_node))
    decorators: list[Node] = []
    for node in tree.root_node.named_children:
        if node.type == "decorators":
            decorators = list(node.named_children)
            continue
        _declare(result, node, decorators)
        decorators = []
    return result


@cache
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_bicep

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


def _broken(node: Node) -> Iterator[tuple[int, str]]:
    if node.is_missing:
        yield line_of(node), f"{node.type} expected"
    elif node.is_error:
        yield line_of(node), f"cannot read {text_of(node)[:40]!r}"
    else:
        for child in node.children:
            yield from _broken(child)


def _declare(result: File, node: Node, decorators: list[Node]) -> None:
    parts = node.named_children
    if node.type == "using_statement":
        result.uses = str(expression(parts[0]))
    elif node.type == "parameter_declaration":
        result.parameters[text_of(parts[0])] = _parameter(node, decorators)
    elif node.type == "variable_declaration":
        result.variables[text_of(parts[0])] = expression(parts[1])
    elif node.type == "output_declaration":
        result.outputs[text_of(parts[0])] = expression(parts[-1])
    elif node.type == "resource_declaration":
        body, around, bound = _unwrap(parts[2])
        kind, _, version = str(expression(parts[1])).partition("@")
        existing = any(child.type == "existing" for child in node.children)
        result.resources[text_of(parts[0])] = Resource(
            text_of(parts[0]), line_of(node), kind, version, existing, body, around, bound
        )
    elif node.type == "module_declaration":
        body, around, bound = _unwrap(parts[2])
        result.modules[text_of(parts[0])] = Module(
            text_of(parts[0]), line_of(node), str(expression(parts[1])), body, around, bound
        )
    else:
        return
    if node.type != "using_statement":
        result.lines[text_of(parts[0])] = line_of(node)
        names = {text_of(child.named_children[0].named_children[0]) for child in decorators}
        if node.type in ("parameter_declaration", "output_declaration") and "description" not in names:
            result.undescribed.append(text_of(parts[0]))


def _parameter(node: Node, decorators: list[Node]) -> Parameter:
    parts = node.named_children
    kind = parts[1]
    allowed: tuple[Expression, ...] = ()
    for call in (child.named_children[0] for child in decorators):
        if text_of(call.named_children[0]) == "allowed":
            values = expression(call.named_children[1].named_children[0])
            allowed = tuple(values) if isinstance(values, list) else ()
    inner = kind.named_children[0] if kind.named_children else kind
    if inner.type == "union_type":
        allowed = tuple(expression(child) for child in inner.named_children)
    members: dict[str, str] = {}
    if inner.type == "object":
        for child in inner.named_children:
            if child.type == "object_property":
                members[text_of(child.named_children[0])] = text_of(child.named_children[1])
    default = expression(parts[2]) if len(parts) > 2 else None
    return Parameter(text_of(parts[0]), line_of(node), text_of(kind), allowed, members, default, len(parts) > 2)


def _unwrap(node: Node) -> tuple[Object, Expression, tuple[str, ...]]:
    """A body without the condition and the loop around it."""
    around: list[Expression] = []
    bound: tuple[str, ...] = ()
    while node.type in ("if_statement", "for_statement"):
        parts = node.named_children
        if node.type == "for_statement":
            bound = tuple(loop_variables(node))
            around.append(expression(parts[-2]))
        else:
            around.append(expression(parts[0]))
        node = parts[-1]
    body = expression(node)
    assert isinstance(body, Object)
    return body, list(around), bound
