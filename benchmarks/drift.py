"""Drift of a million rows: in memory beside Evidently and NannyML, and from the database.

    python -m benchmarks.drift [--rows 1000000]      # makes the rivals' environments in .local/drift-rivals
    python -m benchmarks.drift --database [--rows 1000000]

In memory: 25 columns of numbers (heavy tails, ties, missing values) and 5 of categories with 20 values each, against a
reference of 100,000 rows. Every side reads the same Parquet files before its clock starts, runs in its own process,
and knows the reference as far as it can know it beforehand. Ours computes PSI, KS, chi-square, Jensen-Shannon,
Wasserstein, missing and unseen rates, and the decision.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.drift_data import CATEGORIES, NAMES, NUMBERS, categories, count, numbers, profile_of
from benchmarks.rivals.measured import report
from shared.monitoring.categories import CategoryProfile
from shared.monitoring.codes import MISSING_CODE, UNSEEN_CODE
from shared.monitoring.drift import window_drift
from shared.monitoring.profile import FeatureProfile, ReferenceProfile
from shared.monitoring.rollup import RollupLayout

_REFERENCE_ROWS = 100_000
_AT_ONCE = 16_384
_COMPARED = {"seconds": 0.0, "processor": 0.0, "megabytes": 1.0}  # and the least that counts of ours
_ENVIRONMENTS = Path(__file__).parents[1] / ".local" / "drift-rivals"
_RIVALS = {
    "evidently": ["evidently>=0.7,<0.8", "pandas<3", "pyarrow"],
    "nannyml": ["nannyml>=0.13,<0.14", "pandas<3", "pyarrow", "statsmodels"],
}
_RUNS = (("nannyml", "default"), ("nannyml", "all"), ("evidently", "psi"), ("evidently", "default"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", action="store_true")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        _measure_ours(arguments.ours)
    elif arguments.database:
        from benchmarks.drift_database import measure

        asyncio.run(measure(arguments.rows))
    else:
        _compare(arguments.rows)


def _compare(rows: int) -> None:
    interpreters = {name: _interpreter(name) for name in _RIVALS}
    with tempfile.TemporaryDirectory(prefix="drift-") as made:
        folder = Path(made)
        _write_data(folder, rows)
        ours = _run([sys.executable, "-m", "benchmarks.drift", "--ours", str(folder)])
        head = f"{'drift of ' + format(rows, ',') + ' x 30':<28} {'s':>8} {'processor s':>12} {'MB':>8}"
        print(f"{head} {'slower':>8} {'processor':>10} {'memory':>8}")
        print(f"{'ours':<28} {ours['seconds']:>8.3f} {ours['processor']:>12.3f} {ours['megabytes']:>8.1f}")
        for name, method in _RUNS:
            script = Path(__file__).parent / "rivals" / f"drift_{name}.py"
            found = _run([str(interpreters[name]), str(script), str(folder), method])
            told = f"{f'{name} {method}':<28} {found['seconds']:>8.2f} {found['processor']:>12.2f}"
            times = [found[key] / max(ours[key], least) for key, least in _COMPARED.items()]
            print(
                f"{told} {found['megabytes']:>8.0f} {times[0]:>7.0f}x {times[1]:>9.0f}x {times[2]:>7.0f}x", flush=True
            )


def _write_data(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(1)
    for name, size in (("reference", _REFERENCE_ROWS), ("current", rows)):
        matrix, codes = numbers(rng, size), categories(rng, size)
        scores = rng.beta(0.5, 20, size).astype(np.float32)
        columns = {column: pl.Series(matrix[:, n]) for n, column in enumerate(NAMES[:NUMBERS])}
        words = [f"{code:02}" for code in range(256)]
        columns |= {
            column: pl.Series(codes[:, n]).replace_strict(range(256), words, return_dtype=pl.String)
            for n, column in enumerate(NAMES[NUMBERS:])
        }
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
        np.save(folder / f"{name}-scores.npy", scores)
        if name == "reference":
            profile = profile_of(matrix, codes, scores)
            (folder / "profile.json").write_bytes(profile.to_json())
            np.save(folder / "counts.npy", count(profile, matrix, codes, scores))


def _measure_ours(folder: Path) -> None:
    import scipy.special  # noqa: F401  # the rivals have imported theirs, too

    profile = ReferenceProfile.from_json((folder / "profile.json").read_bytes())
    reference = np.load(folder / "counts.npy")
    frame = pl.read_parquet(folder / "current.parquet").rechunk()
    scores = np.load(folder / "current-scores.npy")
    layout = RollupLayout.of(profile)
    assert len(profile.categories) == CATEGORIES

    def work() -> None:
        counts = np.zeros(layout.length, np.int64)
        _count(profile, layout, frame, scores, counts)
        window_drift(profile, layout, reference, counts)

    report(work)


def _count(
    profile: ReferenceProfile,
    layout: RollupLayout,
    frame: pl.DataFrame,
    scores: "np.typing.NDArray[np.float32]",
    counts: "np.typing.NDArray[np.int64]",
) -> None:
    """Count the rows of a frame, column by column in two threads."""
    assert profile.scores is not None
    numbers_of = [*((n, each, frame[each.name].to_numpy()) for n, each in enumerate(profile.features))]
    numbers_of.append((len(layout.sizes) - 1, profile.scores, scores))

    def of_numbers(position: int, feature: FeatureProfile, values: "np.typing.NDArray[np.float32]") -> None:
        cells, missing = feature.count(feature.encode(values))
        layout.column(counts, position)[:] = [*cells, 0, missing]

    def of_category(position: int, profile: CategoryProfile) -> None:
        column, size = layout.column(counts, position), layout.sizes[position]
        for start in range(0, len(frame), _AT_ONCE):
            found = frame[profile.name].slice(start, _AT_ONCE).value_counts()
            for value, rows in zip(found[profile.name].to_list(), found["count"].to_list(), strict=True):
                code = MISSING_CODE if value is None else profile.codes.get(value, UNSEEN_CODE)
                column[size - 1 if code == MISSING_CODE else size - 2 if code == UNSEEN_CODE else code] += rows

    with ThreadPoolExecutor(2) as threads:
        work = [threads.submit(of_numbers, *each) for each in numbers_of]
        work += [
            threads.submit(of_category, n, each) for n, each in enumerate(profile.categories, len(profile.features))
        ]
        for each in work:
            each.result()


def _run(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _interpreter(name: str) -> Path:
    """The Python of a rival's environment, made when it is missing or of other requirements."""
    folder, wanted = _ENVIRONMENTS / name, _RIVALS[name]
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(wanted):
        print(f"Making the environment of {name}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
        stamp.write_text(" ".join(wanted))
    return python


if __name__ == "__main__":
    main()
