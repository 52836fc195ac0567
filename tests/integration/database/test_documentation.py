"""docs/database.md tells the truth about tables, states and revisions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sql.catalogue import Catalogue, read_catalogue

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
DIAGRAMS = re.findall(r"^`(\w+)\.(\w+)`[^\n]*\n\n```mermaid\nstateDiagram-v2\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def catalogue(module_database_url: str) -> Catalogue:
    """The catalogue at head."""
    return read_catalogue(module_database_url)


@pytest.mark.parametrize(("table", "column", "diagram"), DIAGRAMS, ids=[diagram[0] for diagram in DIAGRAMS])
def test_drawn_states_are_the_constrained_ones(table: str, column: str, diagram: str, catalogue: Catalogue) -> None:
    """A state machine draws exactly the states its CHECK constraint lets in."""
    check = next(c["definition"] for c in catalogue.constraints if c["name"] == f"{table}_{column}_check")
    assert set(re.findall(r"\b[A-Z][A-Z_]+\b(?= *(?:-->|:|$))", diagram, re.MULTILINE)) == set(
        re.findall(r"'(\w+)'", check)
    )


def test_every_state_machine_is_drawn(catalogue: Catalogue) -> None:
    """Each status column with a CHECK has a diagram; findings and the steps of history are no state machines."""
    constrained = {c["table"] for c in catalogue.constraints if c["name"] == f"{c['table']}_status_check"}
    assert {diagram[0] for diagram in DIAGRAMS} == constrained - {"drift_metrics", "bias_metrics"}


def test_overview_shows_every_table(catalogue: Catalogue) -> None:
    """The overview names every table of the schema and no other."""
    drawn = set(re.findall(r"^    (\w+) [|}][^\s]* (\w+) :", TEXT, re.MULTILINE))
    tables = {relation["name"] for relation in catalogue.relations if relation["parent"] is None}
    assert {name for pair in drawn for name in pair} == tables


def test_every_revision_is_listed() -> None:
    """The table of revisions lists each of them."""
    numbers = {path.name[:4] for path in (ROOT / "sql" / "migrations" / "versions").glob("*.py")}
    rows = re.findall(r"^\| (\d{4}(?:, \d{4})*) \|", TEXT, re.MULTILINE)
    assert {number for row in rows for number in row.split(", ")} == numbers
