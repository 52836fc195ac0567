"""Which number follows, and what counts as a change of the columns."""

import pytest

from shared.datasets.model import Column, ColumnType, DatasetSchema
from shared.datasets.versions import SchemaChanges, next_version, schema_changes


def _schema(**types: ColumnType) -> DatasetSchema:
    return DatasetSchema(columns=[Column(name=name, type=kind, nullable=False) for name, kind in types.items()])


@pytest.mark.parametrize(
    ("existing", "compatible", "breaking"),
    [
        (["1.0"], "1.1", "2.0"),
        (["1.9", "1.10", "1.2"], "1.11", "2.0"),
        (["2.0", "1.7"], "2.1", "3.0"),
        (["first", "v2"], "1.1", "2.0"),
    ],
)
def test_numbers_go_up(existing: list[str], compatible: str, breaking: str) -> None:
    """As numbers and not as texts; what is no number does not count."""
    assert next_version(existing, SchemaChanges()) == compatible
    assert next_version(existing, SchemaChanges(added=["x"])) == compatible
    assert next_version(existing, SchemaChanges(removed=["x"])) == breaking


def test_changes_are_named() -> None:
    """Order and missing values are no change; another type is."""
    before = _schema(a="integer", b="string", c="date")
    now = _schema(d="boolean", b="string", a="float")
    changes = schema_changes(before, now)
    assert (changes.added, changes.removed) == (["d"], ["c"])
    assert [(column.name, column.before, column.now) for column in changes.retyped] == [("a", "integer", "float")]
    assert changes.breaking
    assert schema_changes(before, before) == SchemaChanges()
