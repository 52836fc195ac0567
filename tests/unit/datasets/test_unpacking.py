"""Compressed uploads: what is opened, and what an archive may not do."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from shared.datasets.model import DatasetLimits
from shared.datasets.unpacking import compression_of, unpack
from shared.platform.errors import DomainError, InvalidContent, Malformed, TooLarge, UnsupportedMedia

CSV = b"a,b\n1,2\n"
LIMITS = DatasetLimits(body_bytes=10**6, direct_bytes=20_000_000, rows=100, columns=10, compression_ratio=50)


def _zip(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def _unpacked(folder: Path, packed: bytes) -> bytes:
    source, target = folder / "packed", folder / "unpacked"
    source.write_bytes(packed)
    compression = compression_of(packed)
    assert compression is not None
    unpack(source, target, compression, LIMITS)
    return target.read_bytes()


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(CSV),
        gzip.compress(CSV[:4]) + gzip.compress(CSV[4:]),
        _zip(("table.csv", CSV)),
        _zip(("folder/", b""), ("folder/table.csv", CSV), ("__MACOSX/folder/._table.csv", b"x"), (".DS_Store", b"x")),
    ],
    ids=["gzip", "gzip in two parts", "zip", "zip by a Macintosh"],
)
def test_one_file_is_unpacked(tmp_path: Path, packed: bytes) -> None:
    """Gzip and zip are known by their first bytes; what archivers add by themselves does not count."""
    assert _unpacked(tmp_path, packed) == CSV


@pytest.mark.parametrize(
    ("packed", "error", "told"),
    [
        (gzip.compress(CSV)[:-6], Malformed, "damaged or incomplete"),
        (b"\x1f\x8bnothing of a gzip", Malformed, "damaged or incomplete"),
        (_zip(("a.csv", CSV))[:-30], Malformed, "damaged or incomplete"),
        (_zip(("a.csv", CSV), ("b.csv", CSV)), InvalidContent, "it holds 2"),
        (_zip(("folder/", b"")), InvalidContent, "it holds 0"),
        (_zip(("[Content_Types].xml", b""), ("xl/workbook.xml", b"")), UnsupportedMedia, "Excel workbooks"),
        (gzip.compress(b"0" * 19_000_000), TooLarge, "more than 50 times as large"),
        (gzip.compress(b"0" * 30_000_000, 1), TooLarge, "more than"),
        (_zip(("bomb.csv", b"0" * 19_000_000)), TooLarge, "more than 50 times as large"),
    ],
    ids=[
        "cut gzip", "no gzip", "cut zip", "two files", "no file", "workbook", "gzip bomb", "too large", "zip bomb",
    ],
)  # fmt: skip
def test_an_archive_that_cannot_be_used_is_refused(
    tmp_path: Path, packed: bytes, error: type[DomainError], told: str
) -> None:
    """With the reason, and no more than the limits is ever written."""
    with pytest.raises(error, match=told):
        _unpacked(tmp_path, packed)
    written = tmp_path / "unpacked"
    assert not written.exists() or written.stat().st_size <= LIMITS.direct_bytes


def test_the_size_that_an_archive_claims_does_not_count(tmp_path: Path) -> None:
    """A zip that says its file has eight bytes is not believed."""
    honest = _zip(("a.csv", b"0" * 19_000_000))
    lying = honest.replace((19_000_000).to_bytes(4, "little"), (8).to_bytes(4, "little"))
    with pytest.raises((TooLarge, Malformed)):
        _unpacked(tmp_path, lying)
    assert not (tmp_path / "unpacked").exists() or (tmp_path / "unpacked").stat().st_size <= 10**6


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    """By its flag, before anybody asks for a password."""
    packed = bytearray(_zip(("a.csv", CSV)))
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnsupportedMedia, match="encrypted"):
        _unpacked(tmp_path, bytes(packed))


@pytest.mark.parametrize("magic", [b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a"])
def test_other_compressions_are_named(magic: bytes) -> None:
    """What to use instead is said."""
    with pytest.raises(UnsupportedMedia, match="compress with gzip or zip"):
        compression_of(magic + b"rest")


def test_a_plain_file_is_not_compressed() -> None:
    """CSV and Parquet pass."""
    assert compression_of(CSV) is None
    assert compression_of(b"PAR1") is None
