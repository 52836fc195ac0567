"""Structured logs through the standard library, and OpenTelemetry when a connection string is set.

Event names are constants of the module that logs; fields are ids, counts and durations, never payloads, personal data
or secrets. Fields travel as ``extra`` attributes of the log record, so that OpenTelemetry exports them as attributes.
"""

import logging
from functools import cache
from typing import Any

import structlog

_LOGGER_NAME = "shadow_hubble"


@cache
def configure_logging(level: str) -> None:
    """Route structlog through the standard library's ``shadow_hubble`` logger. Root handlers stay the worker's own."""
    logging.getLogger(_LOGGER_NAME).setLevel(level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.stdlib.render_to_log_kwargs,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get_logger(area: str) -> structlog.stdlib.BoundLogger:
    """The logger of one area of the app, for example ``http`` or ``training``."""
    return structlog.stdlib.get_logger(f"{_LOGGER_NAME}.{area}")


def log_at_once(area: str, event: str, fields: dict[str, Any]) -> None:
    """An information record with ``fields``, without looking for the code that logs: half the cost, for the line that
    every request leaves.
    """
    logger = logging.getLogger(f"{_LOGGER_NAME}.{area}")
    if logger.isEnabledFor(logging.INFO):
        logger.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, event, (), None, None, fields))


def start_exporting(connection_string: str) -> None:
    """Send traces, metrics and logs to Application Insights. Takes about a second: call it off the request path."""
    from azure.monitor.opentelemetry import configure_azure_monitor

    configure_azure_monitor(connection_string=connection_string, logger_name=_LOGGER_NAME)
