"""Readers of other tools, as those tools export them. Who left or bounced there becomes a suppression here.

Consent dates and addresses (IP) are kept. Labels become topics where the names agree; the others are counted.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.runtime.people_files.csv_format import PeopleFile, fold_name, parse_time, read_table
from tidings.runtime.people_files.csv_records import LONGEST, Lines, Record
from tidings.runtime.people_files.records import PersonRecord, RecordState, RefusedLine


def read_foreign(path: Path, tool: str, newsroom: Newsroom) -> PeopleFile:
    """The export of a tool as people."""
    if tool == "mailman3":
        return _read_mailman3(path)
    form = _FORMATS[tool](newsroom, path)
    reading = read_table(path, form)
    reading.labels = form.labels
    return reading


class _Foreign:
    """What the tables have in common."""

    columns: ClassVar[Mapping[str, tuple[str, ...]]]
    ignores: ClassVar[bool] = True

    def __init__(self, newsroom: Newsroom, path: Path) -> None:
        self.labels: Counter[str] = Counter()
        self.file = path.name.casefold()
        self._languages = newsroom.site.languages
        self._topics: dict[str, str] = {}
        for name, title in newsroom.topics.items():
            for known in (name, title.default, *title.by_language.values()):
                self._topics[fold_name(known)] = name

    def language(self, text: str) -> str:
        """`pt_BR` and `pt-BR` are pt; one in which nothing is published is none."""
        code = re.split(r"[_-]", text.strip().casefold())[0]
        return code if code in self._languages else ""

    def topics(self, labels: Iterator[str] | list[str]) -> tuple[str, ...]:
        """Labels whose name is that of a topic, or its title in any language."""
        found = []
        for label in labels:
            if topic := self._topics.get(fold_name(label)):
                found.append(topic)
            elif label.strip():
                self.labels[label.strip()] += 1
        return tuple(dict.fromkeys(found))


class Listmonk(_Foreign):
    """`subscribers.csv`: uuid, email, name, attributes (JSON), status, created_at, updated_at.

    listmonk, cmd/subscribers.go, `ExportSubscribers`. `status` is enabled, disabled or blocklisted; whether a person
    has confirmed is known of each list (`subscription_status`: unconfirmed, confirmed, unsubscribed) and stands in the
    file only if a query of one's own put it there. The export can be filtered by it.
    """

    columns: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "email": (),
        "name": (),
        "attributes": ("attribs",),
        "status": ("subscriberstatus",),
        "createdat": ("subscribedat",),
        "updatedat": (),
        "subscriptionstatus": (),
    }

    def person(self, record: Record, cells: Mapping[str, str]) -> PersonRecord:
        """Enabled ones are confirmed if the file or the command says so."""
        status = cells.get("status", "").casefold()
        here = cells.get("subscriptionstatus", "").casefold()
        if status not in ("", "enabled", "disabled", "blocklisted"):
            raise InputError(f"unknown status {status!r}. Known of listmonk: enabled, disabled, blocklisted")
        if status == "disabled":
            raise InputError("is disabled in listmonk: it was mailed by no list there")
        standing = {
            "confirmed": RecordState.CONFIRMED,
            "unconfirmed": RecordState.PENDING,
            "unsubscribed": RecordState.LEFT,
        }.get(here, RecordState.PLAIN)
        if status == "blocklisted":
            standing = RecordState.BLOCKED
        told = self._attributes(cells.get("attributes", ""))
        language = next((str(told[key]) for key in ("language", "lang", "locale") if told.get(key)), "")
        labels = [str(label) for key in ("topics", "tags") for label in _listed(told.get(key))]
        left = standing in (RecordState.LEFT, RecordState.BLOCKED)
        return PersonRecord(
            line=record.line,
            email=cells["email"],
            name=cells.get("name", ""),
            language=self.language(language),
            topics=self.topics(labels),
            frequency="",
            standing=standing,
            at=parse_time(cells.get("updatedat" if left else "createdat", ""), "updated_at" if left else "created_at"),
            cells=tuple(record.cells),
        )

    @staticmethod
    def _attributes(text: str) -> Mapping[str, object]:
        try:
            told = json.loads(text or "{}")
        except (ValueError, RecursionError):
            raise InputError("the attributes are no JSON") from None
        return told if isinstance(told, dict) else {}


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


class Mailchimp(_Foreign):
    """`subscribed_`, `unsubscribed_`, `cleaned_members_export_*.csv` of an audience.

    Mailchimp help, 'View or Export Contacts' (About your export file). Times are UTC; the merge fields have names of
    their own, of which the first ones are these by default. TAGS are quoted names with commas between. Cleaned
    addresses have bounced.
    """

    columns: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "email": ("emailaddress",),
        "first": ("firstname", "fname"),
        "last": ("lastname", "lname"),
        "name": ("fullname",),
        "language": ("lang", "preferredlanguage"),
        "optintime": (),
        "optinip": (),
        "confirmtime": (),
        "confirmip": (),
        "unsubtime": (),
        "cleantime": (),
        "tags": (),
    }

    def person(self, record: Record, cells: Mapping[str, str]) -> PersonRecord:
        """A member of the audience: single opt-in has no OPTIN_TIME, both have a CONFIRM_TIME."""
        if self.file.startswith("nonsubscribed_"):
            raise InputError("never agreed to anything: Mailchimp calls them non-subscribed")
        standing = RecordState.CONFIRMED
        at = parse_time(cells.get("confirmtime", ""), "CONFIRM_TIME") or parse_time(
            cells.get("optintime", ""), "OPTIN_TIME"
        )
        if cells.get("cleantime") or self.file.startswith("cleaned_"):
            standing, at = RecordState.BLOCKED, parse_time(cells.get("cleantime", ""), "CLEAN_TIME")
        elif cells.get("unsubtime") or self.file.startswith("unsubscribed_"):
            standing, at = RecordState.LEFT, parse_time(cells.get("unsubtime", ""), "UNSUB_TIME")
        try:
            tags = next(csv.reader([cells.get("tags", "")], skipinitialspace=True), [])
        except csv.Error:
            raise InputError("the TAGS cannot be read") from None
        return PersonRecord(
            line=record.line,
            email=cells["email"],
            name=cells.get("name") or " ".join(filter(None, (cells.get("first"), cells.get("last")))),
            language=self.language(cells.get("language", "")),
            topics=self.topics(tags),
            frequency="",
            standing=standing,
            at=at,
            ip=cells.get("confirmip") or cells.get("optinip", ""),
            cells=tuple(record.cells),
        )


class Ghost(_Foreign):
    """`members.csv`: id, email, name, note, subscribed_to_emails, ..., created_at, deleted_at, labels, tiers.

    Ghost, members-csv/lib/unparse.js. Who is not subscribed to e-mails there has left; labels stand between commas.
    """

    columns: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "email": (),
        "name": (),
        "subscribedtoemails": ("subscribed",),
        "createdat": (),
        "deletedat": (),
        "labels": (),
    }

    def person(self, record: Record, cells: Mapping[str, str]) -> PersonRecord:
        """A member."""
        wanted = cells.get("subscribedtoemails", "true").casefold()
        if wanted not in ("true", "false", "1", "0"):
            raise InputError(f"subscribed_to_emails is {wanted!r}; it is true or false")
        left = wanted in ("false", "0") or bool(cells.get("deletedat"))
        column = "deleted_at" if left else "created_at"
        return PersonRecord(
            line=record.line,
            email=cells["email"],
            name=cells.get("name", ""),
            language="",
            topics=self.topics(cells.get("labels", "").split(",")),
            frequency="",
            standing=RecordState.LEFT if left else RecordState.CONFIRMED,
            at=parse_time(cells.get(fold_name(column), ""), column),
            cells=tuple(record.cells),
        )


_FORMATS: Mapping[str, Callable[[Newsroom, Path], Ghost | Listmonk | Mailchimp]] = {
    "ghost": Ghost,
    "listmonk": Listmonk,
    "mailchimp": Mailchimp,
}


def _read_mailman3(path: Path) -> PeopleFile:
    """What `mailman members LIST` prints: `Anne Person <anne@example.com>` or a bare address, one a line.

    Mailman Core, commands/docs/members.rst. Postorius' export is the same without names. It has no dates.
    """
    reading = PeopleFile((), ())

    def people() -> Iterator[PersonRecord | RefusedLine]:
        with Lines(path) as lines:
            while (line := lines.take()) is not None:
                reading.position = lines.position()
                text = line.text.strip()
                cells = (text[:200],)
                if len(line.text) >= LONGEST:
                    yield RefusedLine(line.number, f"it is longer than {LONGEST:,} characters", cells)
                elif text.endswith("has no members"):
                    return
                elif text:
                    name, opened_at, address = text.rpartition("<") if text.endswith(">") else ("", "", text)
                    yield PersonRecord(
                        line=line.number,
                        email=address.removesuffix(">") if opened_at else address,
                        name=name.strip().strip('"'),
                        language="",
                        topics=(),
                        frequency="",
                        standing=RecordState.CONFIRMED,
                        cells=cells,
                    )

    reading.people = people()
    return reading
