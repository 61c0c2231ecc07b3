"""Read and write CSV files of people. Columns are found by name, in any order; other tools' formats can be read."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Protocol

from tidings.model.dates import format_utc, parse_moment
from tidings.model.errors import InputError
from tidings.model.text import format_csv_line
from tidings.runtime.people_files.csv_reader import CsvRow, LineReader, read_rows
from tidings.runtime.people_files.person_record import PersonRecord, RecordState, RefusedLine
from tidings.runtime.people_files.status_columns import (
    ColumnKind,
    StatusColumn,
    check_values,
    find_status_columns,
    fold_value,
    worst,
)
from tidings.store.engine import Store
from tidings.store.people import subscribers

COLUMNS = ("email", "name", "language", "topics", "frequency")
_MORE_COLUMNS = ("list", "state", "source", "confirmed_at", "left_at")
"""Columns that `export --all` adds."""
REASON = "reason"
"""Column of a file of refused lines."""


def parse_columns(text: str) -> Mapping[str, tuple[str, ...]]:
    """Parse `name|synonym name|synonym|synonym`, with names as `fold_name` returns them."""
    return {name: tuple(synonyms) for name, *synonyms in (column.split("|") for column in text.split())}


_COLUMNS = parse_columns(
    "email|emailaddress|mail|address|contactemail|subscriberemail|primaryemail|useremail|workemail|emailadresse"
    "|mailadresse|adresseemail|adressemail|adressedemessagerie|courriel|correoelectrónico|correo"
    "|direccióndecorreo|direccióndecorreoelectrónico|endereçodeemail|indirizzoemail|eposta|epost|email1"
    "|электроннаяпочта|адресэлектроннойпочты|почта|элпочта|имейл|электронныйадрес|emailадрес|адресemail"
    "|электрондықпошта|поштамекенжайы|البريدالإلكتروني|البريد|بريد|电子邮件|電子郵件|邮箱|电子邮箱|邮箱地址"
    "|电子邮件地址|メールアドレス "
    "name|fullname|имя|фио|имяифамилия|аты|атыжөні|nombrecompleto|nomcomplet|姓名|الاسم "
    "first|firstname|givenname|fname|vorname|prénom|prenom|nombre "
    "last|lastname|surname|familyname|lname|фамилия|тегі|nachname|nom|apellido|apellidos "
    "language|lang|locale|язык|тілі|тіл|sprache|langue|idioma|语言|語言|اللغة "
    "topics|topic|interests|темы|тема|тақырыптар|themen|thèmes|temas "
    "frequency|частота|периодичность|жиілігі|жиілік|häufigkeit|fréquence|frecuencia"
    " list state source confirmedat leftat"
)


def fold_name(name: str) -> str:
    """Return a column's name without case, spaces, hyphens, dots and underscores."""
    return re.sub(r"[\s_\-.]", "", unicodedata.normalize("NFC", name)).casefold()


class FileFormat(Protocol):
    """The columns of one kind of file, and how a row becomes a person."""

    columns: ClassVar[Mapping[str, tuple[str, ...]]]
    """Names and their synonyms, all as `fold_name` returns them. `email` is always one of the names."""
    ignores: ClassVar[bool]
    """Whether unknown columns may resemble known ones, because other tools have many columns. Their format says which
    column tells who has left."""

    def parse(self, row: CsvRow, cells: Mapping[str, str]) -> PersonRecord:
        """Return the person of a row. Raises InputError."""


@dataclass
class PeopleFile:
    """A file that is being read."""

    header: tuple[str, ...]
    """The columns as written, empty without a header."""
    ignored: tuple[str, ...]
    """Columns that are not used."""
    people: Iterator[PersonRecord | RefusedLine] = field(default_factory=lambda: iter(()))
    position: int = 0
    """Bytes read so far."""
    labels: Counter[str] = field(default_factory=Counter)
    """Counts of another tool's labels that do not match a topic."""


@dataclass(frozen=True, slots=True)
class StatusChoice:
    """What a person says about the columns that may tell who has left."""

    column: str = ""
    left: tuple[str, ...] = ()
    """The values of `column` that mean this."""
    ignored: tuple[str, ...] = ()
    """Columns that mean something else."""


AS_IT_LOOKS = StatusChoice()


