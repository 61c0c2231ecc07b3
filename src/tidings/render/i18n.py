"""Words, dates and sizes in the reader's language.

Catalogues are gettext `.po` files under `locale/`, read directly without compiling. The English texts are in the code.
A language without a catalogue gets its own dates, but English words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date as babel_date
from babel.dates import format_time as babel_time
from babel.dates import get_datetime_format
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.units import format_unit
from markupsafe import Markup, escape

LOCALES = Path(__file__).with_name("locale")
KINDS: Mapping[str, tuple[str, str]] = {
    "announcement": ("Announcement", "Announcements"),
    "event": ("Event", "Events"),
    "interview": ("Interview", "Interviews"),
    "note": ("Note", "Notes"),
    "opinion": ("Opinion", "Opinions"),
    "photo-essay": ("Photo essay", "Photo essays"),
    "press-release": ("Press release", "Press releases"),
    "publication": ("Publication", "Publications"),
    "report": ("Report", "Reports"),
    "speech": ("Speech", "Speeches"),
    "statement": ("Statement", "Statements"),
    "story": ("Story", "Stories"),
    "video": ("Video", "Videos"),
}
"""The singular, and the plural as a heading. Separate messages: Russian uses other cases for counts."""

_DEFAULT_REGION = {"en": "en_GB"}
_FRENCH_SPACE = re.compile(r" (?=[:;!?»])|(?<=«) ")
"""The region that sets the date format of a language without a region: 26 September 2023, 14:30."""


@cache
def load_catalogue(language: str, domain: str = "tidings") -> NullTranslations:
    """Load the catalogue of a language (a BCP 47 tag). `ru-KZ` falls back to `ru`, and missing messages stay English.

    `domain` is `tidings` for readers' pages and mails, or `room` for the comms room.
    """
    for name in (language.replace("-", "_"), language.partition("-")[0].lower()):
        path = LOCALES / name / "LC_MESSAGES" / f"{domain}.po"
        if re.fullmatch(r"\w+", name) and path.is_file():
            compiled = BytesIO()
            with path.open("rb") as file:
                write_mo(compiled, read_po(file, locale=name))
            compiled.seek(0)
            return GNUTranslations(compiled)
    return NullTranslations()


def make_translator(gettext: Callable[[str], str]) -> Callable[..., Markup]:
    """Return `_("Published on %(date)s", date=...)` for templates. It escapes all but values that are Markup."""

    def translate(message: str, **values: Any) -> Markup:
        text = escape(gettext(message))
        return text % values if values else text

    return translate


def read_messages(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a file of English messages, one a line, by the `[part]` that they are in."""
    parts = re.split(r"(?m)^\[(\w+)\]\n", path.read_text(encoding="utf-8"))
    lines = (tuple(line for line in text.splitlines() if line and line[0] != "#") for text in parts[2::2])
    return dict(zip(parts[1::2], lines, strict=True))


def count_missing_words(language: str) -> tuple[int, int]:
    """Return the number of missing messages for readers in a language, and the total. English lacks none."""
    if language.partition("-")[0] == "en":
        return 0, 0
    known = {key for name in LOCALES.iterdir() if name.is_dir() for key in _messages(name.name)}
    own = _messages(language.replace("-", "_")) or _messages(language.partition("-")[0])
    return len(known - own), len(known)


@cache
def _messages(name: str) -> frozenset[str]:
    """Return the messages that a catalogue translates."""
    path = LOCALES / name / "LC_MESSAGES" / "tidings.po"
    if not re.fullmatch(r"\w+", name) or not path.is_file():
        return frozenset()
    with path.open("rb") as file:
        catalogue = read_po(file, locale=name)
    return frozenset(str(message.id) for message in catalogue if message.id and all(_texts(message.string)))


def _texts(string: object) -> tuple[str, ...]:
    return tuple(map(str, string)) if isinstance(string, (tuple, list)) else (str(string or ""),)


@cache
def find_locale(language: str) -> Locale:
    """Return Babel's nearest locale for a BCP 47 tag, or English."""
    tag = language.replace("-", "_")
    for name in (_DEFAULT_REGION.get(tag, tag), tag.partition("_")[0], "en_GB"):
        try:
            return Locale.parse(name)
        except (UnknownLocaleError, ValueError):
            continue
    raise AssertionError("Babel always has English")


def text_direction(language: str) -> str:
    """Return `ltr` or `rtl`, for HTML's `dir`."""
    return "rtl" if find_locale(language).text_direction == "rtl" and _is_known(language) else "ltr"


def _is_known(language: str) -> bool:
    return find_locale(language).language == language.replace("_", "-").partition("-")[0].lower()


def language_name(language: str, reader: str = "") -> str:
    """Return a language's own name with a capital ('Қазақ тілі'), or the tag if Babel knows none.

    With `reader`, return its name in the reader's language, as used inside a sentence ('ағылшын тілі').
    """
    name = find_locale(language).get_language_name(find_locale(reader) if reader else None)
    name = name if _is_known(language) else None
    if reader:
        return name or language
    return name[:1].upper() + name[1:] if name else language


def find_language(text: str, languages: tuple[str, ...]) -> str:
    """Return the language that a tag (`en`, `en_GB`) or a name ('English', 'русский', 'Қазақ тілі') means.

    A name is its own, or in one of the usual languages of a list of people. Empty if none of `languages` is meant, or
    more than one.
    """
    written = " ".join(text.split()).casefold()
    tag = written.replace("_", "-")
    exact = [language for language in languages if language.casefold() == tag]
    found = exact or _language_names(languages).get(written) or _language_names(languages).get(tag.partition("-")[0])
    return next(iter(found)) if found and len(found) == 1 else ""


