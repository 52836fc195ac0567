"""Encodings of CSV files: recognised, named, or refused with the line."""

from pathlib import Path

import pytest

from shared.datasets.encodings import known_encoding, to_utf_8
from shared.platform.errors import InvalidContent, Malformed

TEXT = "name,city\nJürgen,Köln\nZoë,São Paulo\n"


def _read(folder: Path, raw: bytes, encoding: str | None = None) -> tuple[str, str]:
    source = folder / "source"
    source.write_bytes(raw)
    local, found = to_utf_8(source, folder / "text", encoding)
    return local.read_bytes().decode("utf-8-sig"), found


@pytest.mark.parametrize(
    ("raw", "named", "found"),
    [
        (TEXT.encode(), None, "utf-8"),
        (TEXT.encode("utf-8-sig"), None, "utf-8"),
        (TEXT.encode("utf-16"), None, "utf-16-le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), None, "utf-16-be"),
        (TEXT.encode("utf-16-be"), "utf-16-be", "utf-16-be"),
        (TEXT.encode("utf-16"), "utf-16", "utf-16-le"),
        (TEXT.encode("cp1252"), None, "cp1252"),
        (TEXT.encode("latin-1"), "iso8859-1", "iso8859-1"),
        (TEXT.encode(), "utf-8", "utf-8"),
    ],
)
def test_text_is_brought_to_utf_8(tmp_path: Path, raw: bytes, named: str | None, found: str) -> None:
    """By byte order mark, by what the bytes can be, or as the caller says."""
    assert _read(tmp_path, raw, named) == (TEXT, found)


def test_a_file_in_utf_8_is_not_copied(tmp_path: Path) -> None:
    """It is checked and used where it lies."""
    source = tmp_path / "source"
    source.write_text(TEXT, encoding="utf-8")
    assert to_utf_8(source, tmp_path / "text", None)[0] == source
    assert not (tmp_path / "text").exists()


def test_a_character_may_lie_across_two_reads(tmp_path: Path) -> None:
    """Files are decoded in pieces of four mebibytes; a sign of two bytes may begin in one and end in the next."""
    text = "x" * (4 * 1024 * 1024 - 1) + "é,€\n"
    assert _read(tmp_path, text.encode())[0] == text
    assert _read(tmp_path, text.encode("cp1252"))[0] == text


@pytest.mark.parametrize(
    ("raw", "named", "told"),
    [
        ("ok,é\n".encode() * 3 + b"bad,\xff\n", None, "line 4 is not UTF-8 text; if the file is not UTF-8, say so"),
        (TEXT.encode("cp1252"), "utf-8", "line 2 is not UTF-8 text"),
        (b"a\nb\n\x81\n", None, "line 3 is not Windows-1252 text"),
        (b"a,b\n1,\xe9", "utf-8", "line 2 is not UTF-8 text"),
        ("a\nb\n".encode("utf-16-le") + b"\x00\xd8", "utf-16-le", "line 3 is not UTF-16-LE text"),
    ],
    ids=["damaged", "not as named", "neither", "cut at the end", "half a pair"],
)
def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path, raw: bytes, named: str | None, told: str) -> None:
    """A damaged file of UTF-8 is not taken for another encoding."""
    with pytest.raises(Malformed) as refused:
        _read(tmp_path, raw, named)
    assert told in refused.value.message


def test_utf_16_without_its_mark_is_refused(tmp_path: Path) -> None:
    """Without the mark nobody knows the order of its bytes."""
    with pytest.raises(InvalidContent, match="byte order mark"):
        _read(tmp_path, TEXT.encode("utf-16-le"), "utf-16")


@pytest.mark.parametrize(
    ("name", "found"),
    [("UTF8", "utf-8"), ("us-ascii", "utf-8"), ("windows-1252", "cp1252"), ("L1", "iso8859-1")],
)
def test_an_encoding_has_many_names(name: str, found: str) -> None:
    """All of them are taken."""
    assert known_encoding(name) == found


@pytest.mark.parametrize("name", ["klingon", "utf-7", "base64", "idna", "", "a\x00b"])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    """Those that are read are listed."""
    with pytest.raises(InvalidContent, match="must be one of"):
        known_encoding(name)
