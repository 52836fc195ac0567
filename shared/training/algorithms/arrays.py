"""Models and checkpoints that are a few arrays: written as an ``.npz`` that numpy can open, read against an allow-list.

The allow-list (names, dtypes, ranks) is the reader's and lives in code. Entries are stored, not compressed, so that a
file cannot grow while it is read; pickled objects cannot pass, because ``object`` is no allowed dtype. Equal arrays
give equal bytes.
"""

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
# By name: the dtype as numpy writes it ("<f4") and the number of dimensions.
AllowList = Mapping[str, tuple[str, int]]

_SUFFIX: Final = ".npy"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def pack(arrays: Mapping[str, npt.NDArray[Any]], allowed: AllowList) -> bytes:
    """The arrays as one file, each cast to its allowed dtype."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            dtype, rank = allowed[name]
            content = io.BytesIO()
            values = np.ascontiguousarray(array, dtype=dtype).reshape(np.shape(array))
            assert values.ndim == rank
            np.lib.format.write_array(content, values, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name + _SUFFIX, _EPOCH), content.getvalue())
    return buffer.getvalue()


def unpack(content: bytes, allowed: AllowList) -> Arrays:
    """Read what :func:`pack` wrote.

    :raises ValueError: not such a file, or it holds what is not on the allow-list.
    """
    arrays: Arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(_SUFFIX)
                if name not in allowed or name in arrays or entry.filename != name + _SUFFIX:
                    raise ValueError(f"{entry.filename!r} is not an array of this model")
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{entry.filename!r} is compressed")
                arrays[name] = _array(name, archive.read(entry), *allowed[name])
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not a file of arrays: {error}") from error
    return arrays


def require(arrays: Arrays, *names: str) -> None:
    """:raises ValueError: one of the arrays is not there."""
    if absent := [name for name in names if name not in arrays]:
        raise ValueError(f"lacks {', '.join(absent)}")


def require_finite(arrays: Arrays) -> None:
    """:raises ValueError: a value is infinite or not a number."""
    if faulty := [name for name, values in arrays.items() if not np.isfinite(values).all()]:
        raise ValueError(f"not finite: {', '.join(faulty)}")


def _array(name: str, content: bytes, dtype: str, rank: int) -> npt.NDArray[Any]:
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is of an unknown version")
    shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
    if found.str != dtype or len(shape) != rank or fortran:
        raise ValueError(f"{name} is {found.str} of rank {len(shape)}, not {dtype} of rank {rank}")
    data = stream.read()
    values = np.frombuffer(data, dtype=found)
    if min(shape, default=1) < 0 or values.size != int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{name} has another size than it says")
    return values.reshape(shape)
