"""Exports of other mailing tools. People who left or bounced there become suppressions here.

Consent dates and IP addresses are kept. Labels become topics if the names agree; the other labels are counted.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.render.i18n import find_language
from tidings.runtime.people_files.csv_format import (
    AS_IT_LOOKS,
    PeopleFile,
    StatusChoice,
    fold_name,
    join_names,
    parse_columns,
    parse_time,
    read_table,
)
from tidings.runtime.people_files.csv_reader import MAX_LENGTH, CsvRow, LineReader
from tidings.runtime.people_files.person_record import PersonRecord, RecordState, RefusedLine
from tidings.runtime.people_files.status_columns import ColumnKind, StatusColumn, fold_value, worst


def read_other_tool(path: Path, tool: str, newsroom: Newsroom, choice: StatusChoice = AS_IT_LOOKS) -> PeopleFile:
    """Open the export of a tool. Raises InputError."""
    if tool == "mailman3":
        return _read_mailman3(path)
    form = _FORMATS[tool](newsroom, path)
    file = read_table(path, form, choice)
    if isinstance(form, _StatusFormat) and not choice.column:
        form.check_header(path, file.header)
    file.labels = form.labels
    return file


class _ToolFormat:
    """The common part of the tools' formats."""

    columns: ClassVar[Mapping[str, tuple[str, ...]]]
    ignores: ClassVar[bool] = True

    def __init__(self, newsroom: Newsroom, path: Path) -> None:
        self.labels: Counter[str] = Counter()
        self._file_name = path.name.casefold()
        self._languages = newsroom.site.languages
        self._topics: dict[str, str] = {}
        for name, title in newsroom.topics.items():
            for label in (name, title.default, *title.by_language.values()):
                self._topics[fold_name(label)] = name

    def _language(self, text: str) -> str:
        """Return the language of a locale such as `pt_BR` or of a name, or '' if nothing is published in it."""
        return find_language(text, self._languages)

    def _topics_of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return the topics whose name, or title in any language, is among the labels."""
        topics = []
        for label in labels:
            if topic := self._topics.get(fold_name(label)):
                topics.append(topic)
            elif label.strip():
                self.labels[label.strip()] += 1
        return tuple(dict.fromkeys(topics))

    def parse(self, row: CsvRow, cells: Mapping[str, str]) -> PersonRecord:
        """Return the person of a row. Raises InputError."""
        raise NotImplementedError

    def _person(
        self,
        row: CsvRow,
        cells: Mapping[str, str],
        state: RecordState,
        time_column: str,
        *,
        language: str = "",
        labels: Iterable[str] = (),
        ip: str = "",
    ) -> PersonRecord:
        return PersonRecord(
            line=row.line,
            email=cells["email"],
            name=cells.get("name") or join_names(cells),
            language=self._language(language),
            topics=self._topics_of(labels),
            frequency="",
            state=state,
            at=parse_time(cells.get(fold_name(time_column), ""), time_column) if time_column else None,
            ip=ip,
            cells=tuple(row.cells),
        )


class Listmonk(_ToolFormat):
    """`subscribers.csv`: uuid, email, name, attributes (JSON), status, created_at, updated_at.

    Source: listmonk, cmd/subscribers.go, `ExportSubscribers`. `status` is enabled, disabled or blocklisted. The file
    has no `subscription_status` (unconfirmed, confirmed, unsubscribed) unless the export's own query added it.
    """

    columns = parse_columns(
        "email name attributes|attribs status|subscriberstatus createdat|subscribedat updatedat subscriptionstatus"
    )

    def parse(self, row: CsvRow, cells: Mapping[str, str]) -> PersonRecord:
        status = cells.get("status", "").casefold()
        if status not in ("", "enabled", "disabled", "blocklisted"):
            raise InputError(f"unknown status {status!r}. listmonk has: enabled, disabled, blocklisted")
        if status == "disabled":
            raise InputError("is disabled in listmonk: no list mailed this address")
        states = {
            "confirmed": RecordState.CONFIRMED,
            "unconfirmed": RecordState.PENDING,
            "unsubscribed": RecordState.LEFT,
        }
        state = states.get(cells.get("subscriptionstatus", "").casefold(), RecordState.UNKNOWN)
        if status == "blocklisted":
            state = RecordState.BLOCKED
        attributes = self._attributes(cells.get("attributes", ""))
        language = next((str(attributes[key]) for key in ("language", "lang", "locale") if attributes.get(key)), "")
        labels = [str(label) for key in ("topics", "tags") for label in _as_list(attributes.get(key))]
        time_column = "updated_at" if state in (RecordState.LEFT, RecordState.BLOCKED) else "created_at"
        return self._person(row, cells, state, time_column, language=language, labels=labels)

    @staticmethod
    def _attributes(text: str) -> Mapping[str, object]:
        try:
            attributes = json.loads(text or "{}")
        except (ValueError, RecursionError):
            raise InputError("the attributes are not JSON") from None
        return attributes if isinstance(attributes, dict) else {}


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


class Mailchimp(_ToolFormat):
    """`subscribed_`, `unsubscribed_` and `cleaned_members_export_*.csv` of an audience.

    Source: Mailchimp help, 'View or Export Contacts' (About your export file). Times are UTC. The merge fields can be
    renamed; these are the default names. TAGS are quoted names with commas between. Cleaned addresses have bounced.
    """

    columns = parse_columns(
        "email|emailaddress first|firstname|fname last|lastname|lname name|fullname "
        "language|lang|preferredlanguage optintime optinip confirmtime confirmip unsubtime cleantime tags"
    )

    def parse(self, row: CsvRow, cells: Mapping[str, str]) -> PersonRecord:
        """Parse a row. With single opt-in it has only a CONFIRM_TIME, with double opt-in also an OPTIN_TIME."""
        if self._file_name.startswith("nonsubscribed_"):
            raise InputError("never agreed to anything: Mailchimp calls them non-subscribed")
        state, time_column = RecordState.CONFIRMED, "CONFIRM_TIME" if cells.get("confirmtime") else "OPTIN_TIME"
        if cells.get("cleantime") or self._file_name.startswith("cleaned_"):
            state, time_column = RecordState.BLOCKED, "CLEAN_TIME"
        elif cells.get("unsubtime") or self._file_name.startswith("unsubscribed_"):
            state, time_column = RecordState.LEFT, "UNSUB_TIME"
        try:
            tags = next(csv.reader([cells.get("tags", "")], skipinitialspace=True), [])
        except csv.Error:
            raise InputError("the TAGS cannot be read") from None
        ip = cells.get("confirmip") or cells.get("optinip", "")
        return self._person(row, cells, state, time_column, language=cells.get("language", ""), labels=tags, ip=ip)


class Ghost(_ToolFormat):
    """`members.csv`: id, email, name, note, subscribed_to_emails, ..., created_at, deleted_at, labels, tiers.

    Source: Ghost, members-csv/lib/unparse.js. Members who get no e-mails there have left. Commas separate labels.
    """

    columns = parse_columns("email name subscribedtoemails|subscribed createdat deletedat labels")

    def parse(self, row: CsvRow, cells: Mapping[str, str]) -> PersonRecord:
        subscribed = cells.get("subscribedtoemails", "true").casefold()
        if subscribed not in ("true", "false", "1", "0"):
            raise InputError(f"subscribed_to_emails is {subscribed!r}. It must be true or false")
        has_left = subscribed in ("false", "0") or bool(cells.get("deletedat"))
        state = RecordState.LEFT if has_left else RecordState.CONFIRMED
        time_column = "deleted_at" if has_left else "created_at"
        return self._person(row, cells, state, time_column, labels=cells.get("labels", "").split(","))


class _StatusFormat(_ToolFormat):
    """A tool whose export says in a few columns who may be mailed."""

    statuses: ClassVar[Mapping[str, ColumnKind]]
    """These columns, by their name in `columns`."""
    words: ClassVar[Mapping[str, RecordState]] = {}
    """Values that mean something else here than elsewhere."""
    otherwise: ClassVar[RecordState] = RecordState.CONFIRMED
    """The state if no column says that they left. UNKNOWN: the export does not say whether they agreed."""
    joined: ClassVar[str] = "createdat"
    left: ClassVar[str] = ""

    def check_header(self, path: Path, header: Iterable[str]) -> None:
        """Raise InputError if the file lacks every column that says who may be mailed."""
        names = {fold_name(name) for name in header}
        known = [{column, *self.columns[column]} for column in self.statuses]
        if not any(names & each for each in known):
            columns = " or ".join(self.statuses)
            raise InputError(
                f"{path}: no column says who has left ({columns}). Export it again with this column, or name yours: "
                "--status-column NAME --left VALUE"
            )

    def parse(self, row: CsvRow, cells: Mapping[str, str]) -> PersonRecord:
        states = [self._read(column, kind, cells[column]) for column, kind in self.statuses.items() if column in cells]
        state = worst(states)
        is_away = state in (RecordState.LEFT, RecordState.BLOCKED)
        time_column = self.left if is_away else self.joined
        try:
            at = parse_time(cells.get(time_column, ""), time_column) if time_column else None
        except InputError:
            at = None
        person = self._person(row, cells, state or self.otherwise, "", language=cells.get("language", ""))
        return replace(person, at=at)

    def _read(self, column: str, kind: ColumnKind, cell: str) -> RecordState:
        state = self.words.get(fold_value(cell), StatusColumn(0, column, kind).read(cell))
        if state is None:
            raise InputError(
                f"unknown value {cell!r} in the column {column}" if cell else f"the column {column} is empty"
            )
        return state


class MailPoet(_StatusFormat):
    """Source: MailPoet, Export: email, first and last name, list, global status, list status.

    `inactive` only means that they have not opened a mail recently.
    """

    columns = parse_columns(
        "email first|firstname last|lastname globalstatus liststatus|status|subscriberstatus createdat|subscribedon"
    )
    statuses: ClassVar[Mapping[str, ColumnKind]] = {"globalstatus": ColumnKind.STATE, "liststatus": ColumnKind.STATE}
    words: ClassVar[Mapping[str, RecordState]] = {"inactive": RecordState.UNKNOWN}


class Keila(_StatusFormat):
    """Source: Keila, contacts export. `Status` is active, unsubscribed or unreachable."""

    columns = parse_columns("email first|firstname last|lastname status createdat|insertedat")
    statuses: ClassVar[Mapping[str, ColumnKind]] = {"status": ColumnKind.STATE}


class Brevo(_StatusFormat):
    """Source: Brevo, contacts export. `EMAIL_BLACKLISTED` is 1 for everybody who left, complained or bounced."""

    columns = parse_columns(
        "email first|firstname|prenom|vorname last|lastname|nom|nachname emailblacklisted|emailblocklisted|blacklisted"
        "|blocklisted language|lang|langue|sprache createdat|addedtime"
    )
    statuses: ClassVar[Mapping[str, ColumnKind]] = {"emailblacklisted": ColumnKind.AWAY}
    otherwise = RecordState.UNKNOWN


class Substack(_StatusFormat):
    """Source: Substack, subscribers export. `active_subscription` is about payment, `email_disabled` about mail."""

    columns = parse_columns("email name emaildisabled createdat")
    statuses: ClassVar[Mapping[str, ColumnKind]] = {"emaildisabled": ColumnKind.AWAY}


class Mautic(_StatusFormat):
    """Source: Mautic, contacts export. Who must not be mailed is a column only if it was chosen for the export."""

    columns = parse_columns(
        "email first|firstname last|lastname donotcontact|dnc|dncemail|donotemail unsubscribed bounced|isbounced "
        "preferredlocale|language|locale createdat|dateadded|dateidentified"
    )
    statuses: ClassVar[Mapping[str, ColumnKind]] = {
        "donotcontact": ColumnKind.AWAY,
        "unsubscribed": ColumnKind.AWAY,
        "bounced": ColumnKind.BLOCKED,
    }
    otherwise = RecordState.UNKNOWN


class PhpList(_StatusFormat):
    """Source: phpList, export of subscribers: `confirmed`, `blacklisted` and `disabled` are 0 or 1."""

    columns = parse_columns("email name confirmed blacklisted disabled createdat|entered")
    statuses: ClassVar[Mapping[str, ColumnKind]] = {
        "confirmed": ColumnKind.CONFIRMED,
        "blacklisted": ColumnKind.AWAY,
        "disabled": ColumnKind.AWAY,
    }

    def check_header(self, path: Path, header: Iterable[str]) -> None:
        super().check_header(path, header)
        if "blacklisted" not in {fold_name(name) for name in header}:
            raise InputError(f"{path}: the column `blacklisted` is missing. Choose it too when you export.")


class ConstantContact(_StatusFormat):
    """Source: Constant Contact, contacts export. An empty status and 'No permissions set' mean no consent."""

    columns = parse_columns(
        "email|emailaddress|emailaddressother|emailaddresswork|emailaddresshome first|firstname last|lastname "
        "emailstatus|status|emailstatusother|emailstatuswork|emailstatushome|emailpermissionstatus|contactstatus "
        "optoutdate|emailoptoutdate|unsubscribedat|optedoutdate createdat|datecreated|createdon"
    )
    statuses: ClassVar[Mapping[str, ColumnKind]] = {"emailstatus": ColumnKind.STATE, "optoutdate": ColumnKind.AWAY}
    words: ClassVar[Mapping[str, RecordState]] = {
        "temphold": RecordState.UNKNOWN,
        "implicit": RecordState.UNKNOWN,
        "explicit": RecordState.UNKNOWN,
    }
    left = "optoutdate"

    def _read(self, column: str, kind: ColumnKind, cell: str) -> RecordState:
        if column == "emailstatus" and fold_value(cell) in ("", "nopermissionsset", "nonsubscriber"):
            raise InputError("never agreed to anything: Constant Contact has no permission for this address")
        return super()._read(column, kind, cell)


_FORMATS: Mapping[str, type[_ToolFormat]] = {
    "brevo": Brevo,
    "constantcontact": ConstantContact,
    "ghost": Ghost,
    "keila": Keila,
    "mailpoet": MailPoet,
    "mautic": Mautic,
    "phplist": PhpList,
    "substack": Substack,
    "listmonk": Listmonk,
    "mailchimp": Mailchimp,
}


def _read_mailman3(path: Path) -> PeopleFile:
    """Read the output of `mailman members LIST`: `Anne Person <anne@example.com>` or an address on each line.

    Source: Mailman Core, commands/docs/members.rst. Postorius exports the same without names. Neither has dates.
    """
    file = PeopleFile((), ())

    def read_people() -> Iterator[PersonRecord | RefusedLine]:
        with LineReader(path) as lines:
            for number, raw in enumerate(lines, 1):
                lines.begin_row()
                file.position = lines.position()
                text = raw.strip()
                cells = (text[:200],)
                if len(raw) >= MAX_LENGTH:
                    yield RefusedLine(number, f"the line is longer than {MAX_LENGTH:,} characters", cells)
                elif text.endswith("has no members"):
                    return
                elif text:
                    name, bracket, address = text.rpartition("<") if text.endswith(">") else ("", "", text)
                    yield PersonRecord(
                        line=number,
                        email=address.removesuffix(">") if bracket else address,
                        name=name.strip().strip('"'),
                        language="",
                        topics=(),
                        frequency="",
                        state=RecordState.CONFIRMED,
                        cells=cells,
                    )

    file.people = read_people()
    return file
