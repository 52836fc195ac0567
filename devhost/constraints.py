"""Inline route constraints (`{id:guid}`, `{n:int:min(1)}`) as ASP.NET routing defines them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

Constraint = Callable[[str], bool]

_INTEGER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_DECIMAL = re.compile(r"\s*[+-]?(\d[\d,]*\.?\d*|\.\d+)\s*", re.ASCII)
_FLOAT = re.compile(r"\s*[+-]?((\d[\d,]*\.?\d*|\.\d+)([eE][+-]?\d+)?|NaN|Infinity|∞)\s*", re.ASCII | re.IGNORECASE)
_HEX32 = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_GUID = re.compile(rf"{_HEX32}|[0-9a-fA-F]{{32}}|\{{{_HEX32}\}}|\({_HEX32}\)", re.ASCII)


class UnknownConstraint(ValueError):
    """A route template names a constraint that ASP.NET routing does not have, or gives it wrong arguments."""


def _integer(bits: int) -> Constraint:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def check(value: str) -> bool:
        return _INTEGER.fullmatch(value) is not None and low <= int(value) <= high

    return check


def _is_datetime(value: str) -> bool:
    """Accept ISO 8601 and the invariant culture's month/day/year, the forms that occur in URLs."""
    try:
        datetime.fromisoformat(value.strip())
    except ValueError:
        for form in ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%Y %H:%M:%S", "%m-%d-%Y %I:%M%p", "%Y/%m/%d"):
            try:
                datetime.strptime(value.strip(), form)  # noqa: DTZ007 - only the form is looked at
            except ValueError:
                continue
            return True
        return False
    return True


def _bounded(low: int | None, high: int | None) -> Constraint:
    as_long = _integer(64)

    def check(value: str) -> bool:
        return as_long(value) and (low is None or int(value) >= low) and (high is None or int(value) <= high)

    return check


def _sized(low: int | None, high: int | None) -> Constraint:
    def check(value: str) -> bool:
        return (low is None or len(value) >= low) and (high is None or len(value) <= high)

    return check


def _matches(pattern: str) -> Constraint:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda value: compiled.search(value) is not None


_SIMPLE: dict[str, Constraint] = {
    "int": _integer(32),
    "long": _integer(64),
    "guid": lambda value: _GUID.fullmatch(value.strip()) is not None,
    "bool": lambda value: value.strip().lower() in ("true", "false"),
    "alpha": lambda value: re.fullmatch("[A-Za-z]*", value) is not None,
    "decimal": lambda value: _DECIMAL.fullmatch(value) is not None,
    "double": lambda value: _FLOAT.fullmatch(value) is not None,
    "float": lambda value: _FLOAT.fullmatch(value) is not None,
    "datetime": _is_datetime,
    "required": lambda value: value != "",
}

_WITH_NUMBERS: dict[tuple[str, int], Callable[..., Constraint]] = {
    ("length", 1): lambda exact: _sized(exact, exact),
    ("length", 2): _sized,
    ("minlength", 1): lambda low: _sized(low, None),
    ("maxlength", 1): lambda high: _sized(None, high),
    ("min", 1): lambda low: _bounded(low, None),
    ("max", 1): lambda high: _bounded(None, high),
    ("range", 2): _bounded,
}


def parse_constraint(text: str) -> Constraint:
    """Build the check for one constraint, e.g. `int`, `length(2,8)` or `regex(^v[0-9]+$)`.

    Raises:
        UnknownConstraint: the name is unknown or the arguments do not fit it.
    """
    name, bracket, rest = text.partition("(")
    key = name.strip().lower()
    if not bracket:
        if key in _SIMPLE:
            return _SIMPLE[key]
        raise UnknownConstraint(f"unknown route constraint {text!r}")
    if not rest.endswith(")"):
        raise UnknownConstraint(f"route constraint {text!r} lacks its closing bracket")
    arguments = rest[:-1]
    if key == "regex":
        return _matches(arguments)
    try:
        numbers = [int(part) for part in arguments.split(",")]
    except ValueError as error:
        raise UnknownConstraint(f"route constraint {text!r} needs whole numbers") from error
    build = _WITH_NUMBERS.get((key, len(numbers)))
    if build is None:
        raise UnknownConstraint(f"unknown route constraint {text!r}")
    return build(*numbers)
