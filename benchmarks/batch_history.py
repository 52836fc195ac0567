"""History features over a file: this plan's batch executor against the same features in straightforward pandas.

    python -m benchmarks.batch_history [--rows 1000000] [--only plan]

Random transactions of 100,000 users on 50,000 devices at 2,000 merchants over 90 days; the history features are those
of the default plan for these columns. Each side runs in a process of its own, reads the same Parquet file and gives
float32 columns. Seconds, CPU seconds (which other work on the machine hardly changes) and peak memory (beyond an
interpreter that has imported its libraries) are printed as Markdown, and how far the results are from each other: they
differ where a merchant has more events in the window than the newest 1000 that the plan looks at.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from shared.datasets.model import Column, DatasetSchema
from shared.features.config import FeatureConfig, HistoryFeature
from shared.features.inference import infer_config
from shared.features.plan import FeaturePlan

_USERS, _DEVICES, _MERCHANTS = 100_000, 50_000, 2_000
_COLUMNS = {
    "transaction_id": "integer",
    "transaction_time": "datetime",
    "user_id": "integer",
    "device_id": "integer",
    "merchant_id": "integer",
    "amount": "float",
    "is_fraud": "integer",
}


def generate(rows: int, target: Path) -> None:
    """Random transactions in order of time; seconds from a seed."""
    random = np.random.default_rng(7)
    seconds = np.sort(random.integers(0, 90 * 86_400 * 1_000_000, rows))
    pl.DataFrame(
        {
            "transaction_id": np.arange(rows),
            "transaction_time": pl.Series(seconds + 1_700_000_000_000_000).cast(pl.Datetime("us")),
            "user_id": random.integers(0, _USERS, rows),
            "device_id": random.integers(0, _DEVICES, rows),
            "merchant_id": (_MERCHANTS * random.random(rows) ** 2).astype(np.int64),
            "amount": np.round(random.lognormal(3, 1, rows), 2),
            "is_fraud": (random.random(rows) < 0.01).astype(np.int8),
        }
    ).write_parquet(target)


def configuration() -> FeatureConfig:
    """The default plan's history features for these columns."""
    columns = [Column.model_validate({"name": n, "type": t, "nullable": False}) for n, t in _COLUMNS.items()]
    return infer_config(DatasetSchema(columns=columns), FeatureConfig(groups=("behavioural",)))


def run_plan(source: Path, target: Path) -> float:
    """Seconds of the batch executor, from file to file."""
    from shared.features.batch import fit_plan
    from shared.features.tables import write_feature_table

    plan: FeaturePlan = fit_plan(pl.scan_parquet(source).head(100_000), configuration())
    started = time.perf_counter()
    write_feature_table(plan, source, target)
    return time.perf_counter() - started


def run_pandas(source: Path, target: Path) -> float:
    """Seconds of groupby-rolling, from file to file."""
    import pandas as pd  # type: ignore[import-untyped]

    history = configuration().history or ()
    started = time.perf_counter()
    frame = pd.read_parquet(source)
    columns = {str(position): _in_pandas(frame, feature) for position, feature in enumerate(history)}
    pd.DataFrame(columns).to_parquet(target)
    return time.perf_counter() - started


