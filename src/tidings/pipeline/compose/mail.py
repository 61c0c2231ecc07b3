"""Between editions and rendering: which views a template gets, and what one reader's message is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from PIL import Image

from tidings.config.adapters import SenderSettings
from tidings.config.schedule import ListDelivery
from tidings.config.settings import Newsroom
from tidings.model.edition import Edition, Selection
from tidings.model.item import Item, Media
from tidings.model.tokens import TokenKeys, TokenPurpose
from tidings.pipeline.compose.draft import EditionDraft, MessageGroup
from tidings.pipeline.compose.rendered import RenderResult
from tidings.pipeline.compose.select import SegmentFilter, select_for_segment
from tidings.render.mail.digest import MailLayout, build_layout, render_mail_document
from tidings.render.mail.fragments import MailDocument
from tidings.render.mail.gates import check_mail
from tidings.render.mail.headers import MailHeaders
from tidings.render.mail.merge import MailMerge, MergedMail
from tidings.render.mail.personal import PersonalValues
from tidings.render.mail.views import MailEdition, MailList, MailSite
from tidings.render.templates import MailTemplates
from tidings.render.urls import archive_path
from tidings.store.content.edition_archive import part_of

_NO_BUDGET = 2**40
"""A page in the archive may be as long as it is."""
_SAMPLE = 2**40
"""A subscriber number longer than any real one, for the gates: they judge the largest message."""


class MailRenderer:
    """Renders lists' editions, and splices one reader's message from frozen bytes."""

    def __init__(self, newsroom: Newsroom, templates: MailTemplates, keys: TokenKeys) -> None:
        self.newsroom = newsroom
        self.templates = templates
        self.keys = keys
        self._logo_size = picture_size(newsroom.logo)

    def render(
        self,
        edit: EditionDraft,
        edition: Edition,
        part: ListDelivery,
        outlet: str,
        language: str,
        story: str,
        members: Mapping[str, MessageGroup],
        number: int | None = None,
    ) -> RenderResult:
        """Freeze one document for all sets of readers of a list in a language, and judge the largest of them.

        `number`: under which the list archives the edition, if it does.
        """
        selections = [group.selection for group in members.values()]
        whole = self._whole(edit, part, language, story, selections) if number is not None else None
        shown = [*selections, whole] if whole is not None else selections
        document = render_mail_document(
            templates=self.templates,
            template=part.template,
            subject=part.subject or "",
            site=self.site(language),
            list=self.list(part.list, language),
            edition=MailEdition(
                name=edition.name,
                title=edit.schedule.heading(language, self.newsroom.site.languages[0]),
                number=edition.number,
                date=edition.starts,
                url=self._archive_url(part.list, number, edition, language, story) if whole is not None else "",
            ),
            language=language,
            items=_distinct(item for s in shown for item in (*s.lead_items, *s.items, *s.titles)),
            notes=_distinct(item for s in shown for item in s.notes),
            corrections=_distinct(item for s in shown for item in s.corrections),
            topic_labels=self.topic_labels(language),
        )
        arranged = {
            key: build_layout(document, group.selection, templates=self.templates) for key, group in members.items()
        }
        compiled = MailMerge(document)
        sizes = {
            key: len(self._sample(compiled, arrangement, edition, part.list)) for key, arrangement in arranged.items()
        }
        largest = arranged[max(sizes, key=lambda key: sizes[key])]
        failures = check_mail(self._sample(compiled, largest, edition, part.list))
        return RenderResult(
            outlet,
            language,
            story,
            document.to_json(),
            {key: arrangement.to_json() for key, arrangement in arranged.items()},
            members,
            tuple(f"{part.list} ({language}): {failure.detail}" for failure in failures),
            max(len(arrangement.shortened) for arrangement in arranged.values()),
            build_layout(document, whole, templates=self.templates, budget=_NO_BUDGET).to_json() if whole else None,
        )

    def _whole(
        self, edit: EditionDraft, part: ListDelivery, language: str, story: str, selections: Sequence[Selection]
    ) -> Selection | None:
        """All that the edition itself holds in a language, as for a reader of every topic; None if that is nothing."""
        if story:
            return selections[0] if any(one.key == story for one in edit.stories) else None
        wish = SegmentFilter(language, tuple(self.newsroom.lists[part.list].fallback), frozenset(), part.list)
        chosen = select_for_segment(edit.stories, wish, edit.schedule.select, notes=edit.notes).selection
        return chosen if chosen.stories else None

    def _archive_url(self, list_name: str, number: int | None, edition: Edition, language: str, story: str) -> str:
        part = part_of(edition.stories, story) if story else 0
        return f"{self.newsroom.site.url}{archive_path(list_name, number or 0, language, part)}"

    def site(self, language: str) -> MailSite:
        """What templates see of the site."""
        site = self.newsroom.site
        return MailSite(
            title=site.title.get(language, site.languages[0]),
            url=site.url,
            address=site.address.get(language, site.languages[0]),
            colour=site.colour,
            logo_url=self.newsroom.logo_url,
            logo_width=self._logo_size[0],
            logo_height=self._logo_size[1],
            zone=site.timezone,
            languages=site.languages,
        )

    def list(self, name: str, language: str) -> MailList:
        """What templates see of a list."""
        settings = self.newsroom.lists[name]
        return MailList(
            name=name,
            title=settings.name.get(language, self.newsroom.site.languages[0]),
            sender=settings.from_,
            reply_to=settings.reply_to or "",
        )

    def topic_labels(self, language: str) -> dict[str, str]:
        """Names of the topics in a language."""
        default = self.newsroom.site.languages[0]
        return {key: label.get(language, default) for key, label in self.newsroom.topics.items()}

    def _sample(self, compiled: MailMerge, arrangement: MailLayout, edition: Edition, list_name: str) -> bytes:
        return self.message(
            compiled,
            arrangement,
            list_name=list_name,
            schedule=edition.schedule,
            date=edition.starts,
            message_key=f"gate:{edition.id}",
            subscriber=_SAMPLE,
            address="a-reader-with-a-long-name@mail.example.org",
            name="A Reader With A Long Name",
        )

    def message(
        self,
        compiled: MailMerge,
        arrangement: MailLayout,
        *,
        list_name: str,
        schedule: str,
        date: datetime,
        message_key: str,
        subscriber: int,
        address: str,
        name: str,
    ) -> bytes:
        """The bytes for one reader: frozen fragments, and what is theirs alone. Equal arguments, equal bytes."""
        stencil = self.prepare_merge(
            compiled, arrangement, list_name=list_name, schedule=schedule, date=date, named=bool(name)
        )
        leave, choose = self.link_signers(list_name)
        head, body = stencil.render_with_tokens(
            address, name, message_id_local_part(message_key), leave(subscriber), choose(subscriber)
        )
        return b"".join((head, b"\r\n", *body))

    def link_signers(self, list_name: str) -> tuple[Callable[[int], bytes], Callable[[int], bytes]]:
        """Who signs a reader's link to leave a list, and the one to their preferences."""
        return (
            self.keys.make_signer(TokenPurpose.UNSUBSCRIBE, list_name),
            self.keys.make_signer(TokenPurpose.PREFERENCES, list_name),
        )

    def prepare_merge(
        self,
        compiled: MailMerge,
        arrangement: MailLayout,
        *,
        list_name: str,
        schedule: str,
        date: datetime,
        named: bool,
        sender: SenderSettings | None = None,
    ) -> MergedMail:
        """What all readers of a selection share, those with a name or those without one.

        `sender`: by which it leaves; None: the first of the list's.
        """
        settings = self.newsroom.lists[list_name]
        domain = settings.sender_domain
        headers = MailHeaders(
            sender=settings.from_,
            to_address="",
            reply_to=settings.reply_to or "",
            language=arrangement.language,
            date=date,
            message_id="",
            list_id=f"{list_name}.{domain}",
            list_title=settings.name.get(self.newsroom.site.languages[0]),
            unsubscribe_mailto=settings.unsubscribe_mailto or "",
            archive=f"{self.newsroom.site.url}{archive_path(list_name)}" if settings.public else "",
            feedback_id=self._feedback_id(schedule, list_name, sender),
            cfbl_address=self._cfbl_address(list_name, sender),
        )
        some = PersonalValues(name="x" if named else "", unsubscribe_url="x", preferences_url="x")
        url = self.newsroom.site.url
        return compiled.prepare(
            arrangement,
            headers,
            some,
            unsubscribe_prefix=f"{url}unsubscribe/",
            preferences_prefix=f"{url}preferences/",
            domain=domain,
        )

    def _cfbl_address(self, list_name: str, sender: SenderSettings | None) -> str:
        """Where complaints are wanted: only where they are heard, and our signature speaks for it (RFC 9477 §3.1)."""
        sender = sender or next(iter(self.newsroom.find_senders(list_name)), None)
        bounces = self.newsroom.bounces
        key = getattr(sender, "dkim", None)
        if sender is None or not sender.return_path or key is None or not (bounces.lmtp or bounces.mailbox):
            return ""
        domain = sender.return_path.rpartition("@")[2].casefold()
        return sender.return_path if f".{domain}".endswith(f".{key.domain.casefold()}") else ""

    def _feedback_id(self, schedule: str, list_name: str, sender: SenderSettings | None) -> str:
        sender = sender or next(iter(self.newsroom.find_senders(list_name)), None)
        return f"{schedule}:{list_name}:tidings:{sender.feedback_id}" if sender and sender.feedback_id else ""


def _distinct(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple({item.id: item for item in items}.values())


def picture_size(picture: Media | None) -> tuple[int | None, int | None]:
    """Width and height of a picture in pixels."""
    if picture is None:
        return None, None
    with Image.open(picture.path) as image:
        return image.size


def make_message_id(key: str, domain: str) -> str:
    """The Message-ID of one delivery: a resend keeps it, so that the other side can tell."""
    return f"<{message_id_local_part(key).decode()}@{domain}>"


def message_id_local_part(key: str) -> bytes:
    """The part of the Message-ID before the @."""
    return hashlib.sha256(key.encode()).hexdigest()[:32].encode()


def load_frozen_document(raw: bytes) -> MailMerge:
    """A frozen document, ready to be spliced."""
    return MailMerge(MailDocument.from_json(json.loads(raw)))
