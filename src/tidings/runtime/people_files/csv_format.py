"""A file of people: its delimiter, its columns in any order, its lines as people. Our own CSV, or another tool's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Protocol

from tidings.model.dates import parse_moment
from tidings.model.errors import InputError
from tidings.runtime.people_files.csv_records import Lines, Record, records
from tidings.runtime.people_files.records import PersonRecord, RecordState, RefusedLine

COLUMNS = ("email", "name", "language", "topics", "frequency")
MORE = ("list", "state", "source", "confirmed_at", "left_at")
"""What `export --all` adds."""
REASON = "reason"
"""Column of a file of refused lines."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "email": ("emailaddress", "mail", "address", "электроннаяпочта", "адресэлектроннойпочты", "почта", "имейл"),
    "name": ("fullname", "имя", "фио", "имяифамилия", "аты", "атыжөні"),
    "first": ("firstname", "givenname", "fname"),
    "last": ("lastname", "surname", "familyname", "lname", "фамилия", "тегі"),
    "language": ("lang", "locale", "язык", "тілі", "тіл"),
    "topics": ("topic", "interests", "темы", "тема", "тақырыптар"),
    "frequency": ("частота", "периодичность", "жиілігі", "жиілік"),
}


def fold_name(name: str) -> str:
    """The name of a column without regard to case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_\-.]", "", name).casefold()


class FileFormat(Protocol):
    """One kind of file."""

    columns: ClassVar[Mapping[str, tuple[str, ...]]]
    """Name and synonyms, both as `folded` gives them. `email` is always one of them."""
    ignores: ClassVar[bool]
    """Whether an unknown column may look like a known one: other tools have many."""

    def person(self, record: Record, cells: Mapping[str, str]) -> PersonRecord:
        """One line. Raises InputError for what cannot be taken."""


@dataclass
class PeopleFile:
    """A file that is being read."""

    header: tuple[str, ...]
    """As it stands in the file; empty where there is none."""
    ignored: tuple[str, ...]
    """Columns that are not taken."""
    people: Iterator[PersonRecord | RefusedLine] = field(default_factory=lambda: iter(()))
    position: int = 0
    """Bytes read so far."""
    labels: Counter[str] = field(default_factory=Counter)
    """Labels of another tool that are no topic here, and how often each stands."""


def read_table(path: Path, form: FileFormat) -> PeopleFile:
    """A CSV by its first line. Raises InputError for one that names no columns."""
    delimiter, header = _begin(path)
    taken, ignored = _columns(path, header, form)
    reading = PeopleFile(tuple(header.cells), ignored)

    def people() -> Iterator[PersonRecord | RefusedLine]:
        with Lines(path) as lines:
            _skip_mark(lines)
            for at, record in enumerate(records(lines, delimiter)):
                if at:
                    reading.position = lines.position()
                    yield _person(record, header.cells, taken, form)

    reading.people = people()
    return reading


def _begin(path: Path) -> tuple[str, Record]:
    """The delimiter, which is the one that parts the first line most, and that line."""
    found: list[tuple[int, str, Record]] = []
    problem = ""
    for delimiter in (",", ";", "\t"):
        with Lines(path) as lines:
            said = _skip_mark(lines)
            first = next(records(lines, delimiter), None)
        if first is None:
            raise InputError(f"{path} has no line. Its first line names the columns: {','.join(COLUMNS)}.")
        # Quotes that another delimiter leaves in the middle are no fault of the file.
        problem = problem or first.problem
        if said in ("", delimiter) and not first.problem:
            found.append((len(first.cells), delimiter, first))
    if not found:
        raise InputError(f"{path}: line 1: {problem}. The first line names the columns.")
    _, delimiter, header = max(found, key=lambda one: one[0])
    return delimiter, header


def _skip_mark(lines: Lines) -> str:
    """Step over Excel's `sep=;`; what it says."""
    first = lines.take()
    if first is not None:
        if said := re.fullmatch(r"sep=([,;\t])", first.text.rstrip("\r\n")):
            return said[1]
        lines.give_back([first])
    return ""


