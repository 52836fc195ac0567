"""What categories and protected groups looked like in the reference, and how one value finds its cell.

Codes are one byte: a position in ``cells``, 254 for what the reference does not know, 255 for missing.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.monitoring.codes import MAX_CELLS, MISSING_CODE, UNSEEN_CODE

Count = Annotated[int, Field(ge=0)]
GroupKind = Literal["values", "bands", "ages", "birth_dates", "birth_decades"]

MAX_CATEGORIES: Final = 60
MAX_KNOWN: Final = 1000
OTHER: Final = "other"
AGES: Final = (18, 25, 35, 45, 55, 65)
AGE_GROUPS: Final = ("under 18", "18 to 24", "25 to 34", "35 to 44", "45 to 54", "55 to 64", "65 and over")
OLDEST: Final = 130  # years; beyond it the date is a mistake
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Document(BaseModel):
    """A part of a profile: read strictly, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CategoryProfile(Document):
    """A column of categories: its most frequent values, each with a cell, and the ``rare`` ones, which share the last.

    ``counts`` has one entry a cell of :attr:`cells`.
    """

    name: str
    values: tuple[str, ...] = Field(max_length=MAX_CATEGORIES)
    rare: tuple[str, ...] = Field(max_length=MAX_KNOWN)
    counts: tuple[Count, ...]
    missing: Count

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(self.counts) != len(self.values) + 1:
            raise ValueError("there is a count for each value, and one for the rare ones")
        return self

    @property
    def cells(self) -> tuple[str, ...]:
        """The name of each cell."""
        return (*self.values, OTHER)

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """The code of each known value."""
        return {**dict.fromkeys(self.rare, len(self.values)), **{v: code for code, v in enumerate(self.values)}}


def profile_category(name: str, counted: Mapping[str, int], missing: int) -> CategoryProfile | None:
    """The profile of a column, None for one of more values than could be told apart from new ones.

    :param counted: rows of the reference by value, without missing ones.
    """
    if len(counted) > MAX_KNOWN:
        return None
    order = sorted(counted, key=lambda value: (-counted[value], value))
    frequent, rare = order[:MAX_CATEGORIES], order[MAX_CATEGORIES:]
    counts = (*(counted[value] for value in frequent), sum(counted[value] for value in rare))
    return CategoryProfile(name=name, values=tuple(frequent), rare=tuple(rare), counts=counts, missing=missing)


class GroupProfile(Document):
    """A protected column as groups, and how many rows of the reference each held.

    - ``values``: the groups are the values; with ``other`` the last group takes every value that has none.
    - ``bands``: numbers, group ``k`` where ``k`` of ``edges`` lie below; ``ages`` likewise over fixed bands.
    - ``birth_dates``: ages at the transaction's time. ``birth_decades``: ``edges`` are the first years.
    """

    name: str
    kind: GroupKind
    groups: tuple[str, ...] = Field(max_length=MAX_CELLS)
    edges: tuple[float, ...] = ()
    other: bool = False
    counts: tuple[Count, ...] = ()
    missing: Count = 0

    @property
    def cells(self) -> tuple[str, ...]:
        """The name of each cell."""
        return self.groups

    def counted(self, codes: "np.typing.NDArray[np.uint8]") -> "GroupProfile":
        """The same groups with the rows of a reference.

        :param codes: shape (n,), 0 where missing, else a position in ``groups`` plus 1.
        """
        found = np.bincount(codes, minlength=len(self.groups) + 1).tolist()
        return self.model_copy(update={"counts": tuple(found[1:]), "missing": found[0]})

    def encoder(self) -> "Callable[[Any, int | None], int]":
        """A function from a transaction's value and its time (year * 10,000 + month * 100 + day) to the code."""
        position = {group: code for code, group in enumerate(self.groups[:-1] if self.other else self.groups)}
        unknown = len(self.groups) - 1 if self.other else UNSEEN_CODE
        edges = self.edges

        def of_value(value: Any, _: int | None) -> int:
            return position.get(category_text(value), unknown)

        def of_number(value: Any, _: int | None) -> int:
            number = float(value)
            return sum(number > edge for edge in edges) if number == number else MISSING_CODE

        def of_age(value: Any, _: int | None) -> int:
            return _age_code(float(value))

        def of_birth(value: Any, today: int | None) -> int:
            born = _calendar(value)
            return MISSING_CODE if born is None or today is None else _age_code((today - born) // 10_000)

        def of_decade(value: Any, _: int | None) -> int:
            born = _calendar(value)
            if born is None:
                return MISSING_CODE
            decade = float(born // 100_000 * 10)
            return edges.index(decade) if decade in edges else UNSEEN_CODE

        functions: dict[GroupKind, Callable[[Any, int | None], int]] = {
            "values": of_value,
            "bands": of_number,
            "ages": of_age,
            "birth_dates": of_birth,
            "birth_decades": of_decade,
        }
        return functions[self.kind]


def category_text(value: Any) -> str:
    """A JSON value as the text that a file's column of it becomes."""
    if value.__class__ is str:
        return str(value)
    if value is True or value is False:
        return "true" if value else "false"
    return str(value)


def _age_code(age: float) -> int:
    return sum(age >= start for start in AGES) if 0 <= age <= OLDEST else MISSING_CODE


def _calendar(value: Any) -> int | None:
    if isinstance(value, str) and _DATE.match(value):
        try:
            day = date.fromisoformat(value[:10])
        except ValueError:
            return None
        return day.year * 10_000 + day.month * 100 + day.day
    return None
