"""Public holidays by country, from the package ``holidays``; needed when a plan is fitted and never when it is run."""

import warnings
from datetime import date

_EPOCH = date(1970, 1, 1).toordinal()


def is_country(code: str) -> bool:
    """Whether there is a calendar for this ISO 3166-1 alpha-2 code."""
    import holidays

    return code in holidays.list_supported_countries(include_aliases=False)


def public_holidays(country: str, first_year: int, last_year: int) -> tuple[int, ...]:
    """National public holidays of these years, both included, as ascending days since 1970-01-01.

    Days off in lieu count too. Those by the moon are estimates where no government has announced them yet.

    :param country: ISO 3166-1 alpha-2, see :func:`is_country`.
    """
    import holidays

    with warnings.catch_warnings():
        # Calendars that only know the years for which dates have been announced say so.
        warnings.simplefilter("ignore", UserWarning)
        calendar = holidays.country_holidays(country, years=range(first_year, last_year + 1))
    return tuple(sorted(day.toordinal() - _EPOCH for day in calendar))
