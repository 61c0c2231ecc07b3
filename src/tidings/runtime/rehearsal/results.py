"""What a rehearsal found: rows of a table, and files beside it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tidings.model.errors import RefusedError
from tidings.runtime.demo.mail_catcher import CaughtMail
from tidings.runtime.preview.preview import PreviewedMessage
from tidings.store.service.rehearsal import DeliveryCount

LIST_OF_FILES = "rehearsal.json"
"""Stands in the folder of a rehearsal: then the next one may take away what looks like a sample of it."""
_OURS = re.compile(r"[0-9]{8}-[0-9]{4}-.+\.(eml|html|txt|json)")
_GOES = ("pending", "leased", "handed", "accepted", "deferred", "in_doubt")
_FAILS = ("rejected", "quarantined", "cancelled")


@dataclass
class Outlet:
    """What one list or channel gets of a mailing. `recipients` by language."""

    name: str
    recipients: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


def outlets_of(counts: Iterable[DeliveryCount]) -> list[Outlet]:
    """Deliveries by list and channel, in the order of their names."""
    found: dict[str, Outlet] = {}
    for one in counts:
        name = f"channel {one.channel}" if one.channel else f"list {one.list}" if one.list else "mail to people"
        outlet = found.setdefault(name, Outlet(name))
        if one.state in _GOES:
            outlet.recipients[one.language] += one.count
        elif one.state in _FAILS:
            outlet.failed[f"{one.state}: {one.reason}" if one.reason else one.state] += one.count
        else:
            outlet.skipped[one.reason or one.state] += one.count
    return list(found.values())


@dataclass
class RehearsedEvent:
    """One thing that happens. `outcome`: sent, held, composed, nobody, paused, stalled, skipped, merged, or the kind of
    a mailing that is no edition (notice, test, ...)."""

    at: datetime
    schedule: str
    edition: str = ""
    outcome: str = ""
    slot: datetime | None = None
    why: str = ""
    moved: str = ""
    stories: list[str] = field(default_factory=list)
    outlets: list[Outlet] = field(default_factory=list)
    stalled: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    after: str = ""
    count: int = 1
    """Slots in a row that were skipped for the same reason."""
    until: datetime | None = None
    """The last of those."""

    def as_json(self) -> dict[str, Any]:
        """One of `rows` in `tidings rehearse --json`."""
        return {
            "at": self.at,
            "until": self.until,
            "count": self.count,
            "schedule": self.schedule,
            "edition": self.edition or None,
            "slot": self.slot,
            "outcome": self.outcome,
            "why": self.why,
            "moved": self.moved or None,
            "after": self.after or None,
            "stories": self.stories,
            "outlets": [
                {
                    "outlet": one.name,
                    "deliveries": one.recipients.total(),
                    "languages": dict(one.recipients),
                    "skipped": dict(one.skipped),
                    "failed": dict(one.failed),
                }
                for one in self.outlets
            ],
            "stalled": self.stalled,
            "files": self.files,
        }


@dataclass
class Rehearsal:
    """All of it, and the folder of its files."""

    begins: datetime
    ends: datetime
    folder: Path
    notes: list[str] = field(default_factory=list)
    """What one should know before reading the rows."""
    rows: list[RehearsedEvent] = field(default_factory=list)
    clock_set_back_from: datetime | None = None

    def add(self, row: RehearsedEvent) -> None:
        """Slots in a row of one schedule that are passed over for the same reason are one row."""
        last = next((one for one in reversed(self.rows) if one.schedule == row.schedule), None)
        quiet = row.outcome in ("skipped", "merged")
        if quiet and last is not None and (last.outcome, last.why) == (row.outcome, row.why):
            last.count += 1
            last.until = row.slot or row.at
            return
        self.rows.append(row)

    def as_json(self) -> dict[str, Any]:
        """The shape of `tidings rehearse --json`."""
        return {
            "from": self.begins,
            "to": self.ends,
            "clock_set_back_from": self.clock_set_back_from,
            "folder": str(self.folder),
            "notes": self.notes,
            "rows": [row.as_json() for row in self.rows],
        }

    # -- files --------------------------------------------------------------------------------------------------------

    def begin_files(self) -> None:
        """Make the folder, empty but for what is not ours. Raises RefusedError for one that holds other things."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / LIST_OF_FILES).exists():
            for path in self.folder.iterdir():
                if _OURS.fullmatch(path.name) and path.is_file():
                    path.unlink()
        elif any(self.folder.iterdir()):
            raise RefusedError(f"{self.folder} holds other files; name an empty folder with --out")
        self.write()

    def write_mail(self, row: RehearsedEvent, key: tuple[str, str, str], mail: CaughtMail) -> Iterator[str]:
        """A mail as .eml, .html and .txt; `key` is its list, language and story."""
        shown = PreviewedMessage(self._name(row, *key), key[0], key[1], mail.data, True)
        yield from self._write(shown)

    def write_post(self, row: RehearsedEvent, channel: str, body: bytes, text: str) -> Iterator[str]:
        """A post as its body and in words."""
        taken = sum(name.startswith(self._name(row, channel)) for name in row.files) // 2
        name = self._name(row, channel, str(taken + 1) if taken else "")
        yield from self._write(PreviewedMessage(name, channel, "", body, False, text))

    def _name(self, row: RehearsedEvent, *parts: str) -> str:
        what = row.edition.replace("/", "-") or f"{row.outcome}-{len(self.rows) + 1}"
        return "-".join(part for part in (f"{row.at:%Y%m%d-%H%M}", what, *parts) if part)

    def _write(self, shown: PreviewedMessage) -> Iterator[str]:
        for name, content in shown.files():
            (self.folder / name).write_bytes(content)
            yield name

    def write(self) -> None:
        """The whole as JSON, beside the samples."""
        text = json.dumps(self.as_json(), ensure_ascii=False, indent=2, default=_plain)
        (self.folder / LIST_OF_FILES).write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
