"""Where a request came from, as the audit log records it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The request behind a change. Timers and orchestrations have a request id of their own and no address."""

    request_id: str
    ip_address: str | None = None
    user_agent: str | None = None
