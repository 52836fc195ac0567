"""One slice of a run: some rounds from where the last slice ended, within a time budget."""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from shared.training.algorithms.base import Trainer
from shared.training.progress import TrainingProgress

RunKey = tuple[UUID, int | None]  # a job, and which of its search's trials if it is one of them

SLICE_SECONDS: Final = 20.0
_SNAPSHOT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class SliceLimits:
    """A slice ends after ``seconds``, or after ``rounds`` when that is given, whichever comes first."""

    seconds: float = SLICE_SECONDS
    rounds: int | None = None


def run_slice(
    trainer: Trainer,
    progress: TrainingProgress,
    limits: SliceLimits,
    stop: threading.Event,
    report: Callable[[TrainingProgress], None],
) -> bytes:
    """Advance ``trainer`` and ``progress`` together; returns the checkpoint of the last round.

    At least one round is done, unless the run is finished or ``stop`` is set. Where a slice ends has no influence
    on the model.

    :param stop: checked before each round.
    :param report: called about once a second with a copy of the progress; must be quick.
    """
    started = reported = time.monotonic()
    earlier, done = progress.seconds, 0
    while not (progress.finished or stop.is_set()):
        progress.record(trainer.advance())
        done += 1
        now = time.monotonic()
        progress.seconds = earlier + now - started
        if now - reported >= _SNAPSHOT_SECONDS:
            reported = now
            report(progress.model_copy(deep=True))
        if now - started >= limits.seconds or done == limits.rounds:
            break
    checkpoint = trainer.checkpoint()
    progress.slices += 1
    progress.checkpoint_sha256 = hashlib.sha256(checkpoint).hexdigest()
    return checkpoint


class LiveRuns:
    """Runs that this worker has in memory, so that its next slice need not read the checkpoint back.

    A run is handed out once: whoever takes it owns it until it is put back. It is only handed to someone whose stored
    progress is exactly where the run stands.
    """

    def __init__(self, capacity: int = 2) -> None:
        self._capacity = capacity
        self._runs: dict[RunKey, tuple[str, Trainer]] = {}
        self._lock = threading.Lock()

    def take(self, run: RunKey, checkpoint_sha256: str | None) -> Trainer | None:
        """The run, if it stands at this checkpoint."""
        with self._lock:
            held = self._runs.pop(run, None)
        return held[1] if held is not None and held[0] == checkpoint_sha256 else None

    def put(self, run: RunKey, checkpoint_sha256: str, trainer: Trainer) -> None:
        """Keep a run for its next slice; the one not used for longest makes room."""
        with self._lock:
            self._runs.pop(run, None)
            self._runs[run] = (checkpoint_sha256, trainer)
            while len(self._runs) > self._capacity:
                del self._runs[next(iter(self._runs))]

    def drop(self, job_id: UUID) -> None:
        """Forget the runs of a job that has ended."""
        with self._lock:
            self._runs = {run: held for run, held in self._runs.items() if run[0] != job_id}
