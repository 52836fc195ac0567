"""NCRONTAB schedules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from devhost.schedule import InvalidSchedule, Schedule

START = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("expression", "occurrence"),
    [
        ("0 */5 * * * *", datetime(2026, 1, 1, 12, 5, tzinfo=UTC)),
        ("*/10 * * * * *", datetime(2026, 1, 1, 12, 0, 40, tzinfo=UTC)),
        ("30 0 3 * * *", datetime(2026, 1, 2, 3, 0, 30, tzinfo=UTC)),
        ("*/5 * * * *", datetime(2026, 1, 1, 12, 5, tzinfo=UTC)),
        ("0 0 0 * * 0", datetime(2026, 1, 4, tzinfo=UTC)),
        ("0 0 0 * * Mon-Fri", datetime(2026, 1, 2, tzinfo=UTC)),
        ("0 0 0 13 * 5", datetime(2026, 2, 13, tzinfo=UTC)),
        ("0 0 0 1 Feb *", datetime(2026, 2, 1, tzinfo=UTC)),
        ("01:30:00", datetime(2026, 1, 1, 13, 30, 30, tzinfo=UTC)),
        ("1.00:00:00", datetime(2026, 1, 2, 12, 0, 30, tzinfo=UTC)),
    ],
)
def test_next_occurrence(expression: str, occurrence: datetime) -> None:
    """Seconds come first, Sunday is 0, and day of month and day of week must both fit."""
    assert Schedule(expression).next_after(START) == occurrence


@pytest.mark.parametrize("expression", ["", "* * * *", "0 61 * * * *", "0 0 0 31 2 *", "every day", "00:00:00"])
def test_malformed_schedules_are_refused(expression: str) -> None:
    """A schedule that cannot be read, or can never occur, is an error."""
    with pytest.raises(InvalidSchedule):
        Schedule(expression)


@pytest.mark.parametrize(("expression", "frequent"), [("*/30 * * * * *", True), ("0 * * * * *", False)])
def test_frequent_timers_are_known(expression: str, frequent: bool) -> None:
    """Timers that run more than once a minute have no status kept."""
    assert Schedule(expression).is_frequent is frequent
