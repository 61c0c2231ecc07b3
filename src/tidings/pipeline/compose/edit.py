"""Change a held edition: drop a story, choose the lead or the order, add a note, and write a subject.

The changes are part of the edition's request in the store, so a crash in the middle of freezing loses none of them.
Commands and the comms room call `Composer.edit` with `EditionChanges`.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tidings.model.edition import Edition
from tidings.model.errors import InputError, RefusedError, nearest
from tidings.model.item import NOTE, Item
from tidings.pipeline.compose.draft import EditionDraft
from tidings.pipeline.compose.select import Story
from tidings.store.content import editions
from tidings.store.content.items import load_story

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class EditionChanges:
    """An editor's changes. Drops add up; `lead`, `order` and the texts of a language replace earlier ones."""

    drop: tuple[str, ...] = ()
    """Keys of the dropped stories. They count as new again and join the next edition."""
    lead: str = ""
    order: tuple[str, ...] = ()
    """Keys of stories that come first, in this order. The others follow."""
    note: Mapping[str, str] = field(default_factory=dict)
    """Notes before the stories, by language; '' is for every other language. An empty text removes the note."""
    subject: Mapping[str, str] = field(default_factory=dict)
    """The subject in a language, word for word. An empty text restores the schedule's subject."""
    starts: datetime | None = None
    """When it is sent instead, in the newsroom's zone. The edition has it, so it is not kept among the changes."""

    @classmethod
    def of_request(cls, request: Mapping[str, Any]) -> EditionChanges:
        """Read the changes that an edition already has."""
        written = request.get("changes", {})
        return cls(
            drop=tuple(written.get("drop", ())),
            lead=written.get("lead", ""),
            order=tuple(written.get("order", ())),
            note=dict(written.get("note", {})),
            subject=dict(written.get("subject", {})),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the store."""
        written = asdict(self)
        del written["starts"]
        return written

    def check(self, stories: Collection[str], languages: Sequence[str]) -> None:
        """Raise RefusedError or InputError for names and texts that the edition cannot have."""
        if not (self.drop or self.lead or self.order or self.note or self.subject or self.starts):
            raise RefusedError("say what to change: --drop, --lead, --order, --note, --subject or --at.")
        for key in (*self.drop, *filter(None, (self.lead,)), *self.order):
            if key not in stories:
                raise RefusedError(f"there is no story {key!r} in this edition. {nearest(key, stories)}".strip())
        for key in filter(None, (self.lead, *self.order)):
            if key in self.drop:
                raise RefusedError(f"the story {key!r} cannot be dropped and also be put first.")
        for language in (*filter(None, self.note), *self.subject):
            if language not in languages:
                raise RefusedError(f"{language!r} is not a language of the site: {', '.join(languages)}.")
        for text in self.subject.values():
            if _CONTROL.search(text):
                raise InputError("the subject has a line break or an invisible character; keep it on one line.")

    def after(self, earlier: EditionChanges) -> EditionChanges:
        """Return the earlier changes with these added."""
        lead = self.lead or ("" if self.order else earlier.lead)
        order = self.order or earlier.order
        return EditionChanges(
            drop=tuple(dict.fromkeys((*earlier.drop, *self.drop))),
            lead="" if lead in self.drop else lead,
            order=tuple(key for key in order if key not in self.drop),
            note={key: text for key, text in {**earlier.note, **self.note}.items() if text.strip()},
            subject={key: text for key, text in {**earlier.subject, **self.subject}.items() if text.strip()},
        )

    def describe(self) -> str:
        """Describe the changes for the history of the edition."""
        parts = [f"moved to {self.starts:%Y-%m-%d %H:%M}"] if self.starts else []
        parts += [f"dropped {key}" for key in self.drop]
        parts += [f"lead {self.lead}"] if self.lead else []
        parts += [f"order {', '.join(self.order)}"] if self.order else []
        for what, texts in (("note", self.note), ("subject", self.subject)):
            parts += [
                f"{what}{f' in {language}' if language else ''}: {' '.join(text.split()) or 'none'}"
                for language, text in texts.items()
            ]
        return f"edited: {'; '.join(parts)}"

    def apply(self, draft: EditionDraft, languages: Sequence[str]) -> EditionDraft:
        first = list(dict.fromkeys(filter(None, (self.lead, *self.order))))
        ranks = {key: rank for rank, key in enumerate(first)}
        stories = [
            replace(story, is_first=story.key == self.lead) for story in draft.stories if story.key not in self.drop
        ]
        stories.sort(key=lambda story: ranks.get(story.key, len(ranks)))
        notes = tuple(note for note in draft.notes if note.key not in self.drop)
        own = self._make_note(draft, languages)
        return replace(
            draft,
            stories=tuple(stories),
            notes=(own, *notes) if own is not None else notes,
            arrangement=tuple(story.key for story in stories) if first else (),
            subjects={language: _as_template(text) for language, text in self.subject.items()},
        )

    def _make_note(self, draft: EditionDraft, languages: Sequence[str]) -> Story | None:
        key = f"note-of-{draft.schedule.name}-{draft.edition}"
        items = {}
        for language in languages:
            text = self.note.get(language, self.note.get("", ""))
            if not text:
                continue
            paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text.replace("\r\n", "\n")) if part.strip()]
            items[language] = Item(
                id=f"{key}:{language}",
                story=key,
                slug=key,
                language=language,
                kind=NOTE,
                title="",
                summary=" ".join(text.split()),
                body="".join(f"<p>{html.escape(part, quote=False)}</p>" for part in paragraphs),
                url="",
                source="",
                ref="",
                published=draft.now,
                first_seen=draft.now,
                changed=draft.now,
            )
        return Story(key, items) if items else None


def _as_template(text: str) -> str:
    """Return a template that prints the text unchanged, so that braces have no meaning."""
    return f"{{{{ {json.dumps(' '.join(text.split()), ensure_ascii=False)} }}}}"


def describe_edition(connection: Connection, edition: Edition, languages: Sequence[str]) -> dict[str, Any]:
    """Return the description of an edition that `tidings edition show --json` prints."""
    request = editions.get_request(connection, edition.id)
    subjects: dict[tuple[str, str], list[str]] = {}
    for rendition in editions.list_renditions(connection, edition.id):
        if rendition.outlet.startswith("list:"):
            found = subjects.setdefault((rendition.outlet, rendition.language), [])
            arrangements = editions.rendition_arrangements(connection, rendition.id).values()
            subjects[rendition.outlet, rendition.language] = list(
                dict.fromkeys([*found, *(arrangement["subject"] for arrangement in arrangements)])
            )
    return {
        "edition": edition.name,
        "state": edition.state.value,
        "slot": edition.slot,
        "starts": edition.starts,
        "holds": [{"reason": hold.reason.value, "detail": hold.detail} for hold in edition.holds],
        "warnings": list(request.get("warnings", ())),
        "stories": [{"story": key, "title": story_title(connection, key, languages)} for key in edition.stories],
        "changes": EditionChanges.of_request(request).to_json(),
        "recipients": [
            {
                "outlet": count.outlet,
                "language": count.language,
                "count": count.count,
                "subjects": subjects.get((count.outlet, count.language), []),
            }
            for count in editions.count_recipients(connection, edition.id)
        ],
        "history": [
            {"at": at, "what": what, "who": who} for at, what, who in editions.get_history(connection, edition.id)
        ],
    }


def story_title(connection: Connection, story: str, languages: Sequence[str]) -> str:
    """Return the title of a story in the first language that it has, or its key."""
    titles = {item.language: item.title for item in load_story(connection, story)}
    return next((titles[language] for language in languages if language in titles), next(iter(titles.values()), story))
