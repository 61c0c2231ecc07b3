"""Suggest how to write a rule that somebody wrote in other words: `fri 9am`, `пятница 09.00`, `2nd & 4th tue 9h30`."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LANGUAGES = "en ru kk uk ky uz tg ar fa fr es pt it de nl pl tr zh".split()  # noqa: SIM905
_NTH = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth"}
_SPOKEN = {
    "noon": "12:00", "midday": "12:00", "&": ",", "+": ",", ";": ",", "/": ",", "and": ",", "и": ",", "et": ",",
    "y": ",", "und": ",", "e": ",", "و": ",", "،": ",", "、": ",", "through": "-", "thru": "-", "to": "-", "till": "-",
    "until": "-", "bis": "-", "до": "-", "по": "-", "..": "-", "…": "-", "–": "-", "—": "-",
    "weekdays": "mon - fri", "workdays": "mon - fri", "daily": "", "every": "", "each": "", "on": "", "at": "",
    "the": "", "of": "", "month": "", "le": "", "la": "", "les": "", "à": "", "a": "", "am": "", "um": "", "el": "",
    "los": "", "в": "", "с": "", "каждый": "", "каждую": "", "каждое": "", "ежемесячно": "",
    "oclock": "", "o'clock": "",
}  # fmt: skip
_CLOCK = re.compile(
    r"(?<![\d:.-])(\d{1,2})(?:[:.h](\d{2})(?::00)?)?\s?(a\.?m\.?|p\.?m\.?|uhr|h|ч|o'clock)?(?![\w:.-]|\s?[ap]\.?m)"
)
_NUMBERED_DAY = re.compile(r"\b([1-5]) (?=working|(?:mon|tue|wed|thu|fri|sat|sun)\b)")
_TWO_OF_A_DAY = re.compile(
    r"\b(first|second|third|fourth|fifth|[1-5]) ?, ?((?:first|second|third|fourth|fifth|last) (working|\w+))"
)
"""`second, fourth tue`: both numbers are of this day."""
_TOKEN = re.compile(r"\d{1,2}:\d{2}|\.\.|[^\W\d_]+'?[^\W\d_]*|\d+|[^\w\s]")


def suggest_rule(key: str, text: str) -> tuple[str, str] | None:
    """Return a rule that the text of `daily`, `weekly` or `monthly` probably means, as key and text, or None.

    The result may still be no rule: the caller has to read it.
    """
    plain = "".join(
        str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in unicodedata.normalize("NFKC", text)
    )
    plain = re.sub(r"[«»“”‘’\"`\[\](){}]|(?<=\D)\.(?=\s)", " ", plain.casefold())
    plain = re.sub(r"(?<=\d)(?:st|nd|rd|th|-?го|-?е)\b", "", plain)
    plain = re.sub(r"\b(?:business|work(?:ing)?)[ -]?day\b|(?<=first )weekday\b|(?<=last )weekday\b", "working", plain)
    words: list[str] = []
    clocks: dict[str, None] = {}
    has_later_day = False
    for part in _TOKEN.findall(_CLOCK.sub(lambda match: _write_clock(match, key), plain)):
        word = _SPOKEN.get(part, part)
        word = _find_day(word) or word
        if re.fullmatch(r"\d{2}:\d{2}", word):
            clocks[word] = None
        elif word and (words or word != "-"):  # "по" means "to" after a day, and "on" before it
            has_later_day = has_later_day or (bool(clocks) and word != ",")
            words.append(word)
    if not clocks or re.search(r"[+]\d", plain) or (has_later_day and len(clocks) > 1):
        return None  # an offset, or a time of its own for each day
    days = _write_days(" ".join(words))
    return "weekly" if key == "daily" and days else key, f"{days} {', '.join(clocks)}".strip()


def _write_clock(match: re.Match[str], key: str) -> str:
    """Return a time as 09:00. A lone number is an hour only in a rule without days of the month."""
    hour, minute, half = int(match[1]), match[2], (match[3] or "").replace(".", "")
    if minute is None and not half and key == "monthly":
        return match[0]
    if half in ("am", "pm"):
        if not 1 <= hour <= 12:
            return match[0]
        hour = hour % 12 + 12 * (half == "pm")
    return f" {hour:02d}:{minute or '00'} " if hour < 24 and int(minute or 0) < 60 else match[0]


def _write_days(text: str) -> str:
    """Return days as our rules list them: `[mon, thu]`, `mon-fri`, `[second tue, fourth tue]`."""
    text = re.sub(r" ?- ?", "-", text.strip(" ,"))
    text = _NUMBERED_DAY.sub(lambda match: f"{_NTH[match[1]]} ", text)
    text = _TWO_OF_A_DAY.sub(lambda match: f"{_NTH.get(match[1], match[1])} {match[3]}, {match[2]}", text)
    text = re.sub(r"\bday (?=\d)", "", text.replace("working", "working day"))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not any(re.match(r"\d|first|second|third|fourth|fifth|last", part) for part in parts):
        parts = [each for part in parts for each in part.split()]
    return f"[{', '.join(parts)}]" if len(parts) > 1 else "".join(parts)


def _find_day(word: str) -> str:
    """Return mon to sun for the name of a weekday in one of many languages, else ''."""
    names = _load_names()
    if word in names:
        return names[word]
    known = {day for name, day in names.items() if len(name) > 4 and len(word) > 3 and _is_form(word, name)}
    return known.pop() if len(known) == 1 else ""


def _is_form(word: str, name: str) -> bool:
    """Whether a word is a name with another ending: `fridays`, `пятницам`."""
    return word.startswith(name[: max(4, len(name) - 1)]) and abs(len(word) - len(name)) < 4


@cache
def _load_names() -> dict[str, str]:
    from babel import Locale  # imported late: only a mistake needs it

    names = {"tues": "tue", "weds": "wed", "thur": "thu", "thurs": "thu"}
    for language in _LANGUAGES:
        days = Locale.parse(language).days
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated", "short"):
                for number, name in days[context].get(width, {}).items():
                    names.setdefault(name.casefold().strip(". "), _DAYS[number])
    return names
