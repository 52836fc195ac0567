"""Arrays in files."""

import sys
from pathlib import Path

import numpy as np
import pytest

from shared.training.mapped import create_array, release_pages

MB = 2**20


def _mapped_bytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssFile")).split()[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_released_pages_no_longer_count_as_memory_and_are_read_again(tmp_path: Path) -> None:
    """A view of a mapped table gives up the whole table's pages, and its values stay."""
    create_array(tmp_path / "table.npy", np.float32, (8 * MB, 2))[:] = 7
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    assert mapped.sum(dtype=np.float64) == 7 * 16 * MB
    read = _mapped_bytes()
    release_pages(mapped[10:, 1])
    assert _mapped_bytes() < read - 60 * MB
    assert (mapped == 7).all()


def test_an_array_in_memory_is_left_alone() -> None:
    """Only files can be read again."""
    array = np.arange(10)
    release_pages(array[2:])
    assert array.tolist() == list(range(10))