def read_table(path: Path, form: FileFormat, choice: StatusChoice = AS_IT_LOOKS) -> PeopleFile:
    """Open a CSV whose first row names the columns. Raises InputError, also if it is unclear who has left."""
    delimiter, header = _read_header(path)
    columns, rest = _match_columns(path, header, form)
    where = f"{path}: line {header.line}"
    status = _choose_status_columns(where, header.cells, columns, rest, form, choice)
    used = {column.index for column in status}
    file = PeopleFile(tuple(header.cells), tuple(header.cells[index] for index in rest if index not in used))

    def read_all() -> Iterator[CsvRow]:
        with LineReader(path) as lines:
            _skip_separator_line(lines)
            rows = read_rows(lines, delimiter)
            next(rows)  # the header
            for row in rows:
                file.position = lines.position()
                yield row

    suspects = set() if form.ignores else set(rest) - used - _columns_named(header.cells, choice.ignored)
    if status or suspects:
        check_values(where, status, (row.cells for row in read_all() if not row.problem), header.cells, suspects)
        file.position = 0

    def read_people() -> Iterator[PersonRecord | RefusedLine]:
        for row in read_all():
            person = _parse_row(row, header.cells, columns, form)
            yield _with_status(person, status) if isinstance(person, PersonRecord) else person

    file.people = read_people()
    return file


def _read_header(path: Path) -> tuple[str, CsvRow]:
    """Return the delimiter that splits the first row into most cells, and that row."""
    candidates: list[tuple[str, CsvRow]] = []
    problem = ""
    for delimiter in (",", ";", "\t", "|"):
        with LineReader(path) as lines:
            separator = _skip_separator_line(lines)
            row = next(read_rows(lines, delimiter), None)
        if row is None:
            raise InputError(f"{path} has no lines. The first line must name the columns: {','.join(COLUMNS)}.")
        # With the wrong delimiter a correct quote may look wrong.
        problem = problem or row.problem
        if separator in ("", delimiter) and not row.problem:
            candidates.append((delimiter, row))
    if not candidates:
        raise InputError(f"{path}: line 1: {problem}. The first line must name the columns.")
    return max(candidates, key=lambda candidate: len(candidate[1].cells))


def _skip_separator_line(lines: LineReader) -> str:
    """Skip Excel's first line `sep=;` and return its delimiter, or ''."""
    match = re.fullmatch(r"sep=([,;\t|])", next(lines, "").rstrip("\r\n"))
    if match is None:
        lines.read_again(skip=0)
    return match[1] if match else ""


def _columns_named(header: Sequence[str], names: Sequence[str]) -> set[int]:
    folded = {fold_name(name) for name in names}
    return {index for index, name in enumerate(header) if fold_name(name) in folded}


def _choose_status_columns(
    where: str,
    header: Sequence[str],
    columns: Mapping[str, int],
    rest: Sequence[int],
    form: FileFormat,
    choice: StatusChoice,
) -> list[StatusColumn]:
    """Return the columns that tell who has left: those of a person's choice, and those that look like it."""
    names = {fold_name(name): index for index, name in reversed(list(enumerate(header)))}
    for name in (choice.column, *choice.ignored):
        if name and fold_name(name) not in names:
            raise InputError(f"{where}: there is no column {name!r}. The columns are: {', '.join(header)}.")
    chosen, ignored = fold_name(choice.column), {fold_name(name) for name in choice.ignored}
    candidates = [] if form.ignores else list(rest)
    if not form.ignores and "state" in columns and "confirmedat" not in columns:
        # An export of ours has both. Else it may be any other file, or the state of a country.
        candidates.append(columns["state"])
    found = find_status_columns(header, [at for at in candidates if fold_name(header[at]) not in {chosen, *ignored}])
    if chosen:
        left = frozenset(fold_value(value) for value in choice.left)
        found.append(StatusColumn(names[chosen], header[names[chosen]], ColumnKind.STATE, left))
    return found


def _with_status(person: PersonRecord, status: Sequence[StatusColumn]) -> PersonRecord:
    """Return the person with the most restrictive state. A date in that column is when they left."""
    state, at = person.state, person.at
    for column in status:
        cell = person.cells[column.index] if column.index < len(person.cells) else ""
        read = column.read(cell) or RecordState.UNKNOWN
        if worst([state, read]) is not worst([state]):
            state, at = read, None
            with suppress(InputError):
                at = parse_time(cell, column.name)
    return replace(person, state=state, at=at)


def _match_columns(path: Path, header: CsvRow, form: FileFormat) -> tuple[dict[str, int], list[int]]:
    """Return the index of each known column, and the indexes of the unknown ones."""
    where = f"{path}: line {header.line}"
    names = [fold_name(cell) for cell in header.cells]
    known = {name: column for column, synonyms in form.columns.items() for name in (column, *synonyms)}
    columns: dict[str, int] = {}
    # An exact name takes precedence over a synonym.
    for is_exact in (True, False):
        for index, name in enumerate(names):
            column = known.get(name)
            if column is not None and (name == column) is is_exact:
                columns.setdefault(column, index)
    rest = [index for index in range(len(names)) if index not in columns.values() and names[index] != REASON]
    if "email" not in columns:
        expected = ",".join(COLUMNS)
        raise InputError(f"{where}: there is no column `email`. The first line must name the columns: {expected}.")
    for index in rest:
        missing = [name for name, column in known.items() if column not in columns]
        close = get_close_matches(names[index], missing, n=1, cutoff=0.8)
        if close and not form.ignores and not find_status_columns(header.cells, [index]):
            raise InputError(f"{where}: unknown column {header.cells[index]!r}. Did you mean {known[close[0]]!r}?")
    return columns, [index for index in rest if names[index]]


