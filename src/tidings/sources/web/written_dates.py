"""Read dates of websites: ISO 8601, only digits, or with the name of a month in many languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache

from babel import Locale, UnknownLocaleError

from tidings.model.dates import YEARS, parse_moment

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})\s*[-年년./]\s*(\d{1,2})\s*[-月월./]\s*(\d{1,2})(?!\d)")
_DAY_FIRST = re.compile(r"(?<!\d)(\d{1,2})([./])\s?(\d{1,2})\2\s?(\d{4})(?!\d)")
_CLOCK = re.compile(r"(?<![\d.:+-])(\d{1,2})\s?(?:[:時时시]|h(?![^\W\d]))\s?(\d{2})?(?!\d)\s?分?(?::(\d{2}))?")
_OFFSET = re.compile(r"(?<=[\d\sTC])([+-])(\d{2}):?(\d{2})\b")
_AFTERNOON = re.compile(r"\bp\.?\s?m\b|오후|下午|午後|\bÖS\b|(?<!\w)م(?!\w)", re.IGNORECASE)
_MORNING = re.compile(r"\ba\.?\s?m\b|오전|上午|午前|\bÖÖ\b|(?<!\w)ص(?!\w)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<!\d)\d+(?!\d)")
_NOT_A_NAME = re.compile(r"[\d\s.,،;:()/|’'\"-]+")
_STANDARD = re.compile(
    r"(?:[a-z]{3,9},?\s{1,3})?\d{1,2}[ -]"
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)[ -]\d{2,4}\s{1,3}\d{1,2}:\d{2}(?::\d{2})?"
    r"\s{0,3}(?:z|ut|gmt|utc|[ecmp][sd]t|[+-]\d{4})?\s{0,3}(?:\([^()]{0,40}\))?\Z"
    r"|\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s?(?:Z|[+-]\d{2}:?\d{2})?)?\Z",
    re.IGNORECASE,
)
_ZONES = {
    "gmt": 0, "utc": 0, "msk": 3, "мск": 3, "cet": 1, "cest": 2, "eet": 2, "eest": 3, "bst": 1, "est": -5, "edt": -4,
    "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "almt": 5, "pkt": 5, "hkt": 8, "sgt": 8,
    "jst": 9, "kst": 9, "aest": 10,
}  # fmt: skip
"""Hours from UTC. Names that mean several zones are as RFC 5322 §4.3 reads them."""
_WORLD = (
    "en ru kk ar ar_LB ar_DZ fr es zh de it pt uk be bg sr mk hr sl cs sk pl nl sv nb da fi et lv lt hu ro el tr az uz"
    " ky tg fa ur hi bn ka hy he ca gl id ms sw vi sq mn"
)
"""Languages whose months are always recognised, regardless of the stated language of the feed."""
_SHORT: dict[str, int] = {"mrz": 3, "mär": 3, "mai": 5, "okt": 10, "sept": 9, "set": 9, "fév": 2, "aoû": 8, "déc": 12}
"""Short names of months that are not in Unicode's CLDR, or are ambiguous there."""
_MOST = 200
"""Most characters of a date. A longer text only contains a date somewhere."""


def is_standard(text: str) -> bool:
    """Whether a date has the standard format of feeds, RFC 822 or ISO 8601."""
    return _STANDARD.match(text.strip()) is not None


def read_written_date(text: str, zone: tzinfo, language: str = "") -> datetime | None:
    """Return the date in a text, in UTC, or None. It is in `zone` unless it has an offset.

    A name that means two months in different languages is used only if `language` decides. `03/01/2026` is the third of
    January, as in most countries.
    """
    text = "".join(_plain(sign) for sign in unicodedata.normalize("NFKC", text))[:_MOST]
    try:
        moment = _read_moment(text, zone, language)
        return moment.astimezone(UTC) if moment is not None and moment.year in YEARS else None
    except (ValueError, OverflowError):
        return None


