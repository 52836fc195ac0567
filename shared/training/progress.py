"""How far a run is: kept in Blob beside the checkpoint, and shown in the job."""

from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

_SHOWN_POINTS = 200


class RoundFigures(NamedTuple):
    """How a model stands after a round. ``score`` is what early stopping follows, higher being better; None after a
    round that was not looked at."""

    score: float | None
    validation: dict[str, float]
    train: dict[str, float]


class Curve(BaseModel):
    """Figures by round: ``values[name][i]`` belongs to round ``rounds[i]``, counted from 1."""

    rounds: list[int] = Field(default_factory=list)
    values: dict[str, list[float]] = Field(default_factory=dict)

    def add(self, number: int, figures: dict[str, float]) -> None:
        """Append the figures of a round; a round without figures is passed over."""
        if figures:
            self.rounds.append(number)
            for name, value in figures.items():
                self.values.setdefault(name, []).append(value)

    def shown(self) -> dict[str, Any]:
        """At most about 200 evenly spaced points, the last one included."""
        step = max(1, -(-len(self.rounds) // _SHOWN_POINTS))
        keep = [i for i in range(len(self.rounds)) if (len(self.rounds) - 1 - i) % step == 0]
        return {
            "round": [self.rounds[i] for i in keep],
            **{name: [round(values[i], 6) for i in keep] for name, values in self.values.items()},
        }


class TrainingProgress(BaseModel):
    """State of a run after some rounds; with the checkpoint it is all that another worker needs to go on.

    ``threads`` is fixed when the run begins, since the order of floating-point sums depends on it. ``searched`` is the
    share of the job's boosting that was done before, by a search.
    """

    model_config = ConfigDict(extra="forbid")

    total_rounds: int
    patience: int | None
    threads: int
    searched: float = 0.0
    rounds: int = 0
    best_round: int = 0
    best_score: float | None = None
    seconds: float = 0.0
    slices: int = 0
    checkpoint_sha256: str | None = None
    train: Curve = Field(default_factory=Curve)
    validation: Curve = Field(default_factory=Curve)

    def record(self, figures: RoundFigures) -> None:
        """Take in the figures of the next round."""
        self.rounds += 1
        self.train.add(self.rounds, figures.train)
        self.validation.add(self.rounds, figures.validation)
        if figures.score is not None and (self.best_score is None or figures.score > self.best_score):
            self.best_round, self.best_score = self.rounds, figures.score

    @property
    def stopped_early(self) -> bool:
        """Whether patience ran out; only a round that was looked at can say so."""
        looked_at = self.validation.rounds[-1] if self.validation.rounds else 0
        return self.patience is not None and looked_at - self.best_round >= self.patience

    @property
    def finished(self) -> bool:
        """Whether no round is left to do."""
        return self.rounds >= self.total_rounds or self.stopped_early

    @property
    def fraction(self) -> float:
        """Share of the job's boosting that is done; 1 when finished, however early."""
        return 1.0 if self.finished else self.searched + (1 - self.searched) * self.rounds / self.total_rounds

    @property
    def eta_seconds(self) -> float | None:
        """Time for the rounds that are left at the speed so far; None before the first."""
        if not self.rounds:
            return None
        return 0.0 if self.finished else (self.total_rounds - self.rounds) * self.seconds / self.rounds

    def shown(self) -> dict[str, Any]:
        """What a job's ``metrics`` say while it runs and afterwards."""
        eta = self.eta_seconds
        return {
            "curves": {"train": self.train.shown(), "validation": self.validation.shown()},
            "best_round": self.best_round,
            "best_score": self.best_score,
            "stopped_early": self.stopped_early,
            "training_seconds": round(self.seconds, 3),
            "slices": self.slices,
            "eta_seconds": None if eta is None else round(eta, 1),
        }

    def to_json(self) -> bytes:
        """As it is stored."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """:raises pydantic.ValidationError: not what :meth:`to_json` wrote."""
        return cls.model_validate_json(text)
