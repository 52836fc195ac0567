"""The shape of a CSV file, found by counting bytes: rows, their fields, and faults that readers pass over in silence.

A lenient reader fills a row that is too short with nulls, skips or invents rows at empty lines, and takes a quote in
the middle of a field for the beginning of another. One pass over the bytes with NumPy tells all that, at the speed at
which the file is read, whatever the fields hold.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.platform.errors import FieldError, Malformed, TooLarge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shared.datasets.model import DatasetLimits

_CHUNK: Final = 8 * 1024 * 1024
#: A row that does not end within this is a quote that was never closed.
_LONGEST_ROW: Final = 64 * 1024 * 1024
_NEWLINE, _RETURN, _QUOTE, _ZERO, _NINE = b"\n"[0], b"\r"[0], b'"'[0], b"0"[0], b"9"[0]
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(slots=True)
class CsvStructure:
    """What counting has found. ``leading_zeros``: by position of the column, how many fields look like 007."""

    rows: int = -1  # the header is a row and does not count
    leading_zeros: Counter[int] = field(default_factory=Counter)


def read_structure(local: Path, header: list[str], separator: str, limits: "DatasetLimits") -> CsvStructure:
    """Count the rows of a CSV file in UTF-8 and look at the shape of every field.

    :raises Malformed: a row with more or fewer fields than the header, an empty line between rows, or quotes that do
        not enclose a whole field; the line is named.
    :raises TooLarge: too many rows, or a field that is longer than ``limits.cell_bytes``.
    """
    counting = _Counting(header, separator.encode()[0], limits)
    pending = b""
    with local.open("rb") as source:
        if source.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
            source.seek(0)
        while chunk := source.read(_CHUNK):
            pending = counting.take(pending + chunk)
            if len(pending) > _LONGEST_ROW:
                raise counting.unmatched_quotes()
    if pending and counting.take(pending + b"\n"):
        raise counting.unmatched_quotes()
    return counting.found


class _Counting:
    def __init__(self, header: list[str], separator: int, limits: "DatasetLimits") -> None:
        self.found = CsvStructure()
        self._header = header
        self._separator = separator
        self._limits = limits
        self._line = 1  # of the next byte
        self._empty_line: int | None = None

    def take(self, raw: bytes) -> bytes:
        """Count the rows that end in ``raw``, which begins with a row; what is left of it belongs to the next one."""
        import numpy as np

        text = np.frombuffer(raw, np.uint8)
        marks = np.flatnonzero((text == self._separator) | (text == _NEWLINE))
        quotes = np.flatnonzero(text == _QUOTE)
        if quotes.size:  # with an odd number of them before it, a mark is inside a field
            first_after = np.searchsorted(marks, quotes)
            before = np.cumsum(np.bincount(first_after, minlength=marks.size + 1)[: marks.size])
            marks = marks[before & 1 == 0]
        ends = np.flatnonzero(text[marks] == _NEWLINE)
        if not ends.size:
            return raw
        marks = marks[: ends[-1] + 1]
        size = int(marks[-1]) + 1
        starts = np.concatenate(([0], marks[:-1] + 1))
        if quotes.size:
            self._check_quotes(text, quotes[quotes < size])
        ends = self._check_widths(text, starts, marks, ends)
        self._check_cells(text, starts, marks, ends)
        self._count_leading_zeros(text, starts, marks, ends)
        self.found.rows += ends.size
        if self.found.rows > self._limits.rows:
            raise TooLarge(f"the file has more than {self._limits.rows} rows", target="file")
        self._line += int(np.count_nonzero(text[:size] == _NEWLINE))
        return raw[size:]

    def unmatched_quotes(self) -> Malformed:
        """The row that was begun does not end."""
        return _malformed(f"the quotes in the row after line {self._line - 1} do not match")

    def _line_of(self, text: "NDArray[np.uint8]", position: int) -> int:
        return self._line + int((text[:position] == _NEWLINE).sum())

    def _check_quotes(self, text: "NDArray[np.uint8]", quotes: "NDArray[np.intp]") -> None:
        """A quote opens right after a separator, and one follows where it closes; doubled quotes close and open."""
        import numpy as np

        opening, closing = quotes[::2], quotes[1::2]
        before = text[np.maximum(opening - 1, 0)]
        after = text[closing + 1]
        wrong = [
            opening[~(np.isin(before, (self._separator, _NEWLINE, _QUOTE)) | (opening == 0))],
            closing[~np.isin(after, (self._separator, _NEWLINE, _RETURN, _QUOTE))],
        ]
        if any(found.size for found in wrong):
            first = min(int(found[0]) for found in wrong if found.size)
            raise _malformed(
                f"line {self._line_of(text, first)} has a quote that does not enclose a whole field; "
                "enclose the field in quotes and write the quotes in it twice"
            )

    def _check_widths(
        self,
        text: "NDArray[np.uint8]",
        starts: "NDArray[np.intp]",
        marks: "NDArray[np.intp]",
        ends: "NDArray[np.intp]",
    ) -> "NDArray[np.intp]":
        """Refuse ragged rows; the ends of those rows that are not just empty lines after the last one."""
        import numpy as np

        expected = len(self._header)
        widths = np.diff(ends, prepend=-1)
        odd = np.flatnonzero(widths != expected)
        if not odd.size and self._empty_line is None:
            return ends
        lengths = marks[ends] - starts[ends]
        empty = (widths == 1) & ((lengths == 0) | ((lengths == 1) & (text[starts[ends]] == _RETURN)))
        empty &= widths != expected
        filled = np.flatnonzero(~empty)
        ragged = odd[~empty[odd]]
        if ragged.size:
            row = int(ragged[0])
            line = self._line_of(text, int(starts[ends[row] - widths[row] + 1]))
            fields = "1 field" if widths[row] == 1 else f"{widths[row]} fields"
            raise _malformed(f"line {line} has {fields}, the first line {expected}")
        if self._empty_line is None and empty.any():
            self._empty_line = self._line_of(text, int(starts[ends[int(np.argmax(empty))]]))
            filled = filled[filled > int(np.argmax(empty))]
        if self._empty_line is not None and filled.size:
            raise _malformed(f"line {self._empty_line} is empty")
        remaining: NDArray[np.intp] = ends[~empty]
        return remaining

    def _check_cells(
        self,
        text: "NDArray[np.uint8]",
        starts: "NDArray[np.intp]",
        marks: "NDArray[np.intp]",
        ends: "NDArray[np.intp]",
    ) -> None:
        lengths = marks - starts
        if not lengths.size or int(lengths.max()) <= self._limits.cell_bytes:
            return
        cell = int(lengths.argmax())
        name = self._header[self._column(cell, ends)]
        line = self._line_of(text, int(starts[cell]))
        message = f"has {lengths[cell]:,} bytes in line {line}; at most {self._limits.cell_bytes:,} are accepted"
        raise TooLarge(f"{name!r} {message}", target="file", details=[FieldError(name, message)])

    def _count_leading_zeros(
        self,
        text: "NDArray[np.uint8]",
        starts: "NDArray[np.intp]",
        marks: "NDArray[np.intp]",
        ends: "NDArray[np.intp]",
    ) -> None:
        import numpy as np

        first = starts + (text[starts] == _QUOTE)
        next_ = text[np.minimum(first + 1, len(text) - 1)]
        found = np.flatnonzero((text[first] == _ZERO) & (next_ >= _ZERO) & (next_ <= _NINE) & (first + 1 < marks))
        if found.size:
            columns = found - np.concatenate(([-1], ends))[np.searchsorted(ends, found)] - 1
            self.found.leading_zeros.update(dict(zip(*map(list, np.unique(columns, return_counts=True)), strict=True)))

    def _column(self, cell: int, ends: "NDArray[np.intp]") -> int:
        import numpy as np

        row = int(np.searchsorted(ends, cell))
        return cell - (int(ends[row - 1]) + 1 if row else 0)


def _malformed(reason: str) -> Malformed:
    return Malformed(f"the file cannot be read as csv: {reason}", target="file", details=[FieldError("file", reason)])