@cache
def _language_names(languages: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the languages that each name or short tag may mean, in small letters."""
    names: dict[str, set[str]] = {}
    for language in filter(_is_known, languages):
        readers = ("", "en", "ru", "kk", "ar", "fr", "es", *languages)
        for name in (language.partition("-")[0], *(language_name(language, reader) for reader in readers)):
            names.setdefault(name.casefold(), set()).add(language)
    return names


def to_zone(moment: datetime, zone: str) -> datetime:
    """Convert an aware moment to an IANA zone."""
    return moment.astimezone(ZoneInfo(zone) if zone != "UTC" else UTC)


def format_date(moment: datetime, language: str, zone: str) -> str:
    """Format the day of an aware moment in `zone`: '26 September 2023'."""
    return _plain_spaces(babel_date(to_zone(moment, zone).date(), "long", find_locale(language)))


def format_datetime(moment: datetime, language: str, zone: str) -> str:
    """Format day and time of an aware moment in `zone`: '26 September 2023, 10:00'."""
    locale = find_locale(language)
    there = to_zone(moment, zone)
    pattern = str(get_datetime_format("medium", locale=locale)).replace("'", "")
    time = babel_time(there.time(), "short", locale=locale)
    return _plain_spaces(pattern.replace("{0}", time).replace("{1}", format_date(moment, language, zone)))


def format_moment(moment: datetime, language: str, zone: str) -> str:
    """Format day and time with the weekday, because teams speak of Friday's digest."""
    day = babel_date(to_zone(moment, zone), "EEE", find_locale(language))
    comma = "\N{ARABIC COMMA}" if language == "ar" else ","
    return f"{day}{comma} {format_datetime(moment, language, zone)}"


def format_range(start: datetime, end: datetime | None, language: str, zone: str) -> str:
    """Format start and end. The same day is written only once: '10 September 2026, 10:00 – 12:00'."""
    if days := whole_days(start, end, zone):
        first, last = (_plain_spaces(babel_date(day, "long", find_locale(language))) for day in days)
        return first if first == last else f"{first} – {last}"
    text = format_datetime(start, language, zone)
    if end is None or end == start:
        return text
    if to_zone(start, zone).date() == to_zone(end, zone).date():
        return f"{text} – {_plain_spaces(babel_time(to_zone(end, zone).time(), 'short', locale=find_locale(language)))}"
    return f"{text} – {format_datetime(end, language, zone)}"


def whole_days(start: datetime, end: datetime | None, zone: str) -> tuple[date, date] | None:
    """Return the first and the last day of an event from midnight to midnight, which has no times. Else None."""
    first, last = to_zone(start, zone), to_zone(end or start, zone)
    if first.time() != time() or (end is not None and last.time() != time(23, 59, 59)):
        return None
    return first.date(), last.date()


def credit_line(credit: str, language: str) -> str:
    """Return 'Photo: N. Photographer', or the credit unchanged if it has its own label ('Illustration: ...')."""
    return (
        credit
        if ":" in credit or not credit
        else load_catalogue(language).gettext("Photo: %(credit)s") % {"credit": credit}
    )


def _plain_spaces(text: str) -> str:
    """Replace CLDR's narrow no-break space (in '2026 г.'), which is a box in many fonts."""
    return text.replace("\u202f", "\u00a0")


def keep_together(text: str, language: str) -> str:
    """Keep French punctuation beside its word: a line could break at the plain space that people type before it."""
    return _FRENCH_SPACE.sub("\u00a0", text) if language.partition("-")[0] == "fr" else text


def format_size(length: int, language: str) -> str:
    """Format a number of bytes: '1.2 MB'. 1,000 bytes are a kB, as in file managers."""
    locale = find_locale(language)
    value, unit = float(length), "digital-byte"
    for larger in ("digital-kilobyte", "digital-megabyte", "digital-gigabyte"):
        # 999.5 kB would be written as 1,000 kB.
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    digits = "#,##0.#" if value < 10 and unit not in ("digital-byte", "digital-kilobyte") else "#,##0"
    return str(format_unit(value, unit, length="short", format=digits, locale=locale))


def format_count(count: int, language: str) -> str:
    """Format a whole number with the language's digits and separators."""
    return format_decimal(count, locale=find_locale(language))


def topic_label(topic: str, labels: Mapping[str, str]) -> str:
    """Return the name of a topic. The key of a topic without a label is made readable: SDG 4, Clean water."""
    if label := labels.get(topic):
        return label
    if match := re.fullmatch(r"([A-Za-z]{2,4})[-_]?(\d{1,3})", topic):
        return f"{match[1].upper()} {match[2]}"
    words = topic.replace("-", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:] or topic


def kind_label(kind: str, language: str, n: int | None = None) -> str:
    """Return the name of an item's kind: singular if `n` is 1, else as a heading for several items.

    The key of a kind without a translation is made readable: `site-visit` becomes 'Site visit'.
    """
    singular, plural = KINDS.get(kind, ("", ""))
    if not singular:
        return kind.replace("-", " ").replace("_", " ").strip().capitalize() or kind
    return load_catalogue(language).gettext(singular if n == 1 else plural)