def _read_moment(text: str, zone: tzinfo, language: str) -> datetime | None:
    zone = _find_zone(text) or zone
    iso, clock = _ISO.search(text), _CLOCK.search(text)
    if iso is not None and (len(iso[0]) > 10 or clock is None):
        return parse_moment(iso[0], zone).replace(microsecond=0)
    day = _find_day(text, language)
    if day is None:
        return None
    moment = datetime(*day, tzinfo=zone)
    if clock is None:
        return moment
    hour = int(clock[1])
    if _AFTERNOON.search(text):
        hour = hour % 12 + 12
    elif _MORNING.search(text):
        hour %= 12
    return moment.replace(hour=hour, minute=int(clock[2] or 0), second=int(clock[3] or 0))


def _plain(sign: str) -> str:
    """Return a digit of any script in ASCII, and '' for a text direction mark."""
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    return "" if unicodedata.category(sign) == "Cf" else sign


def _find_day(text: str, language: str) -> tuple[int, int, int] | None:
    """Return year, month and day."""
    if (match := _YEAR_FIRST.search(text)) is not None:
        return int(match[1]), int(match[2]), int(match[3])
    if (match := _DAY_FIRST.search(text)) is not None:
        year, first, second = int(match[4]), int(match[1]), int(match[3])
        return (year, first, second) if second > 12 >= first else (year, second, first)
    rest = _OFFSET.sub(" ", _CLOCK.sub(" ", text))
    numbers = _NUMBER.findall(rest)
    years = [int(number) for number in numbers if len(number) == 4]
    days = [int(number) for number in numbers if len(number) <= 2]
    # A weekday after the date may have the short name of a month: `14 abr 2026, mar`.
    end = max((match.end() for match in _NUMBER.finditer(rest)), default=0)
    month = _find_month(rest[:end], language) or _find_month(rest, language)
    return (years[0], month, days[0]) if years and days and month is not None else None


def _find_month(text: str, language: str) -> int | None:
    """Return the month in a text. The last match counts: an earlier `mar.` means Tuesday in French."""
    names = _NOT_A_NAME.sub(" ", text).casefold().split()
    for languages in ((language,) if language else (), tuple(_WORLD.split())):
        months = _load_months(languages)
        for last in range(len(names), 0, -1):
            for first in range(max(0, last - 3), last):
                found = months.get(" ".join(names[first:last]), frozenset())
                if len(found) == 1:
                    return next(iter(found))
    return None


def _find_zone(text: str) -> tzinfo | None:
    if (offset := _OFFSET.search(text)) is not None:
        shift = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-shift if offset[1] == "-" else shift)
    known = (_ZONES[word] for word in _NOT_A_NAME.sub(" ", text).casefold().split() if word in _ZONES)
    return next((timezone(timedelta(hours=hours)) for hours in known), None)


@cache
def _load_months(languages: tuple[str, ...]) -> dict[str, frozenset[int]]:
    """Return months by name in these languages (CLDR), and by prefixes of three or more letters."""
    whole: dict[str, set[int]] = {}
    beginnings: dict[str, set[int]] = {}
    for name, month in _list_names(languages):
        whole.setdefault(name, set()).add(month)
        for length in range(3, len(name)):
            beginnings.setdefault(name[:length], set()).add(month)
    known = {name: frozenset(months) for name, months in beginnings.items()}
    known |= {name: frozenset(months) for name, months in whole.items()}
    return known | ({name: frozenset({month}) for name, month in _SHORT.items()} if len(languages) > 1 else {})


def _list_names(languages: Iterable[str]) -> Iterable[tuple[str, int]]:
    for language in languages:
        try:
            months = Locale.parse(language.replace("-", "_")).months
        except (ValueError, UnknownLocaleError):
            continue
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for month, name in months[context][width].items():
                    plain = " ".join(_NOT_A_NAME.sub(" ", unicodedata.normalize("NFKC", name)).casefold().split())
                    if len(plain) > 1 and not re.search(r"\d", name):
                        yield plain, month
