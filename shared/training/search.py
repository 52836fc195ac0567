"""Searching hyperparameters: what is asked for, what is known of each trial, and who goes on to the next rung.

Random search trains every trial in full. Successive halving (Jamieson and Talwalkar 2016) gives all trials a small
share of the whole, keeps the best third, gives those three times as much, and so on; the share is of the rounds, or of
the rows where an algorithm has too few rounds. Everything here is a pure function of the search and the scores, so the
same search on the same data ends the same way, wherever its trials ran.
"""

import math
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, computed_field, model_validator

ETA: Final = 3  # one of so many trials goes on
TRIALS_AT_ONCE: Final = 4
MOST_ATTEMPTS: Final = 3
_MOST_HALVINGS: Final = 3
_LEAST_ROUNDS: Final = 10  # in the first rung

SearchMetric = Literal[
    "auc_pr", "auc_roc", "recall_at_fpr_0_1pct", "recall_at_fpr_1pct", "recall_at_fpr_5pct", "log_loss", "brier"
]


class Range(BaseModel):
    """Values between two ends, which are included; evenly by logarithm if ``log``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be less than high")
        if self.log and self.low <= 0:
            raise ValueError("low must be greater than 0 where log is true")
        return self


def _kind(values: object) -> str | None:
    if isinstance(values, list):
        return "list"
    return "range" if isinstance(values, dict | Range) else None


Values = Annotated[list[Any], Field(min_length=1, max_length=100)]
Space = dict[
    str,
    Annotated[
        Annotated[Values, Tag("list")] | Annotated[Range, Tag("range")],
        Discriminator(
            _kind,
            custom_error_type="neither_list_nor_range",
            custom_error_message="must be a list of values, or an object with low and high",
        ),
    ],
]


class SearchRequest(BaseModel):
    """What ``POST training/jobs`` asks for under ``search``."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["random", "successive_halving"] = "random"
    trials: int = Field(20, ge=2, le=100, description="Combinations to try; fewer if the space has fewer")
    space: Annotated[Space, Field(min_length=1)] | None = Field(
        None,
        description="By hyperparameter a list of values or low, high and log; without it the algorithm's own space. "
        "What is not in it stays as in hyperparameters",
    )
    metric: SearchMetric = Field("auc_pr", description="What makes a trial better, on the validation part")
    seed: int = Field(42, ge=0, le=2**31 - 1, description="Equal seeds draw equal trials")


class Trial(BaseModel):
    """One combination. ``scores`` has one entry for each rung that the trial has been through, higher being better."""

    number: int
    hyperparameters: dict[str, Any]
    total_rounds: int
    status: Literal["QUEUED", "RUNNING", "STOPPED", "COMPLETED", "FAILED"] = "QUEUED"
    rung: int = 0
    rounds: int = 0
    scores: list[float] = Field(default_factory=list)
    seconds: float = 0.0
    attempts: int = Field(0, description="Begun since it last got further: a worker that dies cannot say so")
    reason: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def score(self) -> float | None:
        """Of the last rung."""
        return self.scores[-1] if self.scores else None

    @property
    def active(self) -> bool:
        """Whether it can still win."""
        return self.status in ("QUEUED", "RUNNING")

    @property
    def waits(self) -> bool:
        """Whether it has something to do in its rung."""
        return self.active and len(self.scores) <= self.rung

    @property
    def standing(self) -> tuple[int, int, int]:
        """How far it is; never goes back."""
        return self.rung, len(self.scores), self.rounds


