"""The one table of feature kinds. A kind registered here exists in both executors; no kind can exist in one alone."""

from typing import Annotated

from pydantic import Field

from shared.features.kinds.base import FeatureKind
from shared.features.kinds.behavioural import Behavioural
from shared.features.kinds.categorical import Frequency, Missing, OneHot
from shared.features.kinds.geographic import Haversine
from shared.features.kinds.holiday import Holiday
from shared.features.kinds.numeric import Clipped, HighValue, Quotient, Raw, Rounded, SignedLog, ZScore
from shared.features.kinds.target import Target
from shared.features.kinds.temporal import DatePart, DaysBetween

AnyFeature = Annotated[
    Raw
    | SignedLog
    | ZScore
    | Clipped
    | HighValue
    | Rounded
    | Quotient
    | Haversine
    | DatePart
    | DaysBetween
    | Holiday
    | OneHot
    | Frequency
    | Target
    | Missing
    | Behavioural,
    Field(discriminator="kind"),
]

# In the order in which a plan lists its features.
KINDS: tuple[type[FeatureKind], ...] = AnyFeature.__origin__.__args__  # type: ignore[attr-defined]

__all__ = ["KINDS", "AnyFeature", "FeatureKind"]