def _columns(path: Path, header: Record, form: FileFormat) -> tuple[dict[str, int], tuple[str, ...]]:
    where = f"{path}: line {header.line}"
    names = [fold_name(cell) for cell in header.cells]
    known = {name: column for column, others in form.columns.items() for name in (column, *others)}
    taken: dict[str, int] = {}
    # A column of the very name goes before a synonym of it.
    for exact in (True, False):
        for at, name in enumerate(names):
            column = known.get(name)
            if column is not None and (name == column) is exact:
                taken.setdefault(column, at)
    rest = [at for at in range(len(names)) if at not in taken.values() and names[at] != REASON]
    if "email" not in taken:
        raise InputError(f"{where}: there is no column `email`. The first line names the columns: {','.join(COLUMNS)}.")
    for at in rest:
        close = get_close_matches(names[at], set(known) - set(taken), n=1, cutoff=0.8)
        if close and not form.ignores:
            raise InputError(f"{where}: unknown column {header.cells[at]!r}. Did you mean {known[close[0]]!r}?")
    return taken, tuple(header.cells[at] for at in rest if names[at])


def _person(
    record: Record, header: list[str], taken: Mapping[str, int], form: FileFormat
) -> PersonRecord | RefusedLine:
    cells = record.cells
    if record.problem:
        return RefusedLine(record.line, record.problem, tuple(cells))
    if len(cells) > len(header) and any(cells[len(header) :]):
        return RefusedLine(record.line, f"{len(cells)} values, but {len(header)} columns", tuple(cells))
    try:
        return form.person(record, {name: cells[at] if at < len(cells) else "" for name, at in taken.items()})
    except InputError as error:
        return RefusedLine(record.line, str(error), tuple(cells))


@dataclass(frozen=True)
class OwnFormat:
    """What `tidings subscribers export` writes, and what a person makes in a spreadsheet."""

    list_name: str
    ignores: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, tuple[str, ...]]] = _SYNONYMS | {
        "list": (),
        "state": (),
        "source": (),
        "confirmedat": (),
        "leftat": (),
    }

    def person(self, record: Record, cells: Mapping[str, str]) -> PersonRecord:
        """`state` counts only beside `confirmed_at`, as `export --all` writes it: it may be a state of the union."""
        name = cells.get("name") or " ".join(filter(None, (cells.get("first"), cells.get("last"))))
        if (other := cells.get("list", "")) not in ("", self.list_name):
            raise InputError(f"this line is of the list {other!r}; import it with --list {other}")
        standing, at = RecordState.PLAIN, None
        if "confirmedat" in cells:
            at = parse_time(cells["confirmedat"], "confirmed_at")
            state = cells.get("state", "")
            if state == "unsubscribed":
                standing, at = RecordState.LEFT, parse_time(cells.get("leftat", ""), "left_at")
            elif state:
                if state not in (RecordState.CONFIRMED, RecordState.PENDING):
                    raise InputError(f"unknown state {state!r}. Known here: confirmed, pending, unsubscribed")
                standing = RecordState(state)
        return PersonRecord(
            line=record.line,
            email=cells["email"],
            name=name,
            language=cells.get("language", ""),
            topics=tuple(topic for part in cells.get("topics", "").split(";") if (topic := part.strip())),
            frequency=cells.get("frequency", ""),
            standing=standing,
            at=at,
            source=cells.get("source", "") if "confirmedat" in cells else "",
            cells=tuple(record.cells),
        )


_ZONE_NAME = re.compile(r"(?:\s+[A-Z]{1,5}|(?<=[+-]\d{4})\s+[+0-9]{1,5})$")
"""After the time, and where there is one after its offset: Go writes `+0500 +05`."""


def parse_time(text: str, column: str) -> datetime | None:
    """A time as these files write it, UTC where it has no offset; None for an empty one."""
    if not text:
        return None
    try:
        return parse_moment(_ZONE_NAME.sub("", text), UTC, years=range(1, 10_000))
    except ValueError:
        raise InputError(
            f"{column} {text!r} is no time like 2024-03-01 09:30:00; was the file saved anew by a spreadsheet?"
        ) from None
