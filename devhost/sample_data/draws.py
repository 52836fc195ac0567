"""Random draws made from uniform numbers alone.

NumPy promises the bit stream of PCG64 but not that of its distributions; everything here is a transform of
``Generator.random``, so that a seed means the same data set under every NumPy version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Draws:
    """One stream of random numbers, named by a seed and a purpose; streams do not disturb one another."""

    def __init__(self, seed: int, purpose: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, purpose])))

    def uniform(self, size: int, low: float = 0.0, high: float = 1.0) -> Floats:
        """Uniform on [low, high), shape (size,)."""
        return np.asarray(low + (high - low) * self._generator.random(size))

    def chance(self, size: int, probability: ArrayLike) -> NDArray[np.bool_]:
        """True with the given probability (a scalar or shape (size,))."""
        return np.asarray(self._generator.random(size) < np.asarray(probability))

    def below(self, size: int, bound: ArrayLike) -> Ints:
        """Whole numbers from 0 to bound - 1, shape (size,)."""
        return np.asarray(self._generator.random(size) * np.asarray(bound)).astype(np.int64)

    def normal(self, size: int) -> Floats:
        """Standard normal by the transform of Box and Muller, shape (size,)."""
        radius = np.sqrt(-2.0 * np.log1p(-self._generator.random(size)))
        return np.asarray(radius * np.cos(2.0 * np.pi * self._generator.random(size)))

    def lognormal(self, size: int, median: ArrayLike, sigma: ArrayLike) -> Floats:
        """Log-normal with the given median and the standard deviation of its logarithm, shape (size,)."""
        return np.asarray(np.asarray(median) * np.exp(np.asarray(sigma) * self.normal(size)))

    def exponential(self, size: int, mean: ArrayLike) -> Floats:
        """Exponential with the given mean, shape (size,)."""
        return np.asarray(-np.asarray(mean) * np.log1p(-self._generator.random(size)))

    def choice(self, size: int, weights: ArrayLike) -> Ints:
        """Positions drawn in proportion to `weights`, shape (size,)."""
        cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
        drawn = self._generator.random(size) * cumulative[-1]
        return np.asarray(np.searchsorted(cumulative, drawn, side="right"), dtype=np.int64)

    def words(self, size: int) -> NDArray[np.uint64]:
        """Whole numbers of 52 random bits, for identifiers, shape (size,)."""
        return (self._generator.random(size) * 2.0**52).astype(np.uint64)
