"""Named SQL: every block can be read, and the driver's parameters match what the repositories pass."""

from pathlib import Path

import pytest

from shared.platform.queries import queries

DOMAINS = sorted(path.stem for path in (Path(__file__).parents[3] / "sql" / "queries").glob("*.sql"))


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_block_is_named_and_described(domain: str) -> None:
    """Reading a file raises on a block without description or a doubled name, and leaves no comment behind."""
    found = queries(domain)
    assert found
    assert all(statement and "--" not in statement for statement in found.values())


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_statement_is_used(domain: str) -> None:
    """A statement that no repository names is dead."""
    root = Path(__file__).parents[3] / "shared"
    code = "\n".join(path.read_text() for path in root.rglob("*.py"))
    unused = [name for name in queries(domain) if f'"{name}"' not in code]
    assert unused == []
