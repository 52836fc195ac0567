"""Expressions of Bicep, from tree-sitter's nodes.

Only what the checks need is told apart; the rest of the language becomes :class:`Other`, whose parts are still walked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tree_sitter import Node

Expression: TypeAlias = (
    "str | int | bool | list[Expression] | Object | Name | Member | Call | Choice | Loop | Other | None"
)


@dataclass(frozen=True)
class Object:
    """``{ key: value }``; an interpolated key stands as its source text."""

    entries: dict[str, Expression]
    lines: dict[str, int]
    line: int


@dataclass(frozen=True)
class Name:
    """A reference to something declared."""

    name: str
    line: int


@dataclass(frozen=True)
class Member:
    """``of.name``"""

    of: Expression
    name: str
    line: int


@dataclass(frozen=True)
class Call:
    """``function(arguments)``"""

    function: str
    arguments: list[Expression]
    line: int


@dataclass(frozen=True)
class Choice:
    """``condition ? then : otherwise``"""

    condition: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True)
class Loop:
    """``[for variables in source: body]``"""

    variables: list[str]
    source: Expression
    body: Expression


@dataclass(frozen=True)
class Other:
    """Any other expression (interpolation, arithmetic, subscript, lambda): its kind, its text, its parts."""

    kind: str
    text: str
    parts: list[Expression]
    bound: list[str] = field(default_factory=list)  # names that it introduces
    operator: str = ""


def loop_variables(node: Node) -> list[str]:
    """The names that a loop gives to its element and index."""
    first = node.named_children[0]
    if first.type == "for_loop_parameters":
        return [text_of(child) for child in first.named_children]
    return [text_of(first)]


def expression(node: Node) -> Expression:
    """What an expression's node says."""
    parts = [child for child in node.named_children if child.type not in ("comment", "diagnostic_comment")]
    match node.type:
        case "string":
            return _string(node)
        case "number":
            return int(text_of(node))
        case "boolean" | "null":
            return {"true": True, "false": False, "null": None}[text_of(node)]
        case "array":
            return [expression(child) for child in parts]
        case "object":
            return _object(node)
        case "identifier":
            return Name(text_of(node), line_of(node))
        case "member_expression":
            return Member(expression(parts[0]), text_of(parts[-1]), line_of(node))
        case "call_expression":
            return Call(text_of(parts[0]), [expression(child) for child in parts[1].named_children], line_of(node))
        case _:
            return _compound(node, parts)


def _compound(node: Node, parts: list[Node]) -> Expression:
    match node.type:
        case "ternary_expression":
            return Choice(expression(parts[0]), expression(parts[1]), expression(parts[2]))
        case "parenthesized_expression":
            return expression(parts[0])
        case "for_statement":
            return Loop(loop_variables(node), expression(parts[-2]), expression(parts[-1]))
        case "lambda_expression":
            return Other(node.type, text_of(node), [expression(parts[-1])], [text_of(child) for child in parts[:-1]])
        case _:
            operator = "".join(text_of(child) for child in node.children if not child.is_named)
            return Other(node.type, text_of(node), [expression(child) for child in parts], [], operator)


def _string(node: Node) -> Expression:
    """A text, or what is inserted into one."""
    inserted = [child.named_children[0] for child in node.named_children if child.type == "interpolation"]
    if inserted:
        return Other("text", text_of(node), [expression(child) for child in inserted])
    return "".join(text_of(child) for child in node.named_children).replace("\\'", "'")


def _object(node: Node) -> Object:
    entries: dict[str, Expression] = {}
    lines: dict[str, int] = {}
    for child in node.named_children:
        if child.type != "object_property":
            continue
        key = child.named_children[0]
        plain = key.type != "string" or all(part.type != "interpolation" for part in key.named_children)
        name = text_of(key).strip("'") if plain else text_of(key)
        entries[name] = expression(child.named_children[-1])
        lines[name] = line_of(child)
        if not plain:
            entries[name] = Other("keyed", name, [expression(key), entries[name]])
    return Object(entries, lines, line_of(node))


def text_of(node: Node) -> str:
    """The node's source."""
    return (node.text or b"").decode()


def line_of(node: Node) -> int:
    """The node's first line, from 1."""
    return int(node.start_point[0]) + 1


def walk(value: Expression) -> Iterator[Expression]:
    """The expression and every part of it."""
    yield value
    for part in parts_of(value):
        yield from walk(part)


def parts_of(value: Expression) -> list[Expression]:
    """The immediate parts of an expression."""
    match value:
        case list():
            return list(value)
        case Object():
            return list(value.entries.values())
        case Member():
            return [value.of]
        case Call():
            return list(value.arguments)
        case Choice():
            return [value.condition, value.then, value.otherwise]
        case Loop():
            return [value.source, value.body]
        case Other():
            return list(value.parts)
        case _:
            return []
