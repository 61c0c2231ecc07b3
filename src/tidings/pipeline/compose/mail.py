"""Render the mails of an edition for a list, and the message of one reader from frozen bytes."""

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
from tidings.pipeline.compose.freeze import RenderResult
from tidings.pipeline.compose.select import SegmentFilter, select_for_segment
from tidings.render.mail.digest import MailLayout, build_layout, build_layouts, render_mail_document
from tidings.render.mail.dkim import DkimIdentity
from tidings.render.mail.fragments import MailDocument
from tidings.render.mail.gates import check_mail
from tidings.render.mail.headers import MailHeaders
from tidings.render.mail.merge import MailMerge, MergedMail
from tidings.render.mail.views import MailEdition, MailList, MailSite
from tidings.render.templates import MailTemplates
from tidings.render.urls import archive_path
from tidings.store.content.edition_archive import part_of

_NO_BUDGET = 2**40
"""Pages of the archive have no size limit."""
_SAMPLE = 2**40
"""A subscriber id longer than any real id, so the gates check the largest possible message."""


class MailRenderer:
    """Render editions for lists, and personal messages from frozen documents."""

    def __init__(self, newsroom: Newsroom, templates: MailTemplates, keys: TokenKeys) -> None:
        self.newsroom = newsroom
        self.templates = templates
        self.keys = keys
        self._logo_size = picture_size(newsroom.logo)

    def render(
        self,
        draft: EditionDraft,
        edition: Edition,
        part: ListDelivery,
        language: str,
        story: str,
        members: Mapping[str, MessageGroup],
        number: int | None = None,
    ) -> RenderResult:
        """Render one document for all message groups of a list in one language, and check the largest mail.

        `number`: the edition's number in the archive of the list, if it is archived.
        """
        selections = [group.selection for group in members.values()]
        whole = self._whole(draft, part, language, story, selections) if number is not None else None
        shown = [*selections, whole] if whole is not None else selections
        document = render_mail_document(
            templates=self.templates,
            template=part.template,
            subject=draft.subjects.get(language) or part.subject or "",
            site=self.site(language),
            list=self.list(part.list, language),
            edition=MailEdition(
                name=edition.name,
                title=draft.schedule.heading(language, self.newsroom.site.languages[0]),
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
        groups = {key: group.selection for key, group in members.items()}
        layouts = build_layouts(document, groups, templates=self.templates)
        merge = MailMerge(document)
        samples = (self._sample(merge, layout, edition, part.list) for layout in layouts.values())
        sample = max(samples, key=len)
        failures = check_mail(sample)
        return RenderResult(
            f"list:{part.list}",
            language,
            story,
            document.to_json(),
            {key: layout.to_json() for key, layout in layouts.items()},
            members,
            failures=tuple(f"{part.list} ({language}): {failure}" for failure in failures),
            sample=sample,
            has_own_subject=bool(draft.subjects.get(language)),
            shortened=max(len(layout.shortened) for layout in layouts.values()),
            whole=build_layout(document, whole, templates=self.templates, budget=_NO_BUDGET).to_json()
            if whole
            else None,
        )

    def _whole(
        self, draft: EditionDraft, part: ListDelivery, language: str, story: str, selections: Sequence[Selection]
    ) -> Selection | None:
        """Return the archive layout with all items of the edition in a language, or None if there are none."""
        if story:
            return selections[0] if any(new.key == story for new in draft.stories) else None
        segment_filter = SegmentFilter(language, tuple(self.newsroom.lists[part.list].fallback), frozenset(), part.list)
        chosen = select_for_segment(draft.stories, segment_filter, draft.schedule.select, notes=draft.notes).selection
        return chosen if chosen.stories else None

    def _archive_url(self, list_name: str, number: int | None, edition: Edition, language: str, story: str) -> str:
        part = part_of(edition.stories, story) if story else 0
        return f"{self.newsroom.site.url}{archive_path(list_name, number or 0, language, part)}"

    def site(self, language: str) -> MailSite:
        """Return the site for templates."""
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
        """Return a list for templates."""
        settings = self.newsroom.lists[name]
        return MailList(
            name=name,
            title=settings.name.get(language, self.newsroom.site.languages[0]),
            sender=settings.from_,
            reply_to=settings.reply_to or "",
        )

    def topic_labels(self, language: str) -> dict[str, str]:
        """Return the names of the topics in a language, by key."""
        default = self.newsroom.site.languages[0]
        return {key: label.get(language, default) for key, label in self.newsroom.topics.items()}

    def _sample(self, merge: MailMerge, layout: MailLayout, edition: Edition, list_name: str) -> bytes:
        return self.message(
            merge,
            layout,
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
        merge: MailMerge,
        layout: MailLayout,
        *,
        list_name: str,
        schedule: str,
        date: datetime,
        message_key: str,
        subscriber: int,
        address: str,
        name: str,
    ) -> bytes:
        """Return the bytes of one reader's mail. Equal arguments give equal bytes."""
        merged = self.prepare_merge(merge, layout, list_name=list_name, schedule=schedule, date=date, named=bool(name))
        sign_unsubscribe, sign_preferences = self.link_signers(list_name)
        wire = merged.render(
            address,
            name,
            message_id_local_part(message_key),
            sign_unsubscribe(subscriber),
            sign_preferences(subscriber),
        )
        return b"".join(wire)

    def link_signers(self, list_name: str) -> tuple[Callable[[int], bytes], Callable[[int], bytes]]:
        """Return the functions that sign a subscriber's unsubscribe link and preferences link."""
        return (
            self.keys.make_signer(TokenPurpose.UNSUBSCRIBE, list_name),
            self.keys.make_signer(TokenPurpose.PREFERENCES, list_name),
        )

    def prepare_merge(
        self,
        merge: MailMerge,
        layout: MailLayout,
        *,
        list_name: str,
        schedule: str,
        date: datetime,
        named: bool,
        sender: SenderSettings | None = None,
        identities: Sequence[DkimIdentity] = (),
    ) -> MergedMail:
        """Prepare the shared mail of a selection, separately for readers with and without a name.

        `sender`: the sender that delivers it; None means the first sender of the list. `identities` sign each mail.
        """
        settings = self.newsroom.lists[list_name]
        domain = settings.sender_domain
        headers = MailHeaders(
            sender=settings.from_,
            to_address="",
            reply_to=settings.reply_to or "",
            language=layout.language,
            date=date,
            message_id="",
            list_id=f"{list_name}.{domain}",
            list_title=settings.name.get(self.newsroom.site.languages[0]),
            unsubscribe_mailto=settings.unsubscribe_mailto or "",
            archive=f"{self.newsroom.site.url}{archive_path(list_name)}" if settings.public else "",
            feedback_id=self._feedback_id(schedule, list_name, sender),
            cfbl_address=self._cfbl_address(list_name, sender),
        )
        url = self.newsroom.site.url
        return merge.prepare(
            layout,
            headers,
            named=named,
            identities=identities,
            unsubscribe_prefix=f"{url}unsubscribe/",
            preferences_prefix=f"{url}preferences/",
            domain=domain,
        )

    def _cfbl_address(self, list_name: str, sender: SenderSettings | None) -> str:
        """Return the address for complaint reports (RFC 9477 §3.1), or ''.

        There is an address only if we receive mail there and our DKIM signature covers its domain.
        """
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
    """Return the width and height of a picture in pixels."""
    if picture is None:
        return None, None
    with Image.open(picture.path) as image:
        return image.size


def make_message_id(key: str, domain: str) -> str:
    """Return the Message-ID of a delivery. A resend keeps it, so that mail programs can drop the duplicate."""
    return f"<{message_id_local_part(key).decode()}@{domain}>"


def message_id_local_part(key: str) -> bytes:
    """Return the part of the Message-ID before the @."""
    return hashlib.sha256(key.encode()).hexdigest()[:32].encode()


def load_frozen_document(raw: bytes) -> MailMerge:
    """Load a frozen document, ready for mail merge."""
    return MailMerge(MailDocument.from_json(json.loads(raw)))
