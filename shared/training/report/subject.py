"""What a report is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from shared.training.evaluation import ScoreCurve
from shared.training.evidence import Evidence


@dataclass(frozen=True)
class Subject:
    """A model as its metadata describe it (:class:`shared.training.artifacts.ModelMetadata` without ``files``), the
    evidence of its figures, and what its features mean, by name.
    """

    description: Mapping[str, Any]
    evidence: Evidence
    meanings: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The figures of the test part."""
        found: Mapping[str, Any] = self.description["metrics"]
        return found

    @property
    def training(self) -> Mapping[str, Any]:
        """How the run went."""
        found: Mapping[str, Any] = self.description["training"]
        return found

    @property
    def threshold(self) -> float:
        """Fraud from this score up."""
        return float(self.description["threshold"])

    @cached_property
    def curve(self) -> ScoreCurve | None:
        """What every threshold would do; None without labels, or where the test part lacks a class."""
        if self.evidence.labels is None:
            return None
        curve = ScoreCurve.of(self.evidence.scores, self.evidence.labels)
        return curve if curve.positives and curve.negatives else None

    @property
    def why_no_curve(self) -> str:
        """Why :attr:`curve` is None, as a sentence."""
        if self.evidence.labels is None:
            return "Left out: the data has no labels, so right and wrong decisions cannot be told apart."
        missing = "genuine" if self.evidence.labels.any() else "fraudulent"
        return f"Left out: the test part holds no {missing} transaction."
