"""Public holidays by country. Schedules have no slot on these days."""

from __future__ import annotations

from datetime import date
from functools import lru_cache


class Holidays:
    """Return the name of the holiday on a day, or None. `code` is a country (`KZ`) or a part of one (`US-CA`)."""

    def __init__(self, code: str) -> None:
        import holidays  # late: slow to import, and few schedules need it

        country, _, part = code.partition("-")
        known = holidays.list_supported_countries(include_aliases=False)
        if country not in known:
            raise ValueError(f"{code!r} is no country whose holidays are known; write its two letters, like KZ")
        if part and part not in known[country]:
            raise ValueError(f"{country} has no part {part!r}; known are {', '.join(known[country]) or 'none'}")
        self.code = code

    def __call__(self, day: date) -> str | None:
        country, _, part = self.code.partition("-")
        return _year(country, part, day.year).get(day)


@lru_cache(maxsize=64)
def _year(country: str, part: str, year: int) -> dict[date, str]:
    import holidays

    try:
        days = holidays.country_holidays(country, subdiv=part or None, years=year, language="en_US")
    except NotImplementedError:
        days = holidays.country_holidays(country, subdiv=part or None, years=year)
    return dict(days.items())