class Search(BaseModel):
    """A search and everything that is known of it; lies in the job's metrics under ``search``."""

    method: Literal["random", "successive_halving"]
    metric: SearchMetric
    seed: int
    space: Space
    resource: Literal["rounds", "rows"]
    rungs: list[float] = Field(description="Share of the whole that a trial gets in each rung; the last is 1")
    rung: int = 0
    trials: list[Trial]
    started_at: datetime | None = None
    winner: int | None = None

    @property
    def share(self) -> float:
        """What the present rung gives to a trial."""
        return self.rungs[self.rung]

    def budget(self, trial: Trial) -> int:
        """Rounds after which the trial is judged in its rung."""
        share = self.rungs[trial.rung] if self.resource == "rounds" else 1.0
        return math.ceil(share * trial.total_rounds)

    def lanes(self) -> list[list[int]]:
        """The trials that have something to do, dealt out to those who work side by side."""
        waiting = [trial.number for trial in self.trials if trial.waits]
        return [waiting[lane::TRIALS_AT_ONCE] for lane in range(min(TRIALS_AT_ONCE, len(waiting)))]

    def with_trial(self, trial: Trial) -> Self:
        """What has become of a trial; unchanged if more is known of it already, from another worker."""
        known = self.trials[trial.number]
        if not known.active or known.standing > trial.standing:
            return self
        trials = [*self.trials[: trial.number], trial, *self.trials[trial.number + 1 :]]
        return self.model_copy(update={"trials": trials})

    def advanced(self) -> Self:
        """The same, or what follows once every trial of the rung is judged or has failed: the next rung, or a winner.

        Equal scores are decided by the trials' numbers. Without a trial that works, nothing follows.
        """
        judged = [trial for trial in self.trials if trial.active]
        if self.winner is not None or not judged or any(trial.waits for trial in judged):
            return self
        ranked = [trial.number for trial in sorted(judged, key=lambda trial: (-trial.scores[-1], trial.number))]
        if self.rung == len(self.rungs) - 1:
            ended = {number: {"status": "COMPLETED"} for number in ranked}
            return self._changed(ended, winner=ranked[0])
        kept = ranked[: self._places(self.rung + 1)]
        onward: dict[str, Any] = {"status": "QUEUED", "rung": self.rung + 1}
        if self.resource == "rows":
            onward["rounds"] = 0
        changes = {number: onward if number in kept else {"status": "STOPPED"} for number in ranked}
        return self._changed(changes, rung=self.rung + 1)

    def _changed(self, changes: dict[int, dict[str, Any]], **update: Any) -> Self:
        trials = [trial.model_copy(update=changes.get(trial.number, {})) for trial in self.trials]
        return self.model_copy(update={**update, "trials": trials})

    @property
    def failed(self) -> bool:
        """Whether no trial is left that could win."""
        return self.winner is None and not any(trial.active for trial in self.trials)

    @property
    def fraction(self) -> float:
        """Share of the job's boosting that is done: the rungs so far of all rungs and the winner's own training."""
        planned = [self._planned(rung) for rung in range(len(self.rungs))]
        if self.winner is not None:
            done = sum(planned)
        else:
            there = [trial for trial in self.trials if trial.rung == self.rung and trial.status != "STOPPED"]
            present = sum(self._done(trial) for trial in there) / max(len(there), 1)
            done = sum(planned[: self.rung]) + planned[self.rung] * present
        return done / (sum(planned) + 1)

    def _places(self, rung: int) -> int:
        return max(1, len(self.trials) // int(ETA**rung))

    def _planned(self, rung: int) -> float:
        kept = self.rungs[rung - 1] if rung and self.resource == "rounds" else 0.0
        return self._places(rung) * (self.rungs[rung] - kept)

    def _done(self, trial: Trial) -> float:
        return min(1.0, trial.rounds / self.budget(trial)) if trial.waits else 1.0


def plan_rungs(method: str, trials: int, total_rounds: int) -> tuple[Literal["rounds", "rows"], list[float]]:
    """What is shared out (rounds where there are enough of them, else rows), and the shares, rising to 1."""
    resource: Literal["rounds", "rows"] = "rounds" if total_rounds >= ETA * _LEAST_ROUNDS else "rows"
    if method == "random":
        return resource, [1.0]
    halvings = 0
    while halvings < _MOST_HALVINGS and ETA ** (halvings + 1) <= trials:
        if resource == "rounds" and total_rounds < _LEAST_ROUNDS * ETA ** (halvings + 1):
            break
        halvings += 1
    return resource, [ETA ** -float(halvings - rung) for rung in range(halvings + 1)]
