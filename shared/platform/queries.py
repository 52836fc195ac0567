"""Named SQL, read from ``sql/queries/<domain>.sql``.

A file holds blocks, each introduced by its name and one or more comment lines that describe it::

    -- name: get_dataset
    -- One dataset by id.
    SELECT … WHERE id = %(dataset_id)s;
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import LiteralString

_QUERIES = Path(__file__).resolve().parents[2] / "sql" / "queries"
_NAME = re.compile(r"^-- name: *([a-z][a-z0-9_]*) *$", re.MULTILINE)


@cache
def queries(domain: str) -> Mapping[str, LiteralString]:
    """The named statements of one domain, comments removed.

    The text comes from files that ship with the app, never from input, hence ``LiteralString``.

    :raises ValueError: two blocks of the file carry the same name, or a block has no description.
    """
    text = (_QUERIES / f"{domain}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    found: dict[str, LiteralString] = {}
    for name, block in zip(parts[::2], parts[1::2], strict=True):
        lines = block.strip().splitlines()
        if not lines or not lines[0].startswith("--"):
            raise ValueError(f"{domain}.sql: {name} has no description")
        if name in found:
            raise ValueError(f"{domain}.sql: {name} appears twice")
        statement = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
        found[name] = statement.strip().rstrip(";")
    return MappingProxyType(found)
