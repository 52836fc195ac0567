"""Calibration: a rising curve laid over a model's scores so that 0.3 means fraud three times in ten.

Fitted on the validation part, stored as plain numbers in ``metadata.json``, and applied wherever the model scores. Both
curves rise strictly, so ranking figures stay what they are; equal scores stay equal however many are scored at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from shared.training.evaluation import Floats, checked, row_log_losses

if TYPE_CHECKING:
    from shared.training.algorithms.base import ExplanationKind, Features, FittedModel

CalibrationChoice = Literal["auto", "none", "sigmoid", "isotonic"]

# The largest score below 1 that float32 tells from 1 is 1 - 2^-24; a score of 1 counts as half a step above it.
_HIGHEST: Final = 1 - 2.0**-25
_LOWEST: Final = float(np.finfo(np.float32).tiny)
_NEWTON_STEPS: Final = 100
# What "auto" asks for before it lays a curve over a model's scores.
_MIN_FRAUDS: Final = 20
_MIN_FRAUDS_ISOTONIC: Final = 200
_MIN_GAINS: Final = {"sigmoid": 0.01, "isotonic": 0.02}  # of the log loss


class SigmoidCalibration(BaseModel):
    """sigmoid(slope · log-odds + intercept) (Platt 1999)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["sigmoid"] = "sigmoid"
    slope: float = Field(gt=0)
    intercept: float

    @classmethod
    def fit(cls, scores: npt.ArrayLike, labels: npt.ArrayLike) -> Self | None:
        """The curve of greatest likelihood for Platt's smoothed targets, by Newton's method with halved steps (Lin,
        Lin, Weng 2007). None where no rising one is found: one class only, or scores that do not rank.
        """
        s, y = checked(scores, labels)
        frauds = int(y.sum())
        if not 0 < frauds < len(y):
            return None
        margin = _log_odds(s)
        target = np.where(y == 1, (frauds + 1) / (frauds + 2), 1 / (len(y) - frauds + 2))
        curve = np.array([1.0, 0.0])
        loss = _cross_entropy(margin, target, curve)
        for _ in range(_NEWTON_STEPS):
            p = _sigmoid(curve[0] * margin + curve[1])
            residual, weight = p - target, p * (1 - p)
            gradient = np.array([residual @ margin, residual.sum()])
            cross = weight @ margin
            hessian = np.array([[weight @ margin**2, cross], [cross, weight.sum()]]) + 1e-12 * np.eye(2)
            step, size = np.linalg.solve(hessian, gradient), 1.0
            while (lower := _cross_entropy(margin, target, curve - size * step)) > loss and size > 1e-10:
                size /= 2
            if lower >= loss:
                break
            curve, gain, loss = curve - size * step, loss - lower, lower
            if gain < 1e-12 * loss:
                break
        slope, intercept = curve.tolist()
        return cls(slope=slope, intercept=intercept) if slope > 0 and np.isfinite(curve).all() else None

    def apply(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Calibrated scores, shape (n,)."""
        s = np.ascontiguousarray(scores, dtype=np.float64)
        return _sigmoid(self.slope * _log_odds(s) + self.intercept).astype(np.float32)


class IsotonicCalibration(BaseModel):
    """Straight lines through (0, 0), the knots and (1, 1).

    The knots are the blocks of isotonic regression, each at the mean of its scores and labels, so that the curve rises
    within blocks too (centered isotonic regression, Oron and Flournoy 2017). Blocks of nothing but frauds, or without
    one, are left out: the lines to the corners run through them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["isotonic"] = "isotonic"
    scores: tuple[float, ...] = Field(min_length=1)
    probabilities: tuple[float, ...] = Field(min_length=1)

    @classmethod
    def fit(cls, scores: npt.ArrayLike, labels: npt.ArrayLike) -> Self | None:
        """None where there is no knot: one class only, or scores that separate the classes."""
        from scipy.optimize import isotonic_regression

        s, y = checked(scores, labels)
        distinct, position, count = np.unique(s, return_inverse=True, return_counts=True)
        rate = np.bincount(position, weights=y) / count
        fitted = isotonic_regression(rate, weights=count)
        starts, block_rate = fitted.blocks[:-1], fitted.x[fitted.blocks[:-1]]
        centre = np.add.reduceat(distinct * count, starts) / np.add.reduceat(count, starts)
        knots = (block_rate > 0) & (block_rate < 1) & (centre > 0) & (centre < 1)
        if not knots.any():
            return None
        return cls(scores=tuple(centre[knots].tolist()), probabilities=tuple(block_rate[knots].tolist()))

    def apply(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Calibrated scores, shape (n,)."""
        knots, heights = (0.0, *self.scores, 1.0), (0.0, *self.probabilities, 1.0)
        return np.interp(np.asarray(scores, dtype=np.float64), knots, heights).astype(np.float32)


Calibration = Annotated[SigmoidCalibration | IsotonicCalibration, Field(discriminator="method")]


@dataclass(frozen=True, slots=True)
class CalibratedModel:
    """A fitted model with a curve over its scores; itself a fitted model."""

    model: "FittedModel"
    calibration: SigmoidCalibration | IsotonicCalibration

    @property
    def rounds(self) -> int:
        """The model's."""
        return self.model.rounds

    @property
    def feature_count(self) -> int:
        """The model's."""
        return self.model.feature_count

    def predict(self, features: "Features") -> npt.NDArray[np.float32]:
        """Calibrated probabilities of fraud, shape (n,)."""
        return self.calibration.apply(self.model.predict(features))

    @property
    def explanation(self) -> "ExplanationKind":
        """The model's; it says whether contributions add up to the calibrated score or to the one before."""
        kind = self.model.explanation
        return kind if self._line is not None else kind.model_copy(update={"of": "uncalibrated_score"})

    def contributions(self, features: "Features") -> "Features":
        """Shapley values, shape (n, f + 1), the base value last. A sigmoid is a straight line in log-odds, so there
        they are those of the calibrated score; otherwise they are the model's own.
        """
        found = self.model.contributions(features)
        if self._line is None:
            return found
        scaled = found * np.float32(self._line.slope)
        scaled[:, -1] += np.float32(self._line.intercept)
        return scaled

    @property
    def explains_at_once(self) -> bool:
        """As the model."""
        return self.model.explains_at_once

    def prepare_explanations(self) -> None:
        """The model's."""
        self.model.prepare_explanations()

    @property
    def _line(self) -> SigmoidCalibration | None:
        if isinstance(self.calibration, SigmoidCalibration) and self.model.explanation.unit == "log_odds":
            return self.calibration
        return None


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What became of a request for calibration.

    ``log_loss``: by method, on rows that the curve was not fitted on; empty where nothing was compared.
    """

    requested: CalibrationChoice
    calibration: SigmoidCalibration | IsotonicCalibration | None
    log_loss: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """For the record among the figures."""
        method = "none" if self.calibration is None else self.calibration.method
        return {"requested": self.requested, "method": method, "log_loss": dict(self.log_loss)}


def calibrate(scores: npt.ArrayLike, labels: npt.ArrayLike, requested: CalibrationChoice) -> CalibrationResult:
    """Fit the curve that was asked for; with ``auto`` the one that clearly helps, if there is one.

    To find out, the rows are halved, each half is judged by the curve of the other, and log loss must fall by 1 % and
    by two standard errors of its mean without the Brier score rising. Isotonic must be 2 % better than what there is
    without it, because under it contributions no longer add up to the score.

    :param scores: of the validation part in order of time, shape (n,). :param labels: 0 or 1, shape (n,).
    """
    s, y = checked(scores, labels)
    if requested == "none":
        return CalibrationResult(requested, None, {})
    if requested != "auto":
        return CalibrationResult(requested, _METHODS[requested].fit(s, y), {})
    halves = slice(0, len(s) // 2), slice(len(s) // 2, len(s))
    frauds = min((int(y[half].sum()) for half in halves), default=0)
    if frauds < _MIN_FRAUDS:
        return CalibrationResult(requested, None, {})
    before = row_log_losses(s, y)
    losses, best = {"none": float(before.mean())}, "none"
    for method, curve in _METHODS.items():
        if method == "isotonic" and frauds < _MIN_FRAUDS_ISOTONIC:
            continue
        held_out = _held_out(curve, s, y, halves)
        if held_out is None:
            continue
        after = row_log_losses(held_out, y)
        losses[method] = float(after.mean())
        gain = before - after
        sure = gain.mean() > 2 * gain.std() / np.sqrt(len(gain)) and np.mean((held_out - y) ** 2) <= np.mean(
            (s - y) ** 2
        )
        if sure and losses[method] < (1 - _MIN_GAINS[method]) * losses[best]:
            best = method
    return CalibrationResult(requested, None if best == "none" else _METHODS[best].fit(s, y), losses)


_METHODS: Final[Mapping[str, type[SigmoidCalibration] | type[IsotonicCalibration]]] = {
    "sigmoid": SigmoidCalibration,
    "isotonic": IsotonicCalibration,
}


def _held_out(
    method: type[SigmoidCalibration] | type[IsotonicCalibration],
    scores: Floats,
    labels: Any,
    halves: tuple[slice, slice],
) -> Floats | None:
    """Each half's scores under the curve of the other; None where one cannot be fitted."""
    parts: list[Floats] = []
    for judged, fitted in (halves, halves[::-1]):
        curve = method.fit(scores[fitted], labels[fitted])
        if curve is None:
            return None
        parts.append(curve.apply(scores[judged].astype(np.float32)).astype(np.float64))
    return np.concatenate(parts)


def _log_odds(scores: Floats) -> Floats:
    p = np.clip(scores, _LOWEST, _HIGHEST)
    return np.asarray(np.log(p) - np.log1p(-p))


def _sigmoid(margin: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(margin, -700, 700))))


def _cross_entropy(margin: Floats, target: Floats, curve: Floats) -> float:
    z = curve[0] * margin + curve[1]
    return float(np.sum(np.logaddexp(0, z) - target * z))
