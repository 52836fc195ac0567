"""Versions of a dataset: what changed in the columns, and which number follows. Pure rules."""

import re
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, ConfigDict

from shared.datasets.model import ColumnType, DatasetSchema, DatasetSummary

FIRST_VERSION: Final = "1.0"
_NUMBER: Final = re.compile(r"(\d{1,9})\.(\d{1,9})")


class RetypedColumn(BaseModel):
    """A column that has another type than in the version before."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    name: str
    before: ColumnType
    now: ColumnType


class SchemaChanges(BaseModel):
    """How a version's columns differ from those of the version before; nullability and order do not count."""

    model_config = ConfigDict(frozen=True)

    added: list[str] = []
    removed: list[str] = []
    retyped: list[RetypedColumn] = []

    @property
    def breaking(self) -> bool:
        """Whether what reads the version before may fail on this one: a column is gone or has another type."""
        return bool(self.removed or self.retyped)


class Version(DatasetSummary):
    """A dataset among the versions of its line; ``changes`` against the version before, None for the first one."""

    changes: SchemaChanges | None


def schema_changes(before: DatasetSchema, now: DatasetSchema) -> SchemaChanges:
    """What changed, in the order of the columns."""
    old = {column.name: column.type for column in before.columns}
    new = {column.name: column.type for column in now.columns}
    return SchemaChanges(
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        retyped=[
            RetypedColumn(name=name, before=old[name], now=kind)
            for name, kind in new.items()
            if name in old and old[name] != kind
        ],
    )


def next_version(existing: Iterable[str], changes: SchemaChanges) -> str:
    """The number after the highest: 1.1 after 1.0, and 2.0 where the columns changed incompatibly."""
    numbers = [(int(found[1]), int(found[2])) for text in existing if (found := _NUMBER.fullmatch(text))]
    major, minor = max(numbers, default=(1, 0))
    return f"{major + 1}.0" if changes.breaking else f"{major}.{minor + 1}"
