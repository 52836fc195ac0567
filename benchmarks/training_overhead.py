"""What slices cost over one uninterrupted ``xgboost.train`` on the same matrix.

    python -m benchmarks.training_overhead [--rows 1000000] [--features 30] [--rounds 200] [--slice-seconds 20]

Both ways grow the same number of trees from the same quantised matrix, without early stopping. "bare" evaluates
nothing; "plain" evaluates the validation part each round, as early stopping needs. "sliced" is the product's own
loop with its curves and checkpoints; "new worker" also throws matrix and booster away after each slice, as if every
slice ran elsewhere. Memory is that of a fresh process, over what it held before it read the first row.
"""

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms import parse
from shared.training.algorithms.imbalance import fraud_weight
from shared.training.algorithms.xgboost import XGBoost, booster_parameters
from shared.training.progress import TrainingProgress
from shared.training.slices import SliceLimits, run_slice
from shared.training.split import temporal_split
from shared.training.training_set import FeatureTable, TrainingSet

THREADS = 2


def synthetic(rows: int, features: int, folder: Path) -> TrainingSet:
    """A table with 1 % fraud, half of the columns skewed, mapped from disk as in the product."""
    rng = np.random.default_rng(0)
    mapped = np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float32, shape=(rows, features))
    risk = np.empty(rows, dtype=np.float32)
    for start in range(0, rows, 100_000):
        x = rng.normal(size=(min(100_000, rows - start), features)).astype(np.float32)
        noise = rng.normal(scale=0.5, size=len(x))
        risk[start : start + len(x)] = x[:, 0] + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) + noise
        x[:, features // 2 :] = np.exp(x[:, features // 2 :])
        mapped[start : start + len(x)] = x
    mapped.flush()
    np.save(folder / "labels.npy", (risk > np.quantile(risk, 0.99)).astype(np.int8))
    return opened(folder)


def opened(folder: Path) -> TrainingSet:
    """The table of :func:`synthetic`, as any process maps it."""
    values, labels = np.load(folder / "features.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    names = tuple(f"f{i}" for i in range(values.shape[1]))
    table = FeatureTable(values, labels, np.arange(len(labels)), names)
    return TrainingSet(table, temporal_split(labels, table.times, 0.8))


def main() -> None:
    """Run the ways in turn, repeatedly, and print the best CPU time of each, which other processes disturb least."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--slice-seconds", type=float, default=20.0)
    options = parser.parse_args()
    xgb = load_xgboost()
    entry = XGBoost()
    given = {"n_estimators": options.rounds, "early_stopping_rounds": None}
    hyperparameters: Any = parse("xgboost", given)
    with tempfile.TemporaryDirectory() as folder:
        data = synthetic(options.rows, options.features, Path(folder))
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            added, held = fresh.apply(added_memory, (Path(folder), hyperparameters))
        table = options.rows * options.features * 4 / 2**20
        print(f"peak memory: +{added:.0f} MB over {held:.0f} MB of interpreter and libraries,")
        print(f"  {added / table:.2f} times the float32 matrix of {table:.0f} MB, whose mapped pages are counted")
        started = time.perf_counter()
        matrices = entry.prepare(data, hyperparameters, THREADS)
        print(f"quantised matrix: {time.perf_counter() - started:.1f} s")
        weight = fraud_weight("sqrt", data.labels(data.split.fit))
        parameters = booster_parameters(hyperparameters, weight, THREADS)

        def plain(evals: list[tuple[Any, str]]) -> bytes:
            booster = xgb.train(parameters, matrices.fit, options.rounds, evals=evals, verbose_eval=False)
            return bytes(booster.save_raw("ubj"))

        def sliced(*, new_worker: bool) -> bytes:
            progress = TrainingProgress(total_rounds=options.rounds, patience=None, threads=THREADS)
            trainer = entry.start(data, matrices, hyperparameters, THREADS, None)
            checkpoint = b""
            while not progress.finished:
                limits = SliceLimits(options.slice_seconds)
                checkpoint = run_slice(trainer, progress, limits, threading.Event(), lambda _: None)
                if new_worker and not progress.finished:
                    anew = entry.prepare(data, hyperparameters, THREADS)
                    trainer = entry.start(data, anew, hyperparameters, THREADS, checkpoint)
            print(f"  ({progress.slices} slices)", file=sys.stderr)
            return entry.finish(data, hyperparameters, progress, checkpoint)

        ways: dict[str, Callable[[], bytes]] = {
            "bare": lambda: plain([]),
            "plain": lambda: plain([(matrices.validation, "validation")]),
            "sliced": lambda: sliced(new_worker=False),
            "sliced, new worker each": lambda: sliced(new_worker=True),
        }
        best: dict[str, tuple[float, float]] = {}
        models: dict[str, bytes] = {}
        for _ in range(options.repeats):
            for name, run in ways.items():
                started, cpu_started = time.perf_counter(), time.process_time()
                models[name] = run()
                taken = time.process_time() - cpu_started, time.perf_counter() - started
                best[name] = min(taken, best.get(name, taken))
                print(f"  {name}: {taken[1]:.1f} s, {taken[0]:.1f} s of CPU", file=sys.stderr)
        print("| way | seconds | CPU seconds | CPU over bare | CPU over plain |\n|---|---|---|---|---|")
        for name, (cpu, seconds) in best.items():
            over_bare, over_plain = cpu / best["bare"][0] - 1, cpu / best["plain"][0] - 1
            print(f"| {name} | {seconds:.1f} | {cpu:.1f} | {over_bare:+.1%} | {over_plain:+.1%} |")
        print(f"sliced models identical: {models['sliced'] == models['sliced, new worker each']}")


def added_memory(folder: Path, hyperparameters: Any) -> tuple[float, float]:
    """Megabytes that a whole run of slices adds at its peak, and what the process held before; for a fresh process."""
    load_xgboost()
    entry, data, held = XGBoost(), opened(folder), _memory_mb("VmRSS")
    progress = TrainingProgress(total_rounds=hyperparameters.n_estimators, patience=None, threads=THREADS)
    matrices = entry.prepare(data, hyperparameters, THREADS)
    trainer = entry.start(data, matrices, hyperparameters, THREADS, None)
    while not progress.finished:
        checkpoint = run_slice(trainer, progress, SliceLimits(), threading.Event(), lambda _: None)
    entry.finish(data, hyperparameters, progress, checkpoint)
    return _memory_mb("VmHWM") - held, held


def _memory_mb(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
