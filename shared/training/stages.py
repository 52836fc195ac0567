"""The stages of a job: prepare, slices, evaluate, load history, register. Each is one durable activity."""

from shared.training.finishing_stages import FinishingStages
from shared.training.fitting_stages import FittingStages


class TrainingStages(FittingStages, FinishingStages):
    """What activities call."""
