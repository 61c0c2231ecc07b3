"""What a reader may choose, in their words: lists, languages, topics, frequencies, a pause."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from tidings.config.cross_checks import served_frequencies
from tidings.config.settings import Newsroom
from tidings.render.i18n import format_date, language_name, load_catalogue

FormChoice = dict[str, Any]
PAUSES = {"0": 0, "14": 14, "30": 30, "90": 90}
"""Days of a pause, by the value in the form."""
_COMMON = ("immediately", "daily", "weekly", "monthly")


def list_frequencies(newsroom: Newsroom, names: Sequence[str]) -> list[str]:
    """What these lists are sent at, the most often first; one choice or none where there is nothing to choose."""
    found: set[str] = set()
    for name in names:
        served = served_frequencies(newsroom, name) - {"all"}
        found |= served | ({newsroom.lists[name].default_frequency} if served else set())
    return sorted(found, key=lambda one: (_COMMON.index(one) if one in _COMMON else len(_COMMON), one))


def frequency_choices(newsroom: Newsroom, names: Sequence[str], chosen: str, language: str) -> list[FormChoice]:
    """For radio buttons."""
    return [
        {"name": one, "label": frequency_label(one, language), "checked": one == chosen}
        for one in list_frequencies(newsroom, names)
    ]


def frequency_label(name: str, language: str) -> str:
    """In words; a name of the newsroom's own stands as it is."""
    gettext = load_catalogue(language).gettext
    labels = {
        "immediately": gettext("At once"),
        "daily": gettext("Every day"),
        "weekly": gettext("Every week"),
        "monthly": gettext("Every month"),
    }
    return labels.get(name, name.replace("-", " ").capitalize())


def topic_choices(newsroom: Newsroom, chosen: Collection[str], language: str) -> list[FormChoice]:
    """For checkboxes."""
    default = newsroom.site.languages[0]
    return [
        {"name": key, "label": label.get(language, default), "checked": key in chosen}
        for key, label in newsroom.topics.items()
    ]


def language_choices(newsroom: Newsroom, chosen: str) -> list[FormChoice]:
    """For radio buttons, each in its own words."""
    return [{"language": one, "name": language_name(one), "checked": one == chosen} for one in newsroom.site.languages]


def pause_choices(newsroom: Newsroom, until: datetime | None, now: datetime, language: str) -> list[FormChoice]:
    """For radio buttons: none, or until a day, the nearest first; the one that holds stands among them, once."""
    gettext = load_catalogue(language).gettext
    zone = newsroom.site.zone
    ends = {value: now + timedelta(days=days) for value, days in PAUSES.items() if days}
    if until is not None and until > now:
        same = until.astimezone(zone).date()
        ends = {value: end for value, end in ends.items() if end.astimezone(zone).date() != same}
        ends["keep"] = until
    found = [{"name": "0", "label": gettext("No pause"), "checked": "keep" not in ends}]
    for value, end in sorted(ends.items(), key=lambda one: one[1]):
        label = gettext("Until %(date)s") % {"date": format_date(end, language, newsroom.site.timezone)}
        found.append({"name": value, "label": label, "checked": value == "keep"})
    return found


def parse_pause(value: str, held: datetime | None, now: datetime) -> datetime | None:
    """The end of the pause that a form asks for."""
    if value == "keep":
        return held
    days = PAUSES.get(value, 0)
    return now + timedelta(days=days) if days else None
