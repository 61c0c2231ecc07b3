"""Public holidays by country. Schedules have no slot on these days."""

from __future__ import annotations

from datetime import date
from functools import lru_cache


class Holidays:
    """Return the name of the holiday on a day, or None. `code` is a country (`KZ`) or a part of one (`US-CA`)."""

    def __init__(self, code: str) -> None:
        import holidays  # imported late: slow to import, and few schedules need it
        from holidays.registry import EntityLoader

        country, _, part = code.partition("-")
        if country not in EntityLoader.get_country_codes(include_aliases=False):
            mend = _find_country(code) or "write its two letters, like KZ"
            raise ValueError(f"{code!r} is not a country whose holidays are known; {mend}")
        # Only a part of a country needs its class: to get one, `holidays` imports all 250 classes.
        if part and part not in (parts := getattr(holidays, country).subdivisions):
            raise ValueError(f"{country} has no part {part!r}; known are {', '.join(parts) or 'none'}")
        self.code = code

    def __call__(self, day: date) -> str | None:
        country, _, part = self.code.partition("-")
        return _year(country, part, day.year).get(day)


def _find_country(word: str) -> str:
    """Return the hint `write GB` for `UK`, `gb` or `United Kingdom`, else ''. `no` may mean Norway."""
    from babel import Locale
    from holidays.registry import EntityLoader

    known = set(EntityLoader.get_country_codes(include_aliases=False))
    if word.lower() == "no":
        return "leave the line out for none; Norway is NO"
    names = {name.casefold(): code for code, name in Locale("en").territories.items() if code in known}
    code = {**names, "uk": "GB", "usa": "US"}.get(word.casefold(), word.upper())
    return f"write {code}" if code in known else ""


@lru_cache(maxsize=64)
def _year(country: str, part: str, year: int) -> dict[date, str]:
    import holidays

    try:
        days = holidays.country_holidays(country, subdiv=part or None, years=year, language="en_US")
    except NotImplementedError:
        days = holidays.country_holidays(country, subdiv=part or None, years=year)
    return dict(days.items())
