"""What one call takes, in a process of its own. Standard library only: rivals import it too."""

import ctypes
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def report(work: Callable[[], Any]) -> None:
    """Print, as the last line of the output, what ``work`` took: wall seconds, processor seconds of all threads, and
    megabytes above what was there."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # memory that was given back is no memory to begin with
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    started = time.perf_counter()
    processor = time.process_time()
    work()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    found = {"seconds": seconds, "processor": processor, "megabytes": (_status("VmHWM") - before) / 1024}
    sys.stdout.write(json.dumps(found) + "\n")


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
