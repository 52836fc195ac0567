"""Opening a compressed upload without trusting what it says of itself: limits hold for the bytes that come out."""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from shared.datasets.model import DatasetLimits
from shared.platform.errors import FieldError, InvalidContent, Malformed, TooLarge, UnsupportedMedia

_CHUNK: Final = 1024 * 1024
_UNREAD: Final = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
}
# What archivers add by themselves.
_ADDED: Final = ("__MACOSX/", ".DS_Store")
_WORKBOOK: Final = "[Content_Types].xml"


def compression_of(head: bytes) -> str | None:
    """``gz`` or ``zip`` by a file's first bytes; None for one that is not compressed.

    :raises UnsupportedMedia: it is compressed in another way.
    """
    if head.startswith(b"\x1f\x8b"):
        return "gz"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    for magic, name in _UNREAD.items():
        if head.startswith(magic):
            raise UnsupportedMedia(f"{name} files are not read; compress with gzip or zip", target="file")
    return None


def unpack(packed: Path, target: Path, compression: str, limits: DatasetLimits) -> None:
    """Write the one file that ``packed`` holds to ``target``; stops at the limits, whatever the headers claim.

    :raises Malformed: the archive is damaged.
    :raises UnsupportedMedia: it is encrypted, or compressed by a method that is not read.
    :raises InvalidContent: a zip with no file or several.
    :raises TooLarge: more bytes come out than ``limits.direct_bytes``, or more than ``limits.compression_ratio`` times
        what went in.
    """
    opened = _gzip if compression == "gz" else _zip
    try:
        with opened(packed) as source, target.open("wb") as unpacked:
            _copy(source.read, unpacked, packed.stat().st_size, limits)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise _damaged(compression) from error


def _copy(read: Callable[[int], bytes], unpacked: IO[bytes], packed_bytes: int, limits: DatasetLimits) -> None:
    most = min(limits.direct_bytes, max(limits.compression_ratio * packed_bytes, _CHUNK))
    written = 0
    while chunk := read(_CHUNK):
        written += len(chunk)
        if written > limits.direct_bytes:
            raise TooLarge(f"unpacked, the file has more than {limits.direct_bytes} bytes", target="file")
        if written > most:
            raise TooLarge(
                f"unpacked, the file is more than {limits.compression_ratio} times as large; upload it uncompressed",
                target="file",
            )
        unpacked.write(chunk)


@contextmanager
def _gzip(packed: Path) -> Iterator[IO[bytes]]:
    with gzip.open(packed, "rb") as source:
        yield source  # type: ignore[misc]  # a GzipFile reads as any file does


@contextmanager
def _zip(packed: Path) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(packed) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_added(entry.filename)]
        if any(entry.filename == _WORKBOOK for entry in entries):
            raise UnsupportedMedia("Excel workbooks are not read; save the sheet as CSV", target="file")
        if len(entries) != 1:
            message = f"the archive must hold exactly one file; it holds {len(entries)}"
            raise InvalidContent(message, target="file", details=[FieldError("file", message)])
        if entries[0].flag_bits & 0x1:
            raise UnsupportedMedia("the archive is encrypted", target="file")
        try:
            source = archive.open(entries[0])
        except NotImplementedError as error:
            raise UnsupportedMedia(
                "the archive's compression method is not read; use deflate", target="file"
            ) from error
        with source:
            yield source


def _is_added(name: str) -> bool:
    return name.startswith(_ADDED[0]) or name.endswith(_ADDED[1])


def _damaged(compression: str) -> Malformed:
    message = f"the {'gzip' if compression == 'gz' else 'zip'} file is damaged or incomplete"
    return Malformed(message, target="file", details=[FieldError("file", message)])
