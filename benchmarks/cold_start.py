"""Cold start: from the start of the process to the first answer, and what each package costs to import.

    python -m benchmarks.cold_start [--rounds 5]

The development host is started as a process with the model of ``benchmarks.serving`` in production; a transaction is
sent as soon as the port accepts one, and the time until its answer is taken. The model's files come from the blob
emulator on the same machine. The first start after a change also compiles; it is not counted. The second table is one
more start under Python's own import timer: a package's time is that of its modules without what they import themselves.
"""

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from urllib.parse import urlsplit

import httpx

from benchmarks.serving_product import Product, start
from devhost.settings_file import read_settings

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| *([\w.]+)")
_SHOWN = 14
_UNWANTED = ("shap", "sklearn", "polars", "scipy", "pandas", "lightgbm", "numba", "dask")


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    product = start()
    try:
        product.services.host.stop()
        _first_answer(product, timed=False)
        seconds = [_first_answer(product, timed=False)[0] for _ in range(options.rounds)]
        timed, log = _first_answer(product, timed=True)
    finally:
        product.services.stop()
    print(f"\nfirst answer after {statistics.median(seconds):.2f} s (median of {options.rounds}, "
          f"{min(seconds):.2f} to {max(seconds):.2f}); {timed:.2f} s under the import timer\n")  # fmt: skip
    costs = _packages(log)
    print("| package | ms |\n|---|---|")
    for package, microseconds in costs.most_common(_SHOWN):
        print(f"| {package} | {microseconds / 1000:.0f} |")
    print(f"| all {len(costs)} | {sum(costs.values()) / 1000:.0f} |")
    print(f"\nnot imported: {', '.join(name for name in _UNWANTED if name not in costs)}")


def _first_answer(product: Product, *, timed: bool) -> tuple[float, str]:
    """Seconds from the start of the process, and what it printed."""
    values = read_settings(product.services.settings)["Values"]
    environment = {**os.environ, **values, **({"PYTHONPROFILEIMPORTTIME": "1"} if timed else {})}
    state, where = product.services.state, urlsplit(product.url)
    arguments = ["--root", str(product.services.root), "--state", str(state / "host"), "--port", str(where.port)]
    body = product.bodies.read_text().partition("\n")[0].replace("@ID@", f"cold-{uuid.uuid4().hex}")
    headers = {**product.headers, "content-type": "application/json"}
    path = state / "logs" / "cold_start.log"
    with path.open("w") as log:
        began = time.perf_counter()
        command = [sys.executable, "-m", "devhost.host", *arguments]
        process = subprocess.Popen(command, cwd=product.services.root, env=environment, stdout=log, stderr=log)
        try:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    reply = httpx.post(product.url, content=body, headers=headers, timeout=30, trust_env=False)
                    reply.raise_for_status()
                    return time.perf_counter() - began, path.read_text()
                if process.poll() is not None:
                    raise RuntimeError(f"the host ended; see {path}")
                time.sleep(0.01)
        finally:
            process.terminate()
            process.wait(15)


def _packages(log: str) -> "Counter[str]":
    """Microseconds by package; the standard library is one."""
    costs: Counter[str] = Counter()
    for microseconds, module in _LINE.findall(log):
        package = module.partition(".")[0]
        costs["(standard library)" if package in sys.stdlib_module_names else package] += int(microseconds)
    return costs


if __name__ == "__main__":
    main()
