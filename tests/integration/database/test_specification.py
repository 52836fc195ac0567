"""Revision 0001 is the specification, object by object, and later revisions take nothing of it away."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from devhost.postgres import PostgresServer
from sql.catalogue import read_catalogue
from sql.migrate import migrate
from tests.fixtures.postgres import scratch_database
from tests.integration.database import specification

DDL = specification.TRANSCRIPT.read_text(encoding="utf-8")
ITEMS = specification.item_names(DDL)


@pytest.fixture(scope="module")
def specified(postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    """The catalogue of a database made by the specification's own statements."""
    with scratch_database(postgres_server) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in specification.statements(DDL):
                connection.execute(statement.encode())
        yield read_catalogue(url).items()


@pytest.fixture(scope="module")
def first_revision(postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    """The catalogue of a database at revision 0001."""
    with scratch_database(postgres_server) as url:
        migrate(url, "0001")
        yield read_catalogue(url).items()


@pytest.fixture(scope="module")
def newest_revision(module_database_url: str) -> dict[str, str]:
    """The catalogue of a database at head."""
    return read_catalogue(module_database_url).items()


# Revision 0020 keeps long documents out of the rows, so that pages of the catalogue read less.
STORED = {"table datasets": "table toast_tuple_target=128"}


@pytest.mark.parametrize("item", ITEMS)
def test_revision_0001_has_it_as_specified(
    item: str, specified: dict[str, str], first_revision: dict[str, str]
) -> None:
    """An object of the specification has the same definition in revision 0001."""
    assert first_revision[item] == specified[item]


@pytest.mark.parametrize("item", ITEMS)
def test_head_still_has_it_as_specified(item: str, specified: dict[str, str], newest_revision: dict[str, str]) -> None:
    """An object of the specification keeps its definition through all later revisions, but for how it is stored."""
    assert newest_revision[item] == STORED.get(item, specified[item])


def test_items_are_all_there_is(specified: dict[str, str]) -> None:
    """The names read from the text are exactly the objects PostgreSQL made from it."""
    assert sorted(ITEMS) == sorted(specified)


def test_revision_0001_adds_nothing(specified: dict[str, str], first_revision: dict[str, str]) -> None:
    """Revision 0001 has no object the specification does not have."""
    assert sorted(first_revision) == sorted(specified)


def test_every_index_is_valid(newest_revision: dict[str, str]) -> None:
    """No concurrently built index was left invalid."""
    assert [name for name, definition in newest_revision.items() if definition.endswith("(invalid)")] == []


@pytest.mark.skipif(
    not specification.DOCUMENT.exists(), reason="the specification's document is not beside the project"
)
def test_transcript_is_the_document() -> None:
    """The transcript used here holds the document's statements, all of them, in their order."""
    document = specification.DOCUMENT.read_text(encoding="utf-8")
    assert specification.statements(DDL) == specification.statements(specification.ddl_of_document(document))
