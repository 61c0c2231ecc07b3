"""The result of a rehearsal: rows of a table, and sample files beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tidings.model.dates import to_json
from tidings.model.errors import RefusedError
from tidings.runtime.demo.mail_catcher import CaughtMail
from tidings.runtime.preview.outlets import Outlet
from tidings.runtime.preview.preview import PreviewedMessage

_INDEX = "rehearsal.json"
"""Marks the folder of a rehearsal. The next rehearsal deletes the old samples in it."""
_SAMPLE = re.compile(r"[0-9]{8}-[0-9]{4}-.+\.(eml|html|txt|json)")


@dataclass
class RehearsedEvent:
    """One event. `outcome`: sent, held, composed, nobody, paused, stalled, skipped, merged, or the kind of a mailing
    without an edition (notice, test, ...)."""

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
    """The later state of a held or composed edition."""
    count: int = 1
    """Slots in a row that were skipped for the same reason."""
    until: datetime | None = None
    """The last of those slots."""

    def as_json(self) -> dict[str, Any]:
        """Return one of `rows` in `tidings rehearse --json`."""
        return asdict(self) | {
            "edition": self.edition or None,
            "moved": self.moved or None,
            "after": self.after or None,
            "outlets": [outlet.as_json() | {"failed": dict(outlet.failed)} for outlet in self.outlets],
        }


@dataclass
class Rehearsal:
    """The events between two moments, and the folder with the samples."""

    begins: datetime
    ends: datetime
    folder: Path
    notes: list[str] = field(default_factory=list)
    """Notes to read before the rows."""
    rows: list[RehearsedEvent] = field(default_factory=list)
    clock_set_back_from: datetime | None = None

    def add(self, row: RehearsedEvent) -> None:
        """Add a row. Slots of a schedule that are skipped one after another for the same reason become one row."""
        last = next((old for old in reversed(self.rows) if old.schedule == row.schedule), None)
        is_skipped = row.outcome in ("skipped", "merged")
        if is_skipped and last is not None and (last.outcome, last.why) == (row.outcome, row.why):
            last.count += 1
            last.until = row.slot or row.at
            return
        self.rows.append(row)

    def as_json(self) -> dict[str, Any]:
        """Return the output of `tidings rehearse --json`."""
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
        """Create the folder and delete old samples in it. Raises RefusedError if it holds other files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / _INDEX).exists():
            for path in self.folder.iterdir():
                if _SAMPLE.fullmatch(path.name) and path.is_file():
                    path.unlink()
        elif any(self.folder.iterdir()):
            raise RefusedError(f"{self.folder} holds other files. Name an empty folder with --out.")
        self.write_index()

    def write_mail(self, row: RehearsedEvent, key: tuple[str, str, str], mail: CaughtMail) -> Iterator[str]:
        """Write a mail as .eml, .html and .txt. `key` is its list, language and story."""
        yield from self._write(PreviewedMessage(self._name(row, *key), key[0], key[1], mail.data, True))

    def write_post(self, row: RehearsedEvent, channel: str, body: bytes, text: str) -> Iterator[str]:
        number = 1 + sum(name.startswith(self._name(row, channel)) for name in row.files) // 2
        name = self._name(row, channel, str(number) if number > 1 else "")
        yield from self._write(PreviewedMessage(name, channel, "", body, False, text))

    def _name(self, row: RehearsedEvent, *parts: str) -> str:
        event = row.edition.replace("/", "-") or f"{row.outcome}-{len(self.rows) + 1}"
        return "-".join(part for part in (f"{row.at:%Y%m%d-%H%M}", event, *parts) if part)

    def _write(self, message: PreviewedMessage) -> Iterator[str]:
        for name, content in message.files():
            (self.folder / name).write_bytes(content)
            yield name

    def write_index(self) -> None:
        """Write the whole result as JSON beside the samples."""
        text = json.dumps(self.as_json(), ensure_ascii=False, indent=2, default=to_json)
        (self.folder / _INDEX).write_text(text + "\n", encoding="utf-8")