def _in_pandas(frame: Any, feature: HistoryFeature) -> Any:  # noqa: C901  one case a function
    """One feature as most people would write it; rows are in order of time."""
    entity, value = list(feature.entity), feature.column or "amount"
    timed = frame.set_index("transaction_time")

    def rolled(function: str, window: str) -> np.ndarray[Any, Any]:
        grouped = timed.groupby(entity, sort=False)[value].rolling(window.replace("m", "min"), closed="left")
        if function == "nunique":
            result = grouped.apply(lambda values: len(set(values)), raw=True)
        else:
            result = grouped.std(ddof=0) if function == "std" else getattr(grouped, function)()
        # Grouped results come group by group; the groups' positions say where each row belongs.
        positions = np.concatenate(list(frame.groupby(entity, sort=False).indices.values()))
        found = np.empty(len(frame))
        found[positions] = result.to_numpy()
        return found

    window, current = feature.window, frame[value].to_numpy() if feature.column else None
    match feature.function:
        case "count" | "sum":
            found = np.nan_to_num(rolled(feature.function, window))
        case "mean" | "std" | "min" | "max":
            found = rolled(feature.function, window)
        case "ratio_to_mean":
            found = current / rolled("mean", window)
        case "deviation":
            std = rolled("std", window)
            found = np.where(std > 0, (current - rolled("mean", window)) / std, np.nan)
        case "distinct":
            found = np.nan_to_num(rolled("nunique", window))
        case "first_time":
            found = (np.nan_to_num(rolled("count", window)) == 0).astype(float)
        case "time_since_last":
            gap = frame.groupby(entity)["transaction_time"].diff().dt.total_seconds()
            found = gap.where(gap <= int(window[:-1]) * 86_400).to_numpy()
        case "acceleration":
            assert feature.baseline is not None
            days = int(feature.baseline[:-1]) * 24 / int(window[:-1])
            found = np.nan_to_num(rolled("count", window)) / rolled("count", feature.baseline) * days
        case _:
            raise NotImplementedError(feature.function)
    return found.astype(np.float32)


def _measured(side: str, source: Path, target: Path) -> dict[str, float]:
    """Run one side in a process of its own. Linux counts its parent's peak as its own: the parent must stay small."""
    command = [sys.executable, "-m", "benchmarks.batch_history", "--side", side, str(source), str(target)]
    answer: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def _side(side: str, source: Path, target: Path) -> None:
    if side == "pandas":
        import pandas  # noqa: F401  its import is not part of the measurement
    else:
        import shared.features.history.batch_history  # noqa: F401
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu = time.process_time()
    seconds = {"plan": run_plan, "pandas": run_pandas}[side](source, target)
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": seconds, "cpu": cpu, "megabytes": peak / 1024}))


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("plan", "pandas"))
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        _side(options.side[0], Path(options.side[1]), Path(options.side[2]))
        return
    history = configuration().history or ()
    with tempfile.TemporaryDirectory(prefix="batch-history-") as folder:
        source = Path(folder, "source.parquet")
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            other.submit(generate, options.rows, source).result()
        print(f"{options.rows:,} rows, {len(history)} history features\n")
        print("| side | seconds | CPU seconds | peak memory, MB |\n|---|---|---|---|")
        found: dict[str, dict[str, float]] = {}
        for side in [options.only] if options.only else ["plan", "pandas"]:
            found[side] = _measured(side, source, Path(folder, side))
            print("| {} | {seconds:.1f} | {cpu:.1f} | {megabytes:.0f} |".format(side, **found[side]), flush=True)
        if len(found) == 2:
            ratios = {key: found["pandas"][key] / value for key, value in found["plan"].items()}
            print("| pandas / plan | {seconds:.1f} | {cpu:.1f} | {megabytes:.1f} |\n".format(**ratios))
            _print_differences(Path(folder, "plan"), Path(folder, "pandas"), history)


def _print_differences(plan: Path, pandas: Path, history: tuple[HistoryFeature, ...]) -> None:
    ours, theirs = pl.read_parquet(plan), pl.read_parquet(pandas)
    worst = 0
    for position, feature in enumerate(history):
        a, b = ours[:, position].to_numpy(), theirs[:, position].to_numpy()
        differing = int((~np.isclose(a, b, rtol=1e-3, atol=1e-3, equal_nan=True)).sum())
        worst = max(worst, differing)
        if differing:
            print(f"{feature.function} {feature.column or ''} of {'+'.join(feature.entity)} {feature.window}: "
                  f"{differing} of {len(a)} rows differ by more than 0.1 %")  # fmt: skip
    print(f"features compared: {len(history)}; most rows that differ in one: {worst}")


if __name__ == "__main__":
    main()
