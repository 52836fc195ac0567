"""The stages of a job: prepare, search, slices, evaluate, load history, register. Each is one durable activity."""

from shared.training.comparison_stage import ComparisonStage
from shared.training.finishing_stages import FinishingStages
from shared.training.search_stages import SearchStages


class TrainingStages(SearchStages, FinishingStages, ComparisonStage):
    """What activities call."""
