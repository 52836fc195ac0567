"""How computing a feature table grows with its rows: seconds, and the peak memory of each step.

    python -m benchmarks.batch_growth [--rows 100000 1000000 5000000]

The data and the plan (40 history features) are those of ``benchmarks.batch_history``. Every size goes through in one
piece and in parts, as the activities of ``engineer_features`` do it but one after the other; each step runs in a
process of its own, so that its peak memory (beyond an interpreter that has imported its libraries) is its own. Growth
is the CPU time, which other work on the machine hardly changes, relative to that of the first size and divided by the
ratio of n log n: 1 or less is what is promised. The two tables are compared bit by bit.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.batch_history import configuration, generate
from shared.features.batch import fit_plan
from shared.features.partitions import DatasetCutter, join_ranges, write_history, write_range
from shared.features.plan import FeaturePlan
from shared.features.tables import write_feature_table
from shared.features.transform_stages import ROWS_AT_ONCE


@dataclass(frozen=True)
class Cost:
    """Seconds of all processes together, by the clock and of all cores, and the largest peak of one, in MB."""

    seconds: float
    cpu: float
    megabytes: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.cpu + other.cpu, max(self.megabytes, other.megabytes))


class Work:
    """The files of one size. A step is a method's name and whole numbers, run in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source.parquet"

    def plan(self) -> FeaturePlan:
        return FeaturePlan.from_json((self.folder / "plan.json").read_bytes())

    def make(self, rows: int) -> None:
        generate(rows, self.source)
        plan = fit_plan(pl.scan_parquet(self.source).head(100_000), configuration())
        (self.folder / "plan.json").write_bytes(plan.to_json())

    def whole(self) -> None:
        write_feature_table(self.plan(), self.source, self.folder / "whole.parquet")

    def cut(self) -> None:
        cutter = DatasetCutter(self.plan(), self.source, ROWS_AT_ONCE // 2)
        cutter.cut_ranges(self.folder / "ranges")
        for entity in range(cutter.entities):
            cutter.cut_buckets(entity, self.folder / f"buckets-{entity}")

    def history(self, entity: int, bucket: int) -> None:
        target = self.folder / f"history-{entity}-{bucket}"
        target.mkdir()
        events = self.folder / f"buckets-{entity}/{bucket}.parquet"
        for _ in write_history(self.plan(), entity, events, self.numbers("ranges"), target):
            pass

    def range(self, number: int) -> None:
        target = self.folder / f"range-{number}"
        target.mkdir()
        entities = range(len(list(self.folder.glob("buckets-*"))))
        histories = {e: list(self.folder.glob(f"history-{e}-*/history-{number}.parquet")) for e in entities}
        write_range(self.plan(), self.folder / f"ranges/{number}.parquet", histories, target / "features.parquet")

    def join(self) -> None:
        parts = [self.folder / f"range-{number}/features.parquet" for number in self.numbers("ranges")]
        join_ranges(parts, self.folder / "joined.parquet")

    def compare(self) -> None:
        """Write down in how many rows a bit of a feature differs."""
        differing = 0
        for name in self.plan().feature_names:
            whole, joined = (
                pl.read_parquet(self.folder / file, columns=[name])[name].to_numpy().view(np.uint32)
                for file in ("whole.parquet", "joined.parquet")
            )
            differing = max(differing, int((whole != joined).sum()))
        (self.folder / "differing").write_text(str(differing))

    def numbers(self, kind: str) -> list[int]:
        """The numbers of the files of one kind."""
        return sorted(int(file.stem) for file in (self.folder / kind).iterdir())

    def measured(self, step: str, *numbers: int) -> Cost:
        """Run a step in a new process. Linux counts its parent's peak as its own: the parent must stay small."""
        command = [
            sys.executable,
            "-m",
            "benchmarks.batch_growth",
            "--step",
            str(self.folder),
            step,
            *map(str, numbers),
        ]
        return Cost(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))

    def in_parts(self) -> dict[str, Cost]:
        """Every step of the way in parts, the steps of one kind together."""
        costs = {"cut": self.measured("cut")}
        for entity in range(len(list(self.folder.glob("buckets-*")))):
            for bucket in self.numbers(f"buckets-{entity}"):
                cost = self.measured("history", entity, bucket)
                costs["history"] = costs["history"] + cost if "history" in costs else cost
        for number in self.numbers("ranges"):
            cost = self.measured("range", number)
            costs["range"] = costs["range"] + cost if "range" in costs else cost
        costs["join"] = self.measured("join")
        return costs


def _step(folder: str, step: str, *numbers: str) -> None:
    import shared.features.history.batch_history  # noqa: F401  its import is not part of the measurement

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    getattr(Work(Path(folder)), step)(*map(int, numbers))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": seconds, "cpu": cpu, "megabytes": peak / 1024}))


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        _step(*options.step)
        return
    print("| rows | way | seconds | CPU seconds | growth | peak memory, MB |\n|---|---|---|---|---|---|")
    first: dict[str, float] = {}
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="batch-growth-") as folder:
            work = Work(Path(folder))
            work.measured("make", rows)
            steps = work.in_parts()
            cut, *others = steps.values()
            for way, cost in (("whole", work.measured("whole")), ("in parts", sum(others, cut))):
                unit = cost.cpu / (rows * math.log(rows))
                growth = unit / first.setdefault(way, unit)
                figures = f"{cost.seconds:.1f} | {cost.cpu:.1f} | {growth:.2f} | {cost.megabytes:.0f}"
                print(f"| {rows:,} | {way} | {figures} |", flush=True)
            told = ", ".join(f"{step} {cost.cpu:.1f} s {cost.megabytes:.0f} MB" for step, cost in steps.items())
            work.measured("compare")
            differing = (work.folder / "differing").read_text()
            print(f"| | | {told}; rows that differ: {differing} | | | |", flush=True)


if __name__ == "__main__":
    main()
