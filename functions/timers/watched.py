"""A timer that fails is an alert; it is gone when the timer does its work again."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from functions.composition import get_services
from shared.alerts.model import Severity, Signal, Source
from shared.platform.telemetry import get_logger

TIMER_FAILED: Final = "timer_failed"

_log = get_logger("timers")

Timer = Callable[..., Awaitable[None]]


def watched(name: str) -> Callable[[Timer], Timer]:
    """Report what the timer ``name`` raises as an alert, and raise it; clear the alert when it succeeds."""

    def wrap(timer: Timer) -> Timer:
        @functools.wraps(timer)
        async def run(*args: Any, **kwargs: Any) -> None:
            services = await get_services()
            try:
                await timer(*args, **kwargs)
            except Exception as error:
                # Logged first: the alert needs the database, which may be what failed.
                _log.error(TIMER_FAILED, timer=name, error=type(error).__name__)
                await services.alerts.report(_failed(name, error))
                raise
            await services.alerts.clear(_cause(name))

        # The host reads the parameters, which must be the timer's own.
        run.__signature__ = inspect.signature(timer)  # type: ignore[attr-defined]
        return run

    return wrap


def _cause(name: str) -> str:
    return f"timer:{name}"


def _failed(name: str, error: Exception) -> Signal:
    return Signal(
        cause=_cause(name),
        source=Source.SYSTEM,
        alert_type="TIMER",
        severity=Severity.WARNING,
        title=f"The timer {name} fails",
        description=f"It ended with {type(error).__name__}; the log has the rest. It is tried again at its next time.",
        details={"timer": name, "error": type(error).__name__},
    )
