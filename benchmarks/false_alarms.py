"""How often drift is cried without any, and how often small drifts are found.

    python -m benchmarks.false_alarms [--windows 1000]

Windows of 200, 1,000 and 10,000 rows by 30 columns (25 of numbers, 5 of categories) and a score are drawn from the
distribution of the reference (100,000 rows); a window counts as a false alarm when any column or the whole is not OK.
Then one feature is shifted by 0.2 standard deviations, or the share of one category of 20 is doubled.
"""

import argparse

import numpy as np

from benchmarks.drift_data import CATEGORIES, LEVELS, NUMBERS, categories, count, numbers, profile_of
from shared.monitoring.drift import WindowDrift, window_drift
from shared.monitoring.level import Level
from shared.monitoring.profile import ReferenceProfile
from shared.monitoring.rollup import RollupLayout

_REFERENCE = 100_000
_SHIFTED = 1  # a normal column


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=1000)
    windows = parser.parse_args().windows
    rng = np.random.default_rng(7)
    matrix, codes = numbers(rng, _REFERENCE), categories(rng, _REFERENCE)
    scores = rng.beta(0.5, 20, _REFERENCE).astype(np.float32)
    profile = profile_of(matrix, codes, scores)
    reference = count(profile, matrix, codes, scores)
    print(f"{'rows':>8} {'windows':>8} {'alarms':>8} {'share':>7}  (at most 5 %)")
    for rows in (200, 1_000, 10_000):
        alarms = 0
        for _ in range(windows):
            found = _window(profile, reference, rng, rows)
            alarms += any(column.level is not Level.OK for column in found.columns) or found.level is not Level.OK
        print(f"{rows:>8,} {windows:>8,} {alarms:>8} {alarms / windows:>7.1%}")
    print(f"\n{'drift at 10,000 rows':<36} {'found':>7}  (at least 95 %)")
    tries = max(windows // 5, 1)
    shifted = sum(
        _drifted(_window(profile, reference, rng, 10_000, shift=0.2), f"number_{_SHIFTED}") for _ in range(tries)
    )
    print(f"{'one feature by 0.2 sd':<36} {shifted / tries:>7.1%}")
    doubled = sum(
        _drifted(_window(profile, reference, rng, 10_000, doubled=True), f"category_{CATEGORIES - 1}")
        for _ in range(tries)
    )
    print(f"{'one category from 5 % to 10 %':<36} {doubled / tries:>7.1%}")


def _window(
    profile: ReferenceProfile,
    reference: "np.typing.NDArray[np.int64]",
    rng: np.random.Generator,
    rows: int,
    *,
    shift: float = 0.0,
    doubled: bool = False,
) -> WindowDrift:
    shares = np.full(LEVELS, 1 / LEVELS)
    if doubled:
        shares[3] = 0.1
        shares[np.arange(LEVELS) != 3] = 0.9 / (LEVELS - 1)
    matrix = numbers(rng, rows)
    matrix[:, _SHIFTED] += shift
    scores = rng.beta(0.5, 20, rows).astype(np.float32)
    current = count(profile, matrix, categories(rng, rows, shares), scores)
    return window_drift(profile, RollupLayout.of(profile), reference, current)


def _drifted(window: WindowDrift, name: str) -> bool:
    return any(column.name == name and column.level is not Level.OK for column in window.columns)


if __name__ == "__main__":
    assert NUMBERS + CATEGORIES == 30
    main()
