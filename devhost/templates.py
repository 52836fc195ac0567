"""Route templates such as `datasets/{dataset_id:guid}/{version?}`, parsed into a regular expression and checks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from devhost.constraints import Constraint, parse_constraint


class InvalidTemplate(ValueError):
    """A route template that the Azure host would refuse at start."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{…}` of a template."""

    name: str
    constraints: tuple[Constraint, ...] = ()
    default: str | None = None
    optional: bool = False
    catch_all: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template.

    `literals[i]` is the case-folded text of segment i, or None where the segment holds a parameter. `min_segments`
    counts the segments a path must have; a trailing optional, defaulted or catch-all parameter may be missing.
    """

    text: str
    pattern: re.Pattern[str]
    parameters: tuple[Parameter, ...]
    literals: tuple[str | None, ...]
    min_segments: int
    _groups: tuple[tuple[str, Parameter], ...] = field(repr=False)

    @property
    def is_literal(self) -> bool:
        """Whether the template has no parameter at all."""
        return not self.parameters

    def match(self, path: str) -> dict[str, str] | None:
        """Return the route values of a decoded path without leading slash, or None when it does not fit."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for group, parameter in self._groups:
            value = found[group] or parameter.default
            if not value:  # an optional that is absent, an empty catch-all: not among the route values
                continue
            for accepts in parameter.constraints:
                if not accepts(value):
                    return None
            values[parameter.name] = value
        return values


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator that stands outside braces and brackets."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        if character in "{(":
            depth += 1
        elif character in "})":
            depth -= 1
        elif character == separator and depth <= 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return parts


def _parse_parameter(content: str, template: str) -> Parameter:
    """Parse what stands between the braces: `*rest`, `id:guid`, `page:int=1`, `name:regex(^a{{2}}$)?`."""
    catch_all = content.startswith("*")
    content = content.lstrip("*").replace("{{", "{").replace("}}", "}")
    head, *constraints = _split(content, ":")
    last = constraints[-1] if constraints else head
    body, equals, default = last.partition("=") if not last.startswith("regex(") else (last, "", "")
    optional = not equals and body.endswith("?")
    body = body[:-1] if optional else body
    if constraints:
        constraints[-1] = body
    else:
        head = body
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_\-]*", head):
        raise InvalidTemplate(f"route {template!r}: {head!r} is no parameter name")
    checks = tuple(parse_constraint(text) for text in constraints)
    return Parameter(head, checks, default if equals else None, optional, catch_all)


def _pieces(segment: str, template: str) -> list[str | Parameter]:
    """Split one segment into literal texts and parameters; doubled braces inside a parameter belong to it."""
    pieces: list[str | Parameter] = []
    position = 0
    while position < len(segment):
        opening = segment.find("{", position)
        if opening == -1:
            pieces.append(segment[position:])
            break
        if opening > position:
            pieces.append(segment[position:opening])
        closing = opening + 1
        while closing < len(segment) and (segment[closing] != "}" or segment[closing : closing + 2] == "}}"):
            closing += 2 if segment[closing : closing + 2] == "}}" else 1
        if closing >= len(segment):
            raise InvalidTemplate(f"route {template!r}: a brace is not closed")
        pieces.append(_parse_parameter(segment[opening + 1 : closing], template))
        position = closing + 1
    return pieces


def parse_template(text: str) -> Template:
    """Parse a route template, without leading slash.

    Raises:
        InvalidTemplate: braces, names or the place of an optional parameter are wrong.
        UnknownConstraint: a constraint does not exist.
    """
    segments = [part for part in _split(text.strip("/"), "/") if part]
    literals: list[str | None] = []
    groups: list[tuple[str, Parameter]] = []
    pattern, names, min_segments = "", set[str](), 0
    for index, segment in enumerate(segments):
        pieces = _pieces(segment, text)
        slash = "/" if index else ""
        body = ""
        may_miss = False
        for piece in pieces:
            if isinstance(piece, str):
                body += re.escape(piece)
                continue
            if piece.name.lower() in names:
                raise InvalidTemplate(f"route {text!r}: parameter {piece.name!r} occurs twice")
            names.add(piece.name.lower())
            group = f"p{len(groups)}"
            groups.append((group, piece))
            body += f"(?P<{group}>.*)" if piece.catch_all else f"(?P<{group}>[^/]+)"
            may_miss = len(pieces) == 1 and (piece.optional or piece.catch_all or piece.default is not None)
            if piece.catch_all and (len(pieces) > 1 or index + 1 < len(segments)):
                raise InvalidTemplate(f"route {text!r}: a catch-all parameter must be the last segment")
        pattern += f"(?:{slash}{body})?" if may_miss else slash + body
        literal = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], str) else None
        literals.append(literal.casefold() if literal is not None else None)
        if not may_miss:
            if min_segments < index:
                raise InvalidTemplate(f"route {text!r}: only trailing segments may be optional")
            min_segments = index + 1
    return Template(
        text=text,
        pattern=re.compile(pattern + "/?", re.IGNORECASE | re.DOTALL | re.ASCII),
        parameters=tuple(parameter for _, parameter in groups),
        literals=tuple(literals),
        min_segments=min_segments,
        _groups=tuple(groups),
    )
