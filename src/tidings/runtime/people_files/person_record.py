"""People as files and commands describe them, and what they may choose on a list."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tidings.config.cross_checks import served_frequencies
from tidings.config.settings import Newsroom
from tidings.model.errors import InputError, nearest
from tidings.render.i18n import find_language
from tidings.store.people import consent

_MAX_NAME = 200


class RecordState(StrEnum):
    """The state of a subscription in a file."""

    UNKNOWN = ""
    """The file has no state: the command decides."""
    CONFIRMED = "confirmed"
    PENDING = "pending"
    LEFT = "left"
    BLOCKED = "blocked"
    """The address bounced or was blocked in the other tool: no list may mail it."""


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """One line of a file, or the arguments of a command (line 0)."""

    line: int
    email: str
    name: str
    language: str
    topics: tuple[str, ...]
    frequency: str
    state: RecordState = RecordState.UNKNOWN
    at: datetime | None = None
    """When the person agreed or left."""
    ip: str = ""
    source: str = ""
    """Where the consent comes from. Empty: use the source that the command names."""
    cells: tuple[str, ...] = ()
    """The values as written in the file."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that is not imported, and the reason."""

    line: int
    reason: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListChoices:
    """The languages, topics and frequencies of one list, looked up once for a whole file."""

    languages: tuple[str, ...]
    topics: Mapping[str, object] = field(repr=False)
    frequencies: frozenset[str]
    """Empty if schedules serve every frequency."""
    default_frequency: str

    @classmethod
    def of(cls, newsroom: Newsroom, list_name: str) -> ListChoices:
        served = frozenset(served_frequencies(newsroom, list_name))
        return cls(
            newsroom.site.languages,
            newsroom.topics,
            frozenset() if "all" in served else served,
            newsroom.lists[list_name].default_frequency,
        )

    def validate(self, person: PersonRecord) -> PersonRecord:
        """Return the person with defaults and a normal address. Raises InputError for a choice that is not offered.

        The list's default frequency is not checked here: `tidings check` reports one that no schedule serves.
        """
        language = find_language(person.language, self.languages) if person.language else self.languages[0]
        if not language:
            raise InputError(f"unknown language {person.language!r}. {nearest(person.language, self.languages)}")
        for topic in person.topics:
            if topic not in self.topics:
                raise InputError(f"unknown topic {topic!r}. {nearest(topic, self.topics)}")
        if person.frequency and self.frequencies and person.frequency not in self.frequencies:
            known = nearest(person.frequency, self.frequencies)
            raise InputError(f"no schedule serves the frequency {person.frequency!r}. {known}")
        name = " ".join(person.name.split())
        if len(name) > _MAX_NAME:
            raise InputError(f"the name has {len(name):,} characters. {_MAX_NAME} are allowed")
        if not name.isprintable() and any(unicodedata.category(letter) == "Cc" for letter in name):
            raise InputError("the name contains an invisible character")
        return replace(
            person,
            email=consent.normal_address(person.email),
            name=name,
            language=language,
            frequency=person.frequency or self.default_frequency,
        )
