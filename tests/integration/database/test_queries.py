"""Every named query is valid against the schema at head."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from shared.platform.queries import queries

FOLDER = Path(__file__).resolve().parents[3] / "sql" / "queries"
NAMED = [
    (path.stem, name)
    for path in sorted(FOLDER.glob("*.sql"))
    for name, text in queries(path.stem).items()
    if text.split()[0] not in {"COPY", "ALTER", "CREATE", "DROP"}  # cannot be prepared; their own tests run them
]


def numbered(query: str) -> str:
    """The query with PostgreSQL's own parameters instead of psycopg's."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    plain = query.replace("{order}", "1")  # where a list's order is put in
    return re.sub(r"%\((\w+)\)[sb]", number, plain).replace("%%", "%")


@pytest.mark.parametrize(("domain", "name"), NAMED)
def test_query_fits_the_schema(domain: str, name: str, module_database_url: str) -> None:
    """PostgreSQL parses the query and finds every table, column and function it names."""
    with psycopg.connect(module_database_url) as connection:
        connection.execute(f"PREPARE candidate AS {numbered(queries(domain)[name])}".encode())
