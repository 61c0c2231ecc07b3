"""The pages of the comms room: rendered on the server, in the member's language, and usable without scripts.

Templates of the newsroom cannot replace them, so that a broken template locks nobody out.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from babel.dates import format_date as babel_date
from babel.dates import format_time as babel_time
from babel.units import format_unit
from jinja2 import FileSystemLoader
from markupsafe import Markup, escape

from tidings.render.i18n import (
    LOCALES,
    find_locale,
    format_count,
    format_date,
    format_moment,
    language_name,
    load_catalogue,
    make_translator,
    text_direction,
    to_zone,
)
from tidings.render.pages.pages import Pages
from tidings.render.palette import make_palette
from tidings.render.room.command_words import explain_answer, translate_check
from tidings.render.site_views import SiteView
from tidings.render.templates import get_template, make_environment, run_template

_FOLDER = Path(__file__).with_name("templates")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?")
"""The format of a moment in the browser's input for day and time."""
_LATIN = re.compile(r"('[^']*'|`[^`]*`|https?://[^\s']+)")
"""Addresses, quoted values and lines of files in a text of a command."""
STYLESHEET = "room.css"
SCRIPT = "room.js"
"""The script that makes some pages easier to use. Every action works without it."""


def room_languages() -> list[str]:
    """Return the languages of the room: English, and each language with a catalogue for it."""
    return ["en", *sorted(path.parts[-3] for path in LOCALES.glob("*/LC_MESSAGES/room.po"))]


@dataclass(frozen=True, slots=True)
class RoomWords:
    """The words, dates and counts of one language and time zone."""

    language: str
    zone: str

    def gettext(self, message: str, **values: Any) -> str:
        """Translate a message and put values into it."""
        text = load_catalogue(self.language, "room").gettext(message)
        return text % values if values else text

    def ngettext(self, singular: str, plural: str, n: int, **values: Any) -> str:
        """Translate a message with a count, which is `%(count)s`."""
        text = load_catalogue(self.language, "room").ngettext(singular, plural, n)
        return text % ({"count": self.count(n)} | values)

    def moment(self, moment: datetime) -> str:
        """Format day and time in the newsroom's zone, with the weekday."""
        return format_moment(moment, self.language, self.zone)

    def day(self, moment: datetime) -> str:
        """Format the day in the newsroom's zone."""
        return format_date(moment, self.language, self.zone)

    def clock(self, moment: datetime) -> str:
        """Format the time of day in the newsroom's zone."""
        return babel_time(to_zone(moment, self.zone).time(), "short", locale=find_locale(self.language))

    def countdown(self, until: datetime, now: datetime) -> str:
        """Format the remaining time: `2 days 3 hours`, or in minutes below an hour."""
        minutes = max(0, -(-int((until - now).total_seconds()) // 60))
        days, hours = minutes // 1440, minutes % 1440 // 60
        parts = [(days, "duration-day"), (hours, "duration-hour")] if minutes >= 60 else [(minutes, "duration-minute")]
        locale = find_locale(self.language)
        return " ".join(format_unit(count, unit, locale=locale) for count, unit in parts if count or unit[9] == "m")

    def short_day(self, day: date) -> str:
        """Format a day in a calendar: Mon 2."""
        return babel_date(day, "EEE d", find_locale(self.language))

    def month(self, day: date) -> str:
        """Format a month: March 2026."""
        return babel_date(day, "LLLL y", find_locale(self.language))

    def count(self, n: int) -> str:
        """Format a number with the language's separators."""
        return format_count(n, self.language)


class RoomPages:
    """Renders the templates of this folder."""

    def __init__(self) -> None:
        self._environment = make_environment(FileSystemLoader(_FOLDER), keep_trailing_newline=True)
        self._sheets: dict[str, bytes] = {}

    def stylesheet(self, site: SiteView) -> bytes:
        """Return the style sheet of the public pages, followed by the room's own rules."""
        if site.colour not in self._sheets:
            own = self._render("room.css.j2", colours=make_palette(site.colour))
            self._sheets[site.colour] = Pages().stylesheet(site) + own
        return self._sheets[site.colour]

    def script(self, name: str) -> bytes:
        """Return a script of the room."""
        return (_FOLDER.parent / "scripts" / name).read_bytes()

    def page(self, template: str, site: SiteView, words: RoomWords, room: dict[str, Any], **values: Any) -> bytes:
        """Render a page. `room` is the frame: root, csrf, member and navigation; `errors` are by field."""
        values["errors"] = defaultdict(str, values.get("errors") or {})
        version = hashlib.sha256(self.stylesheet(site)).hexdigest()[:8]
        frame = {
            "language": words.language,
            "dir": text_direction(words.language),
            "site_title": site.title,
            "site_language": site.language,
            "brand": make_palette(site.colour).brand,
            "stylesheet": f"{STYLESHEET}?v={version}",
            "languages": [
                {"language": language, "name": language_name(language), "current": language == words.language}
                for language in room_languages()
            ],
        }
        return self._render(
            template,
            room=frame | room,
            _=make_translator(words.gettext),
            ngettext=_counter(words),
            moment=words.moment,
            day=words.day,
            clock=words.clock,
            countdown=partial(_countdown, words),
            is_moment=_MOMENT.fullmatch,
            number=words.count,
            machine=partial(_machine, words.language),
            answer=partial(_answer, words.language),
            language_name=language_name,
            text_direction=text_direction,
            **values,
        )

    def _render(self, template: str, **values: Any) -> bytes:
        text = run_template(
            get_template(self._environment, template, folder="room/").render, values, file=f"room/{template}"
        )
        return text.lstrip().encode("utf-8", "replace")


def _machine(language: str, text: str) -> Markup:
    """Mark up a text of a command, in the member's language if it is translated, else in English."""
    translated = translate_check(text, language)
    place = Markup(' lang="en" dir="ltr"') if translated == text else Markup("")
    if text_direction(language) == "rtl" and translated != text:
        translated = _isolate(translated)
    return Markup('<span class="machine"{}>{}</span>').format(place, translated)


def _answer(language: str, text: str) -> Markup:
    """Mark up the answer of a network or a mail host: what it means, and its own words beside it."""
    meaning = explain_answer(text, language)
    if not meaning or translate_check(text, language) != text:
        return _machine(language, text)
    return Markup('{} <span class="machine" dir="auto">{}</span>').format(meaning, text)


def _isolate(text: str) -> Markup:
    """Keep addresses, quoted values and lines of files together, from left to right, in a text of the other way."""
    parts = [
        Markup('<bdi dir="ltr">{}</bdi>').format(part) if number % 2 else escape(part)
        for number, part in enumerate(_LATIN.split(text))
    ]
    return Markup("").join(parts)


def _countdown(words: RoomWords, until: datetime, now: datetime) -> Markup:
    """Return the remaining time, which a script keeps up to date."""
    left = words.countdown(until, now)
    return Markup('<time data-until="{}" data-now="{}">{}</time>').format(until.isoformat(), now.isoformat(), left)


def _counter(words: RoomWords) -> Callable[..., Markup]:
    def translate(singular: str, plural: str, n: int, **values: Any) -> Markup:
        return escape(words.ngettext(singular, plural, n, **values))

    return translate
