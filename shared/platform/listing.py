"""Pages of a table in an order that the caller chooses.

A list's statement holds ``{order}`` once for the page's ids and once for its rows; what goes there is composed of
column names that the domain allows, never of what the caller sent. Statements are planned for the filters at hand each
time, and a page behind the middle is read from the end, so the last page costs what the first does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import sql

from shared.platform.database import Connection, Row, scalar

_PLACE: Final = "{order}"


@dataclass(frozen=True, slots=True)
class Page:
    """``limit`` rows after ``offset`` others, by the field ``sort``; a hyphen before it is for descending order."""

    limit: int = 20
    offset: int = 0
    sort: str = "-created_at"


FIRST_PAGE: Final = Page()


class Listing:
    """A list that is filtered, sorted and counted in the database; equal rows are in the order of their ids.

    :param page: selects the rows, with ``{order}`` where columns to sort by go, and parameters ``limit``, ``offset``.
    :param count: counts as ``total`` the rows that the same filters leave.
    :param sorts: by public name, the column to sort by.
    :param table: the alias that columns are qualified with in ``page``.
    """

    def __init__(self, page: LiteralString, count: LiteralString, *, sorts: Mapping[str, str], table: str) -> None:
        self._parts = page.split(_PLACE)
        self._count = count
        self._sorts = sorts
        self._table = table

    async def read(self, conn: Connection, filters: Mapping[str, Any], page: Page) -> tuple[list[Row], int]:
        """The rows of one page, and how many the filters leave.

        :raises KeyError: the list cannot be sorted so.
        """
        counted = await (await conn.execute(self._count, filters, prepare=False)).fetchone()
        total = scalar(counted, "total")
        limit = min(page.limit, total - page.offset)
        if limit <= 0:
            return [], total
        from_end = page.offset > total - page.offset - limit
        offset = total - page.offset - limit if from_end else page.offset
        statement = self.statement(page.sort, reverse=from_end)
        parameters = {**filters, "limit": limit, "offset": offset}
        rows = await (await conn.execute(statement, parameters, prepare=False)).fetchall()
        return rows[::-1] if from_end else rows, total

    def statement(self, sort: str, *, reverse: bool) -> sql.Composed:
        """The page's statement in an order, or in its reverse.

        :raises KeyError: the list cannot be sorted so.
        """
        column = self._sorts[sort.removeprefix("-")]
        direction = sql.SQL(" DESC" if sort.startswith("-") is not reverse else "")
        order = sql.SQL(", ").join(
            sql.Composed([sql.Identifier(self._table, name), direction]) for name in (column, "id")
        )
        statement = sql.Composed([sql.SQL(self._parts[0])])
        for part in self._parts[1:]:
            statement += order + sql.SQL(part)
        return statement
