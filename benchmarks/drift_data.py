"""Columns like those of transactions, for the drift benchmarks: 25 of numbers, 5 of categories with 20 values each."""

import numpy as np
from numpy.typing import NDArray

from shared.monitoring.categories import profile_category
from shared.monitoring.profile import ReferenceProfile, build_profile, profile_scores
from shared.monitoring.rollup import RollupLayout

NUMBERS, CATEGORIES, LEVELS = 25, 5, 20
NAMES = tuple(f"number_{i}" for i in range(NUMBERS)) + tuple(f"category_{i}" for i in range(CATEGORIES))
_SHARES = np.full(LEVELS, 0.05)


def numbers(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    """Heavy tails, ties, spikes and missing values: shape (rows, 25)."""
    made = np.empty((rows, NUMBERS), dtype=np.float32)
    for column in range(NUMBERS):
        match column % 5:
            case 0:
                made[:, column] = rng.lognormal(3, 1, rows)
            case 1:
                made[:, column] = rng.normal(0, 1, rows)
            case 2:
                made[:, column] = rng.integers(0, 50, rows)
            case 3:
                made[:, column] = np.where(rng.random(rows) < 0.4, 0.0, rng.gamma(2, 30, rows))
            case _:
                made[:, column] = rng.random(rows)
        if column % 3 == 0:
            made[rng.random(rows) < 0.05, column] = np.nan
    return made


def categories(rng: np.random.Generator, rows: int, shares: NDArray[np.float64] = _SHARES) -> NDArray[np.uint8]:
    """Codes of categories, the last of them with ``shares``: shape (rows, 5)."""
    made = rng.integers(0, LEVELS, (rows, CATEGORIES)).astype(np.uint8)
    made[:, -1] = rng.choice(LEVELS, rows, p=shares)
    return made


def profile_of(matrix: NDArray[np.float32], codes: NDArray[np.uint8], scores: NDArray[np.float32]) -> ReferenceProfile:
    """The profile of a reference; category ``k`` is called by two digits, so that codes are positions."""
    profile = build_profile(dict(zip(NAMES, matrix.T, strict=False)))
    known = []
    for name, column in zip(NAMES[NUMBERS:], codes.T, strict=True):
        counts = np.bincount(column, minlength=LEVELS)
        made = profile_category(name, {f"{code:02}": int(n) for code, n in enumerate(counts)}, 0)
        assert made is not None
        order = tuple(f"{code:02}" for code in range(LEVELS))
        known.append(made.model_copy(update={"values": order, "counts": (*counts.tolist(), 0)}))
    return profile.model_copy(update={"categories": tuple(known), "scores": profile_scores(scores, 0.5)})


def count(
    profile: ReferenceProfile, matrix: NDArray[np.float32], codes: NDArray[np.uint8], scores: NDArray[np.float32]
) -> NDArray[np.int64]:
    """A window's counts."""
    assert profile.scores is not None
    cells = np.hstack([profile.encode(matrix), codes, profile.scores.encode(scores)[:, None]])
    return RollupLayout.of(profile).count(cells)
