"""Arrays in files, written and read through memory."""

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def create_array(file: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Any:
    """A new ``.npy`` file of zeros, mapped for writing (a ``numpy.memmap``).

    The disk's blocks are taken now: a disk that fills up behind a sparse file kills the worker that writes to it.

    :raises OSError: there is no room.
    """
    array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def release_pages(array: npt.NDArray[Any]) -> None:
    """Let a mapped array's pages go; who reads them again gets them from the file. Other arrays stay as they are.

    They could be taken away at any time, yet until then they count as this process's memory.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
