"""Which months queries do not see, and how that is said."""

from datetime import date, datetime

from shared.archiving import repository
from shared.archiving.model import month_of, next_month
from shared.platform.database import Database
from shared.platform.errors import FieldError, NotFound


class ArchivedMonths:
    """Which months queries do not see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def months(self) -> list[date]:
        """Every month that is archived or on its way, oldest first."""
        async with self._database.connection() as conn:
            return await repository.list_away(conn)

    async def holds(self, at: datetime) -> bool:
        """Whether predictions made at that moment are archived."""
        return month_of(at) in await self.months()

    async def before(self) -> date | None:
        """Before this day predictions are archived, except in months that were restored; None where none is."""
        away = await self.months()
        return next_month(away[-1]) if away else None


def archived_prediction(at: datetime) -> NotFound:
    """The refusal of a prediction whose month is archived."""
    month = f"{month_of(at):%Y-%m}"
    return NotFound(
        f"the predictions of {month} are archived; `python -m sql.restore_month {month}` brings them back",
        target="prediction_id",
        details=[FieldError("prediction_id", "archived")],
    )
