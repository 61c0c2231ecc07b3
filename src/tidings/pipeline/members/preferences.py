"""The preferences of a subscriber: the stored profile, and the choices in forms."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from tidings.config.cross_checks import served_frequencies
from tidings.config.settings import Newsroom
from tidings.render.i18n import format_date, language_name, load_catalogue
from tidings.store.people import subscribers
from tidings.store.people.subscribers import Subscriber

FormChoice = dict[str, Any]
PAUSES = {"0": 0, "14": 14, "30": 30, "90": 90}
"""Days of a pause, by the value in the form."""
_COMMON = ("immediately", "daily", "weekly", "monthly")


@dataclass(frozen=True, slots=True)
class SubscriberProfile:
    """A subscriber with their confirmed subscriptions."""

    person: Subscriber
    subscriptions: tuple[subscribers.Subscription, ...]
    paused_until: datetime | None

    @property
    def masked(self) -> str:
        """The address with most letters hidden, because others may have the link. Only its owner recognises it."""
        local, _, domain = self.person.address.rpartition("@")
        return f"{local[:1]}…@{domain}"


def load_profile(connection: Connection, subscriber: int) -> SubscriberProfile | None:
    """Load a profile. Returns None if the person was erased."""
    person = subscribers.find_by_id(connection, subscriber)
    if person is None:
        return None
    confirmed = tuple(
        subscription
        for subscription in subscribers.subscriptions(connection, address=person.address)
        if subscription.state == subscribers.CONFIRMED
    )
    return SubscriberProfile(person, confirmed, subscribers.paused_until(connection, subscriber))


def list_frequencies(newsroom: Newsroom, names: Sequence[str]) -> list[str]:
    """Return the frequencies at which these lists are sent, the most frequent first."""
    frequencies: set[str] = set()
    for name in names:
        served = served_frequencies(newsroom, name) - {"all"}
        frequencies |= served | ({newsroom.lists[name].default_frequency} if served else set())
    return sorted(frequencies, key=lambda name: (_COMMON.index(name) if name in _COMMON else len(_COMMON), name))


def frequency_choices(newsroom: Newsroom, names: Sequence[str], chosen: str, language: str) -> list[FormChoice]:
    """Return the frequencies of these lists as radio buttons."""
    return [
        {"name": name, "label": _own_label(newsroom, names, name, language), "checked": name == chosen}
        for name in list_frequencies(newsroom, names)
    ]


def _own_label(newsroom: Newsroom, lists: Sequence[str], name: str, language: str) -> str:
    """Return the label that the first of these lists gives to a frequency, else Tidings' own."""
    labels = (newsroom.lists[list_name].frequencies.get(name) for list_name in lists)
    label = next((label for label in labels if label is not None), None)
    return frequency_label(name, language) if label is None else label.get(language, newsroom.site.languages[0])


def frequency_label(name: str, language: str) -> str:
    """Return the label of a frequency. One without a label is shown by its name."""
    gettext = load_catalogue(language).gettext
    labels = {
        "immediately": gettext("At once"),
        "daily": gettext("Every day"),
        "weekly": gettext("Every week"),
        "monthly": gettext("Every month"),
    }
    return labels.get(name, name.replace("-", " ").capitalize())


def topic_choices(newsroom: Newsroom, chosen: Collection[str], language: str) -> list[FormChoice]:
    """Return the topics as checkboxes."""
    default = newsroom.site.languages[0]
    return [
        {"name": key, "label": label.get(language, default), "checked": key in chosen}
        for key, label in newsroom.topics.items()
    ]


def language_choices(newsroom: Newsroom, chosen: str) -> list[FormChoice]:
    """Return the languages of the site as radio buttons, each in its own language."""
    return [
        {"language": language, "name": language_name(language), "checked": language == chosen}
        for language in newsroom.site.languages
    ]


def pause_choices(newsroom: Newsroom, until: datetime | None, now: datetime, language: str) -> list[FormChoice]:
    """Return radio buttons: no pause, or a pause until a day. The present pause is included."""
    gettext = load_catalogue(language).gettext
    zone = newsroom.site.zone
    ends = {value: now + timedelta(days=days) for value, days in PAUSES.items() if days}
    if until is not None and until > now:
        same = until.astimezone(zone).date()
        ends = {value: end for value, end in ends.items() if end.astimezone(zone).date() != same}
        ends["keep"] = until
    choices = [{"name": "0", "label": gettext("No pause"), "checked": "keep" not in ends}]
    for value, end in sorted(ends.items(), key=lambda item: item[1]):
        label = gettext("Until %(date)s") % {"date": format_date(end, language, newsroom.site.timezone)}
        choices.append({"name": value, "label": label, "checked": value == "keep"})
    return choices


def parse_pause(value: str, present: datetime | None, now: datetime) -> datetime | None:
    """Return the end of the pause that a form asks for."""
    if value == "keep":
        return present
    days = PAUSES.get(value, 0)
    return now + timedelta(days=days) if days else None
