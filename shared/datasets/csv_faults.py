"""What is wrong with a CSV file, said so that its sender can find the place."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from shared.platform.errors import FieldError, InvalidContent, Malformed

_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_ENCODING: Final = "utf-8-sig"


def read_header(local: Path) -> list[str]:
    """The column names, having refused what a lenient reader would silently rename or take for one wide column.

    :raises InvalidContent: a column has no name or the name of another, or the separator is not a comma.
    :raises Malformed: the header cannot be read.
    """
    header = _header(local)
    if len(header) == 1:
        for separator, name in _SEPARATORS.items():
            if separator in header[0]:
                raise _refused("file", f"columns are separated by {name}; separate them with commas")
    details = [
        FieldError(f"column {position}", "has no name in the first line")
        for position, name in enumerate(header, start=1)
        if not name.strip()
    ]
    seen: dict[str, int] = {}
    for position, name in enumerate(header, start=1):
        if name.strip() and seen.setdefault(name, position) != position:
            details.append(FieldError(name[:100], f"is the name of columns {seen[name]} and {position}"))
    if details:
        raise InvalidContent("some columns cannot be used", target=details[0].field, details=details)
    return header


def describe_fault(local: Path) -> str | None:
    """Where and why a CSV file cannot be read, or None when nothing is found; reads as far as the fault."""
    line = 1
    try:
        with local.open(encoding=_ENCODING, errors="strict", newline="") as source:
            rows = _rows(source)
            width = len(next(rows, (0, []))[1])
            for line, row in rows:
                if len(row) > width:
                    return f"line {line} has {len(row)} fields, the first line {width}"
    except UnicodeDecodeError:
        return f"{_line_that_is_not_text(local)} is not UTF-8 text"
    except csv.Error as error:
        # Besides quotes the reader only minds very long fields, which are no fault.
        return None if "limit" in str(error) else f"the quotes in the row after line {line} do not match"
    return None


def _rows(source: IO[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(source, strict=True)
    for row in reader:
        yield reader.line_num, row


def _header(local: Path) -> list[str]:
    try:
        with local.open(encoding=_ENCODING, errors="strict", newline="") as source:
            return next(_rows(source), (0, []))[1]
    except (UnicodeDecodeError, csv.Error) as error:
        reason = describe_fault(local) or "its first line is too long"
        raise Malformed(f"the file cannot be read as csv: {reason}", target="file") from error


def _line_that_is_not_text(local: Path) -> str:
    with local.open("rb") as source:
        for number, line in enumerate(source, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"line {number}"
    return "the file"


def _refused(field: str, message: str) -> InvalidContent:
    return InvalidContent(message, target=field, details=[FieldError(field, message)])
