"""When a timer fires: NCRONTAB with six or five fields, or a constant interval. All times are UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from croniter import croniter

_INTERVAL = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})")


class InvalidSchedule(ValueError):
    """A timer's schedule is neither an NCRONTAB expression nor a time span."""


class Schedule:
    """Occurrences of one timer.

    Day of month and day of week must both fit, as in NCRONTAB. A time span (`hh:mm:ss`) counts from the last run.
    """

    def __init__(self, expression: str) -> None:
        """Parse an expression.

        Raises:
            InvalidSchedule: it is malformed or can never occur.
        """
        self.expression = expression
        self._next = _by_interval(expression) or _by_cron(expression)

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence later than an aware moment."""
        return self._next(moment)

    @property
    def is_frequent(self) -> bool:
        """Whether it can occur more than once a minute: the host keeps no status of such timers."""
        first = self.next_after(datetime(2024, 1, 1, tzinfo=UTC))
        return self.next_after(first) - first < timedelta(minutes=1)


def _by_interval(expression: str) -> Callable[[datetime], datetime] | None:
    found = _INTERVAL.fullmatch(expression.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    interval = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not interval:
        raise InvalidSchedule(f"the interval {expression!r} is empty")
    return lambda moment: moment + interval


def _by_cron(expression: str) -> Callable[[datetime], datetime]:
    fields = expression.split()
    if len(fields) not in (5, 6):
        raise InvalidSchedule(
            f"{expression!r} is neither a six-field (or five-field) NCRONTAB expression nor a time span"
        )
    text = " ".join(fields)

    def after(moment: datetime) -> datetime:
        cron = croniter(text, moment.astimezone(UTC), second_at_beginning=True, day_or=False)
        occurrence: datetime = cron.get_next(datetime)
        return occurrence

    try:
        after(datetime(2024, 1, 1, tzinfo=UTC))
    except (ValueError, KeyError) as error:
        raise InvalidSchedule(f"{expression!r} is no NCRONTAB expression: {error}") from error
    return after
