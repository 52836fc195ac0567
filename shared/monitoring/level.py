"""The verdict on a figure of monitoring."""

from enum import StrEnum


class Level(StrEnum):
    """How bad, in rising order; the words of ``drift_metrics.status`` and ``bias_metrics.status``."""

    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """For comparing."""
        return list(Level).index(self)
