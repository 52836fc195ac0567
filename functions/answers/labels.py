"""What is answered about labels."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from shared.labels.model import LabelOutcome, Outcome


class LabelsTaken(TypedDict):
    """What came of each label, in the order in which they were sent."""

    counts: Annotated[dict[Outcome, int], Field(description="How many labels had each outcome.")]
    labels: list[LabelOutcome]
