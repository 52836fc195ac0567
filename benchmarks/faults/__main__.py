"""Run every fault and print what the clients saw, as Markdown."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.faults.load import CLIENTS
from benchmarks.faults.phases import HEADER, run
from benchmarks.faults.world import running_world


def main() -> int:
    """1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="how long each fault is looked at")
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="shadow-hubble-faults-") as folder:
        Path(folder).chmod(0o711)  # run as root, the server's account passes through
        with running_world(Path(folder)) as world:
            phases, broken = asyncio.run(run(world, seconds))
    print(f"\n{CLIENTS} clients, one transaction after the other; {seconds:g} s a fault.\n\n{HEADER}")
    for phase in phases:
        print(phase.row())
    print(f"\nBroken promises: {len(broken)}")
    for promise in broken[:50]:
        print(f"- {promise}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
