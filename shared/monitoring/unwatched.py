"""The alert of a model that monitoring cannot look at."""

from uuid import UUID

from shared.alerts.model import Severity, Signal, Source
from shared.platform.errors import DomainError


def unwatched(model_id: UUID, cause: str, title: str, error: DomainError, consequence: str = "") -> Signal:
    """What is reported while it lasts, cleared when the model is looked at again.

    :param title: what does not happen. :param consequence: what follows from it, as a sentence.
    """
    return Signal(
        cause=cause,
        source=Source.SYSTEM,
        alert_type="MONITORING_FAILED",
        severity=Severity.CRITICAL,
        title=title,
        description=f"{error.message}. {consequence}".strip(),
        model_id=model_id,
    )
