"""What the probes answer."""

from typing import Literal, NotRequired
from uuid import UUID

from typing_extensions import TypedDict


class Alive(TypedDict):
    """The process answers."""

    status: Literal["alive"]


class Probe(TypedDict):
    """One thing that the app depends on."""

    status: Literal["ok", "failed"]
    reason: NotRequired[str]


class ModelProbe(Probe):
    """The model that serves."""

    model_id: NotRequired[UUID | None]
    model_version: NotRequired[str]
    is_production: NotRequired[bool]
    production_id: NotRequired[UUID]


class Checks(TypedDict):
    """Everything that the app depends on."""

    database: Probe
    blob: Probe
    model: ModelProbe


class Readiness(TypedDict):
    """Whether requests can be served; only the database decides."""

    status: Literal["ready", "not_ready"]
    checks: Checks
