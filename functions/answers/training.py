"""What training answers."""

from typing import Any

from typing_extensions import TypedDict

from functions.views import View
from shared.training.model import TrainingJob

JOB = View(TrainingJob, "TrainingJobCard", copied={"job_id": "id"})


class AlgorithmCard(TypedDict):
    """An algorithm of the library; ``hyperparameters`` is their JSON schema."""

    name: str
    title: str
    description: str
    needs_labels: bool
    available: bool
    hyperparameters: dict[str, Any]
    search_space: dict[str, Any]
