"""The specification's DDL as text: its statements, and the name of every object it defines.

The names are read from the text by the naming rules of PostgreSQL, without a database, so that each object can be
one test; a test proves that they are all.
"""

from __future__ import annotations

import re
from pathlib import Path

TRANSCRIPT = Path(__file__).with_name("specification.sql")
DOCUMENT = Path(__file__).resolve().parents[4] / "shared" / "spec" / "database-design.md"


def statements(ddl: str) -> list[str]:
    """The statements without comments, whitespace made single. The specification has no semicolon in a literal."""
    bare = re.sub(r"--[^\n]*", "", ddl)
    return [" ".join(statement.split()) for statement in bare.split(";") if statement.strip()]


def ddl_of_document(markdown: str) -> str:
    """The SQL blocks of the specification's document."""
    return "\n".join(re.findall(r"```sql\n(.*?)```", markdown, re.DOTALL))


def item_names(ddl: str) -> list[str]:
    """The catalogue items the DDL defines, named as ``sql.catalogue`` names them."""
    names: list[str] = []
    columns_of: dict[str, list[str]] = {}
    partitions_of: dict[str, list[str]] = {}
    for statement in statements(ddl):
        if found := re.fullmatch(r"CREATE TABLE (\w+) PARTITION OF (\w+) .*", statement):
            partition, parent = found.groups()
            partitions_of.setdefault(parent, []).append(partition)
            names += [f"partition {partition}", *(f"column {partition}.{column}" for column in columns_of[parent])]
            names += [f"constraint {partition}.{partition}_pkey", f"index {partition}_pkey"]
        elif found := re.fullmatch(r"CREATE TABLE (\w+) \((.*)\)(?: PARTITION BY .*)?", statement):
            table, body = found.groups()
            definitions = re.split(r",\s*(?![^()]*\))", body)
            columns_of[table] = [d.split()[0] for d in definitions if not re.match(r"(UNIQUE|PRIMARY KEY)\b", d)]
            names += [f"table {table}", *(f"column {table}.{column}" for column in columns_of[table])]
            for definition in definitions:
                names += _constraint_items(table, definition)
        elif found := re.fullmatch(
            r"CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(\w+) ON (\w+) ?(?:USING \w+ )?\((.*?)\).*", statement
        ):
            index, table, keys = found.groups()
            names.append(f"index {index}")
            for partition in partitions_of.get(table, []):
                stem = f"index {partition}_{'_'.join(key.split()[0] for key in keys.split(','))}_idx"
                names.append(stem if stem not in names else f"{stem}1")
        else:
            message = f"not understood: {statement}"
            raise ValueError(message)
    return names


def _constraint_items(table: str, definition: str) -> list[str]:
    """Items of the constraints in one line of a CREATE TABLE; a key brings its index."""
    key = re.match(r"(UNIQUE|PRIMARY KEY) ?\((.*?)\)", definition)
    column = definition.split()[0]
    items = []
    if "PRIMARY KEY" in definition:
        items += [f"constraint {table}.{table}_pkey", f"index {table}_pkey"]
    if re.search(r"\bUNIQUE\b", definition):
        columns = key[2].replace(", ", "_") if key else column
        items += [f"constraint {table}.{table}_{columns}_key", f"index {table}_{columns}_key"]
    if "REFERENCES" in definition:
        items.append(f"constraint {table}.{table}_{column}_fkey")
    if "CHECK" in definition:
        items.append(f"constraint {table}.{table}_{column}_check")
    return items