def _parse_row(
    row: CsvRow, header: list[str], columns: Mapping[str, int], form: FileFormat
) -> PersonRecord | RefusedLine:
    cells = row.cells
    if row.problem:
        return RefusedLine(row.line, row.problem, tuple(cells))
    if len(cells) > len(header) and any(cells[len(header) :]):
        return RefusedLine(row.line, f"{len(cells)} values, but {len(header)} columns", tuple(cells))
    try:
        return form.parse(row, {name: cells[at] if at < len(cells) else "" for name, at in columns.items()})
    except InputError as error:
        return RefusedLine(row.line, str(error), tuple(cells))


@dataclass(frozen=True)
class OwnFormat:
    """The format of `tidings subscribers export`, and of tables that people write."""

    list_name: str
    ignores: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, tuple[str, ...]]] = _COLUMNS

    def parse(self, row: CsvRow, cells: Mapping[str, str]) -> PersonRecord:
        """Use `state` only if there is `confirmed_at`, as in `export --all`: else it may be a state of a country."""
        list_name, is_export = cells.get("list", ""), "confirmedat" in cells
        if list_name not in ("", self.list_name):
            raise InputError(f"this line is for the list {list_name!r}. Import it with --list {list_name}")
        state, at = RecordState.UNKNOWN, None
        if is_export:
            at = parse_time(cells["confirmedat"], "confirmed_at")
            text = cells.get("state", "")
            if text == subscribers.UNSUBSCRIBED:
                state, at = RecordState.LEFT, parse_time(cells.get("leftat", ""), "left_at")
            elif text:
                if text not in (RecordState.CONFIRMED, RecordState.PENDING):
                    raise InputError(f"unknown state {text!r}. Known here: confirmed, pending, unsubscribed")
                state = RecordState(text)
        return PersonRecord(
            line=row.line,
            email=cells["email"],
            name=cells.get("name") or join_names(cells),
            language=cells.get("language", ""),
            topics=tuple(topic for part in cells.get("topics", "").split(";") if (topic := part.strip())),
            frequency=cells.get("frequency", ""),
            state=state,
            at=at,
            source=cells.get("source", "") if is_export else "",
            cells=tuple(row.cells),
        )


def join_names(cells: Mapping[str, str]) -> str:
    """Return first and last name as one text."""
    return " ".join(filter(None, (cells.get("first"), cells.get("last"))))


_ZONE_NAME = re.compile(r"(?:(?<!\s)\s+[A-Z]{1,5}|(?<=[+-]\d{4})\s+[+0-9]{1,5})$")
"""The name of a zone after the time or its offset: Go writes `+0500 +05`."""


def parse_time(text: str, column: str) -> datetime | None:
    """Parse a time of an exported file, in UTC if it has no offset. Returns None for an empty text."""
    if not text:
        return None
    try:
        return parse_moment(_ZONE_NAME.sub("", text), UTC, years=range(1, 10_000))
    except ValueError:
        raise InputError(
            f"{column} {text!r} is not a time like 2024-03-01 09:30:00. Did a spreadsheet change the file?"
        ) from None


def export_people(
    store: Store, list_name: str | None, states: Sequence[str] = (subscribers.CONFIRMED,), *, everything: bool = False
) -> Iterator[str]:
    """Yield the lines of a CSV with the subscribers of one list, or of all lists (None) with a column `list`.

    With `everything` the state, the source and the dates are included, and an import restores them.
    """
    more = _MORE_COLUMNS if everything else () if list_name is not None else ("list",)
    columns = (*COLUMNS, *more)
    yield format_csv_line(columns)
    with store.read() as connection:
        for subscription in subscribers.subscriptions(connection, list_name=list_name):
            if subscription.state in states:
                values = asdict(subscription) | {
                    "email": subscription.address,
                    "topics": ";".join(subscription.topics),
                    "confirmed_at": format_utc(subscription.confirmed_at) if subscription.confirmed_at else "",
                    "left_at": format_utc(subscription.left_at) if subscription.left_at else "",
                }
                yield format_csv_line(values[column] for column in columns)
