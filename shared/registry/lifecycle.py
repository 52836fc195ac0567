"""The life of a model, as a pure state machine.

```mermaid
stateDiagram-v2
    [*] --> TRAINED
    TRAINED --> STAGING: promote
    STAGING --> PRODUCTION: promote (gate)
    PRODUCTION --> ARCHIVED: replaced, or archived on purpose
    TRAINED --> ARCHIVED: archive
    STAGING --> ARCHIVED: archive
    ARCHIVED --> PRODUCTION: rollback
```

A rollback leads to the model that was in production before the present one was promoted, never to one that was archived
on purpose; repeated, it walks further back and never forward.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from shared.platform.errors import Conflict


class ModelStatus(StrEnum):
    """Where a model stands."""

    TRAINED = "TRAINED"
    STAGING = "STAGING"
    PRODUCTION = "PRODUCTION"
    ARCHIVED = "ARCHIVED"


class Move(StrEnum):
    """What is asked of a model."""

    PROMOTE = "promote"
    ARCHIVE = "archive"
    ROLLBACK = "rollback"


_TARGETS: Final[Mapping[tuple[ModelStatus, Move], ModelStatus]] = MappingProxyType(
    {
        (ModelStatus.TRAINED, Move.PROMOTE): ModelStatus.STAGING,
        (ModelStatus.STAGING, Move.PROMOTE): ModelStatus.PRODUCTION,
        (ModelStatus.TRAINED, Move.ARCHIVE): ModelStatus.ARCHIVED,
        (ModelStatus.STAGING, Move.ARCHIVE): ModelStatus.ARCHIVED,
        (ModelStatus.PRODUCTION, Move.ARCHIVE): ModelStatus.ARCHIVED,
        (ModelStatus.ARCHIVED, Move.ROLLBACK): ModelStatus.PRODUCTION,
    }
)


def check_move(current: ModelStatus, move: Move, target: ModelStatus) -> None:
    """Return when ``move`` leads from ``current`` to ``target``.

    :raises Conflict: it does not; the message lists what is possible instead.
    """
    if _TARGETS.get((current, move)) is target:
        return
    legal = [_say(other, to) for (origin, other), to in _TARGETS.items() if origin is current]
    message = f"a model that is {current.value} cannot be {_say(move, target)}; it can be {' or '.join(legal)}"
    raise Conflict(message, target="target_status")


def _say(move: Move, target: ModelStatus) -> str:
    match move:
        case Move.PROMOTE:
            return f"promoted to {target.value}"
        case Move.ARCHIVE:
            return "archived"
        case Move.ROLLBACK:
            return "put back by a rollback of its successor"
