"""Features on one scale, for sums: standardised, missing values at the mean, outliers clipped."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from shared.training.algorithms.arrays import AllowList, Arrays
from shared.training.algorithms.base import Features

SCALING: Final[AllowList] = {"mean": ("<f8", 1), "scale": ("<f8", 1)}
BLOCK_ROWS: Final = 16_384  # rows that are held in float64 at a time
_FURTHEST: Final = 10.0


class Scaling(NamedTuple):
    """Mean and standard deviation of each feature, float64, shape (f,)."""

    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]

    @classmethod
    def fitted(cls, blocks: Iterable[Features]) -> Self:
        """From the known values; a constant feature has scale 1. Every feature has a value somewhere.

        Counts, means and squared deviations of blocks are merged as in Chan, Golub, LeVeque 1983.
        """
        count, mean, squares = np.zeros(1), np.zeros(1), np.zeros(1)
        for block in blocks:
            values = block.astype(np.float64)
            known = ~np.isnan(values)
            rows = known.sum(axis=0)
            center = np.where(known, values, 0).sum(axis=0) / np.maximum(rows, 1)
            spread = (np.where(known, values - center, 0) ** 2).sum(axis=0)
            total = np.maximum(count + rows, 1)
            shift = center - mean
            squares = squares + spread + shift**2 * count * rows / total
            mean = mean + shift * rows / total
            count = count + rows
        deviation = np.sqrt(squares / np.maximum(count, 1))
        # What is left of a constant after rounding is no deviation.
        return cls(mean, np.where(deviation > 1e-7 * np.abs(mean), deviation, 1.0))

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """From a model file. :raises ValueError: shapes differ, or a scale is not positive."""
        mean, scale = arrays["mean"], arrays["scale"]
        if mean.shape != scale.shape or not len(mean) or not (scale > 0).all():
            raise ValueError("mean and scale do not fit")
        return cls(mean, scale)

    def apply(self, features: Features) -> npt.NDArray[np.float64]:
        """Standard deviations from the mean, at most ten, 0 where missing; shape (n, f)."""
        standardised = (features.astype(np.float64) - self.mean) / self.scale
        standardised[np.isnan(standardised)] = 0.0
        return np.clip(standardised, -_FURTHEST, _FURTHEST, out=standardised)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Matrix products of this process in one thread: their sums are then the same on every worker, and blocks of this
    size gain nothing from more.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
