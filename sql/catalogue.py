"""Reads the schema of a database from PostgreSQL's catalogue, in a form that two databases can be compared by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

# Alembic's own table says which revision a database has; it is no part of the schema.
_NOT_OURS = "c.relname <> 'alembic_version' AND c.relnamespace = 'public'::regnamespace"

# The sequence of an identity column (deptype i) comes with the column.
_RELATIONS = f"""
SELECT c.relname AS name, c.relkind::text AS kind, pg_get_partkeydef(c.oid) AS partition_key,
       parent.relname AS parent, pg_get_expr(c.relpartbound, c.oid) AS bound,
       coalesce(array_to_string(c.reloptions, ', '), '') AS options
FROM pg_class c
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
LEFT JOIN pg_class parent ON parent.oid = i.inhparent
WHERE {_NOT_OURS} AND c.relkind NOT IN ('i', 'I', 't')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i' AND c.relkind = 'S')
ORDER BY c.oid
"""  # noqa: S608 - a constant

_COLUMNS = f"""
SELECT c.relname AS table, a.attname AS name,
       row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum) AS position,
       format_type(a.atttypid, a.atttypmod) AS type,
       pg_get_expr(d.adbin, d.adrelid) AS expression, a.attgenerated::text AS generated,
       a.attidentity::text AS identity, a.attnotnull AS not_null
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE {_NOT_OURS} AND c.relkind IN ('r', 'p')
ORDER BY c.oid, a.attnum
"""  # noqa: S608 - a constant

# PostgreSQL 18 also lists NOT NULL here (contype n), compared with the column; constraint triggers (t) are triggers.
_CONSTRAINTS = f"""
SELECT c.relname AS table, k.conname AS name, k.contype::text AS kind, pg_get_constraintdef(k.oid) AS definition,
       pg_get_constraintdef(k.oid, true) AS pretty
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE {_NOT_OURS} AND k.contype NOT IN ('n', 't')
ORDER BY c.oid, k.contype = 'f', k.contype <> 'p', k.conname
"""  # noqa: S608 - a constant

_INDEXES = f"""
SELECT t.relname AS table, c.relname AS name, pg_get_indexdef(c.oid) AS definition,
       pg_get_indexdef(c.oid, 0, true) AS pretty,
       CASE WHEN x.indisvalid THEN '' ELSE ' (invalid)' END AS invalid,
       coalesce(' part of ' || parent.relname, '') AS part_of,
       EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')) AS of_constraint
FROM pg_index x
JOIN pg_class c ON c.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
LEFT JOIN pg_class parent ON parent.oid = i.inhparent
WHERE {_NOT_OURS} AND t.relname <> 'alembic_version' AND t.relkind <> 't'
ORDER BY c.oid
"""  # noqa: S608 - a constant

_FUNCTIONS = """
SELECT p.oid::regprocedure::text AS name, pg_get_functiondef(p.oid) AS definition
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')
ORDER BY p.oid
"""

_TRIGGERS = f"""
SELECT c.relname AS table, g.tgname AS name, pg_get_triggerdef(g.oid) AS definition
FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
WHERE {_NOT_OURS} AND NOT g.tgisinternal AND g.tgparentid = 0
ORDER BY c.relname, g.tgname
"""  # noqa: S608 - a constant

_COMMENTS = f"""
SELECT kind, name, text FROM (
    SELECT c.oid AS owner, d.objsubid,
           CASE WHEN d.objsubid = 0 THEN 'TABLE' ELSE 'COLUMN' END AS kind,
           c.relname || coalesce('.' || a.attname, '') AS name, d.description AS text
    FROM pg_description d
    JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid <> 0
    WHERE {_NOT_OURS} AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT p.oid, 0, 'FUNCTION', p.oid::regprocedure::text, d.description
    FROM pg_description d JOIN pg_proc p ON d.classoid = 'pg_proc'::regclass AND p.oid = d.objoid
    WHERE p.pronamespace = 'public'::regnamespace
) described
ORDER BY owner, objsubid
"""  # noqa: S608 - a constant

_TYPES = """
SELECT t.typname AS name FROM pg_type t
WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd', 'r', 'c')
  AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind IN ('r', 'p', 'v', 'm'))
"""

Row = dict[str, Any]


class UnknownObject(RuntimeError):
    """The schema has a kind of object (a view, a sequence, a type …) this module does not read yet."""


@dataclass(frozen=True)
class Catalogue:
    """The schema of one database; every list in the order of creation."""

    relations: list[Row]
    columns: list[Row]
    constraints: list[Row]
    indexes: list[Row]
    functions: list[Row]
    triggers: list[Row]
    comments: list[Row]

    def items(self) -> dict[str, str]:
        """Every object by a name such as ``column users.email``, with its definition as one comparable text."""
        items: dict[str, str] = {}
        for relation in self.relations:
            if relation["parent"] is None:
                key = f" PARTITION BY {relation['partition_key']}" if relation["partition_key"] else ""
                items[f"table {relation['name']}"] = f"table{key} {relation['options']}".rstrip()
            else:
                of = f"partition of {relation['parent']} {relation['bound']} {relation['options']}".rstrip()
                items[f"partition {relation['name']}"] = of
        for column in self.columns:
            items[f"column {column['table']}.{column['name']}"] = f"#{column['position']} {column_definition(column)}"
        for constraint in self.constraints:
            items[f"constraint {constraint['table']}.{constraint['name']}"] = constraint["definition"]
        for index in self.indexes:
            items[f"index {index['name']}"] = f"{index['definition']}{index['part_of']}{index['invalid']}"
        items |= {f"function {function['name']}": function["definition"] for function in self.functions}
        items |= {f"trigger {trigger['table']}.{trigger['name']}": trigger["definition"] for trigger in self.triggers}
        items |= {f"comment {comment['kind'].lower()} {comment['name']}": comment["text"] for comment in self.comments}
        return items


def column_definition(column: Row) -> str:
    """Type, nullability and default of a column as CREATE TABLE takes them."""
    words = [column["type"]]
    if column["not_null"]:
        words.append("NOT NULL")
    if column["generated"]:
        words.append(f"GENERATED ALWAYS AS ({column['expression']}) {'STORED' if column['generated'] == 's' else ''}")
    elif column["identity"]:
        words.append(f"GENERATED {'ALWAYS' if column['identity'] == 'a' else 'BY DEFAULT'} AS IDENTITY")
    elif column["expression"] is not None:
        words.append(f"DEFAULT {column['expression']}")
    return " ".join(words).rstrip()


def read_catalogue(database_url: str) -> Catalogue:
    """The catalogue of the database's ``public`` schema, times in UTC. Raises UnknownObject."""
    with psycopg.connect(database_url, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("SET timezone = 'UTC'")

        def rows(query: str) -> list[Row]:
            return connection.execute(query.encode()).fetchall()

        relations = rows(_RELATIONS)
        unknown = [relation["name"] for relation in relations if relation["kind"] not in ("r", "p")]
        unknown += [row["name"] for row in rows(_TYPES)]
        if unknown:
            message = f"teach sql/catalogue.py to read: {', '.join(unknown)}"
            raise UnknownObject(message)
        return Catalogue(
            relations, rows(_COLUMNS), rows(_CONSTRAINTS), rows(_INDEXES), rows(_FUNCTIONS), rows(_TRIGGERS),
            rows(_COMMENTS),
        )  # fmt: skip
