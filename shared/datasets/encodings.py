"""Text files in the encodings that spreadsheets and databases write, brought to UTF-8."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shared.platform.errors import FieldError, Malformed, invalid_field

UTF_8: Final = "utf-8"
CP1252: Final = "cp1252"

# By the codec's own name, so that every alias of it is known.
_READ: Final = (UTF_8, CP1252, "iso8859-1", "utf-16", "utf-16-le", "utf-16-be")
_SAME: Final = {"ascii": UTF_8, "utf-8-sig": UTF_8}
_NAMES: Final = {UTF_8: "UTF-8", CP1252: "Windows-1252", "iso8859-1": "Latin-1"}
_UTF_16_MARKS: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CHUNK: Final = 4 * 1024 * 1024


def known_encoding(name: str) -> str:
    """The encoding that a caller or a ``charset`` parameter names, by one name for all its aliases.

    :raises InvalidContent: it is none that is read here.
    """
    try:
        found = codecs.lookup(name.strip()).name
    except (LookupError, ValueError):
        found = ""
    found = _SAME.get(found, found)
    if found not in _READ:
        raise invalid_field("encoding", "must be one of utf-8, utf-16, cp1252 and latin-1")
    return found


def has_utf_16_mark(head: bytes) -> bool:
    """Whether a file begins with the byte order mark of UTF-16 (and not of UTF-32, which begins alike)."""
    return head[:2] in _UTF_16_MARKS and not head.startswith(codecs.BOM_UTF32_LE)


def to_utf_8(local: Path, target: Path, encoding: str | None) -> tuple[Path, str]:
    """The file as UTF-8, and the encoding it was in: ``local`` itself, or ``target``, written anew.

    Without ``encoding`` a byte order mark decides, then whether the bytes are UTF-8. What is not is taken for
    Windows-1252, unless other bytes of it do form characters of UTF-8: then it is UTF-8 with a fault in it.

    :raises Malformed: bytes that the encoding does not have; the line is named.
    """
    with local.open("rb") as source:
        head = source.read(4)
    if has_utf_16_mark(head) and encoding in (None, "utf-16"):
        encoding = _UTF_16_MARKS[head[:2]]
    elif encoding == "utf-16":
        raise invalid_field("encoding", "the file does not begin with the byte order mark of UTF-16")
    if encoding in (None, UTF_8):
        fault = _fault_of_utf_8(local)
        if fault is None:
            return local, UTF_8
        if encoding == UTF_8:
            raise _not_text(fault, UTF_8)
        if _has_characters_of_utf_8(local):
            raise _not_text(fault, UTF_8, "; if the file is not UTF-8, say so by encoding")
    written_in = encoding or CP1252
    try:
        with target.open("wb") as written:
            for text in _decoded(local, written_in):
                written.write(text.encode())
    except _Fault as fault:
        raise _not_text(fault.line, written_in) from fault
    return target, written_in


def _fault_of_utf_8(local: Path) -> int | None:
    """The line of the first bytes that are not UTF-8."""
    try:
        for _ in _decoded(local, UTF_8):
            pass
    except _Fault as fault:
        return fault.line
    return None


class _Fault(Exception):
    """Bytes that the encoding does not have, in this line."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _decoded(local: Path, encoding: str) -> Iterator[str]:
    """The file's text in pieces; raises :class:`_Fault`."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines = 1
    with local.open("rb") as source:
        while True:
            chunk = source.read(_CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                before = bytes(error.object[: error.start]).decode(encoding, "ignore")
                raise _Fault(lines + before.count("\n")) from error
            lines += text.count("\n")
            yield text
            if not chunk:
                return


def _has_characters_of_utf_8(local: Path) -> bool:
    decoder = codecs.getincrementaldecoder(UTF_8)("ignore")
    with local.open("rb") as source:
        while chunk := source.read(_CHUNK):
            if not decoder.decode(chunk).isascii():
                return True
    return False


def _not_text(line: int, encoding: str, hint: str = "") -> Malformed:
    message = f"line {line} is not {_NAMES.get(encoding, encoding.upper())} text{hint}"
    return Malformed(f"the file cannot be read as csv: {message}", target="file", details=[FieldError("file", message)])
