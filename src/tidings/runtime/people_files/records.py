"""People as files and commands name them, and what they may choose."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tidings.config.cross_checks import served_frequencies
from tidings.config.settings import Newsroom
from tidings.model.errors import InputError, nearest
from tidings.store.people import consent


class RecordState(StrEnum):
    """What a file says of a person. `PLAIN`: nothing, so that the command says it."""

    PLAIN = ""
    CONFIRMED = "confirmed"
    PENDING = "pending"
    LEFT = "left"
    BLOCKED = "blocked"
    """Bounced or barred there: not to be mailed by any list."""


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """One line of a file, or of a command (line 0). `at`: when they agreed, or left."""

    line: int
    email: str
    name: str
    language: str
    topics: tuple[str, ...]
    frequency: str
    standing: RecordState = RecordState.PLAIN
    at: datetime | None = None
    ip: str = ""
    source: str = ""
    """Where the consent comes from; empty: what the command says."""
    cells: tuple[str, ...] = ()
    """As they stand in the file."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that cannot be taken, and why."""

    line: int
    reason: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListChoices:
    """What may be chosen on one list, looked up once for a whole file."""

    languages: tuple[str, ...]
    topics: Mapping[str, object] = field(repr=False)
    frequencies: frozenset[str]
    frequency: str

    @classmethod
    def of(cls, newsroom: Newsroom, list_name: str) -> ListChoices:
        """Those of a list."""
        served = served_frequencies(newsroom, list_name)
        default = newsroom.lists[list_name].default_frequency
        return cls(
            newsroom.site.languages, newsroom.topics, frozenset() if "all" in served else frozenset(served), default
        )

    def checked(self, person: PersonRecord) -> PersonRecord:
        """The person with the defaults, the address normal. Raises InputError for what nobody could serve.

        A default that nobody serves is no choice of theirs: `tidings check` names it.
        """
        if person.language and person.language not in self.languages:
            raise InputError(f"unknown language {person.language!r}. {nearest(person.language, self.languages)}")
        for topic in person.topics:
            if topic not in self.topics:
                raise InputError(f"unknown topic {topic!r}. {nearest(topic, self.topics)}")
        if person.frequency and self.frequencies and person.frequency not in self.frequencies:
            known = nearest(person.frequency, self.frequencies)
            raise InputError(f"no schedule serves the frequency {person.frequency!r}. {known}")
        name = " ".join(person.name.split())
        if len(name) > _LONGEST_NAME:
            raise InputError(f"the name has {len(name):,} characters; {_LONGEST_NAME} at most")
        if not name.isprintable() and any(unicodedata.category(ch) == "Cc" for ch in name):
            raise InputError("the name has an invisible character in it")
        return replace(
            person,
            email=consent.normal_address(person.email),
            name=name,
            language=person.language or self.languages[0],
            frequency=person.frequency or self.frequency,
        )


_LONGEST_NAME = 200


def validate_person(newsroom: Newsroom, list_name: str, person: PersonRecord) -> PersonRecord:
    """One person, checked against the choices of a list."""
    return ListChoices.of(newsroom, list_name).checked(person)
