"""What registering a file costs, step by step, without HTTP and Blob.

    python -m benchmarks.dataset_ingest orders.csv orders.parquet

Steps of a CSV file: is it text, the shape of its rows, reading and writing as Parquet; of every file: statistics,
observations and report.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import polars as pl

from shared.datasets.csv_reading import open_csv
from shared.datasets.encodings import to_utf_8
from shared.datasets.ingest import read_dataset, write_canonical
from shared.datasets.model import DatasetLimits
from shared.platform.clock import utc_now

LIMITS = DatasetLimits(body_bytes=2**40, direct_bytes=2**40, rows=10**9, columns=10**4)


def measure(source: Path, folder: Path) -> None:
    """One row of the table for each step."""
    canonical = folder / "data.parquet"
    laps: list[tuple[str, float]] = []
    if source.suffix == ".csv":
        begun = time.perf_counter()
        text, _ = to_utf_8(source, folder / "text", None)
        laps.append(("is it text", time.perf_counter() - begun))
        begun = time.perf_counter()
        open_csv(text, None, LIMITS)
        laps.append(("shape of its rows", time.perf_counter() - begun))
    begun = time.perf_counter()
    rows = write_canonical(source, canonical, LIMITS).rows
    laps.append(("checked and written as Parquet", time.perf_counter() - begun))
    begun = time.perf_counter()
    profile = read_dataset(source, canonical, LIMITS, utc_now())
    whole = time.perf_counter() - begun
    laps.append(("statistics and quality", whole - laps[-1][1]))
    laps.append(("whole", whole))
    columns = len(profile.schema.columns)
    for name, seconds in laps:
        size = f"{source.stat().st_size / 1e6:,.0f}"
        print(f"| {source.name} | {size} | {rows:,} x {columns} | {name} | {seconds:.2f} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    pl.DataFrame({"x": ["1"]}).lazy().collect(engine="streaming")  # Polars is loaded
    print("| file | MB | rows x columns | step | s |\n|---|---:|---:|---|---:|")
    with tempfile.TemporaryDirectory(prefix="dataset-ingest-") as folder:
        for source in parser.parse_args().files:
            measure(source, Path(folder))
    print(f"\nmost memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
