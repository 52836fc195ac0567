"""The canonical text of the schema: ``python -m sql.schema --write`` renders ``sql/schema.sql`` from the migrations.

To read, and to review what a migration changes; databases are made by ``sql.migrate``. A test proves both equal.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from sql.catalogue import Catalogue, Row, column_definition, read_catalogue
from sql.migrate import migrate

_IN_LIST = re.compile(r"(?P<column>\w+)::text = ANY \(ARRAY\[(?P<values>[^\]]*)\]::text\[\]\)")
_REFERENCE = re.compile(r"REFERENCES (\w+)")
_VARCHAR_CAST = re.compile(r"(?<=')::character varying\b|(?<=')::text\b|(?<=\w)::text(?= (?:=|<>) ')")
SCHEMA_FILE = Path(__file__).with_name("schema.sql")
_HEADER = """\
-- The database schema at the newest revision, made by `python -m sql.schema --write`. Not to be edited:
-- change the schema by a migration. Partitions after the first two are made by ensure_predictions_partitions().

SET timezone = 'UTC';
"""


def render(catalogue: Catalogue) -> str:
    """SQL that builds the catalogued schema in an empty database. The same catalogue gives the same text."""
    parts = [_HEADER]
    later = _ahead_of_their_tables(catalogue)
    for relation in catalogue.relations:
        if relation["parent"] is not None:
            continue
        name = relation["name"]
        parts.append(_table(catalogue, relation, later))
        parts += [
            f"CREATE TABLE {part['name']} PARTITION OF {name}\n    {part['bound']};\n"
            for part in catalogue.relations
            if part["parent"] == name
        ]
        indexes = [
            f"{_index(index['pretty'])};\n"
            for index in catalogue.indexes
            if index["table"] == name and not index["of_constraint"]
        ]
        parts += ["".join(indexes)] if indexes else []
        comments = [_comment(c) for c in catalogue.comments if c["name"].partition(".")[0] == name]
        parts += ["".join(comments)] if comments else []
    parts += [f"ALTER TABLE {c['table']} ADD {_constraint(c)};\n" for c in later]
    parts += [f"{_unqualified(function['definition']).rstrip()};\n" for function in catalogue.functions]
    parts += [_comment(comment) for comment in catalogue.comments if comment["kind"] == "FUNCTION"]
    parts += [f"{_unqualified(trigger['definition'])};\n" for trigger in catalogue.triggers]
    return "\n".join(parts)


def _ahead_of_their_tables(catalogue: Catalogue) -> list[Row]:
    """Foreign keys that a later migration gave to a table that is older than the one they refer to."""
    order = {relation["name"]: position for position, relation in enumerate(catalogue.relations)}
    return [
        c
        for c in catalogue.constraints
        if (found := _REFERENCE.search(c["pretty"])) is not None and order[found[1]] > order[c["table"]]
    ]


def _table(catalogue: Catalogue, relation: Row, later: list[Row]) -> str:
    name = relation["name"]
    lines = [f"{c['name']} {_plain(column_definition(c))}" for c in catalogue.columns if c["table"] == name]
    lines += [_constraint(c) for c in catalogue.constraints if c["table"] == name and c not in later]
    body = ",\n".join(f"    {line}" for line in lines)
    partitioning = f" PARTITION BY {relation['partition_key']}" if relation["partition_key"] else ""
    options = f" WITH ({relation['options']})" if relation["options"] else ""
    return f"CREATE TABLE {name} (\n{body}\n){partitioning}{options};\n"


def _constraint(constraint: Row) -> str:
    return f"CONSTRAINT {constraint['name']} {_plain(constraint['pretty'])}"


def _comment(comment: Row) -> str:
    return f"COMMENT ON {comment['kind']} {comment['name']} IS '{comment['text'].replace(chr(39), chr(39) * 2)}';\n"


def _index(definition: str) -> str:
    # "ON ONLY" is how the catalogue words an index of a partitioned table; written so, it would skip the partitions.
    return _plain(_unqualified(definition)).replace(" ON ONLY ", " ON ").replace(" USING btree", "")


def _unqualified(definition: str) -> str:
    return definition.replace(" public.", " ")


def _plain(expression: str) -> str:
    """The expression as people write it; PostgreSQL spells out the casts of a varchar column's literals."""
    expression = _IN_LIST.sub(lambda found: f"{found['column']} IN ({found['values']})", expression)
    return _VARCHAR_CAST.sub("", expression)


def schema_of_migrations(server_url: str) -> str:
    """The text for the newest revision, through a scratch database on the server; its user must be able to make one."""
    with scratch_database(server_url) as url:
        migrate(url, partitions=False)
        return render(read_catalogue(url))


@contextmanager
def scratch_database(server_url: str) -> Iterator[str]:
    """The address of a new database on the server, dropped at the end."""
    name = f"schema_{uuid.uuid4().hex}"
    address = psycopg.conninfo.make_conninfo(server_url)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield _with_database(server_url, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _with_database(url: str, name: str) -> str:
    base, question, options = url.partition("?")
    return f"{base.rpartition('/')[0]}/{name}{question}{options}"


@contextmanager
def _server() -> Iterator[str]:
    """DATABASE_URL's server, else a private one for the moment."""
    address = os.environ.get("DATABASE_URL")
    if address:
        yield address
        return
    import tempfile

    from devhost.postgres import PostgresServer, find_binaries, free_port

    with tempfile.TemporaryDirectory(prefix="shadow-hubble-schema-") as folder:
        Path(folder).chmod(0o711)
        server = PostgresServer(find_binaries(), Path(folder) / "data", free_port())
        try:
            server.start()
            yield server.url
        finally:
            server.stop()


def main(arguments: list[str] | None = None) -> int:
    """Print or write the canonical schema, or check that the file has it."""
    parser = argparse.ArgumentParser(prog="python -m sql.schema", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write sql/schema.sql instead of printing")
    parser.add_argument("--check", action="store_true", help="fail when sql/schema.sql is not up to date")
    options = parser.parse_args(arguments)
    with _server() as address:
        text = schema_of_migrations(address)
    if options.check:
        return 0 if SCHEMA_FILE.read_text(encoding="utf-8") == text else 1
    if options.write:
        SCHEMA_FILE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
