"""Items, documents and headers for the tests of mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

from tidings.model.edition import Selection
from tidings.model.item import Attachment, Image, Item
from tidings.render.mail.digest import MailDocument, MailLayout, build_layout, render_mail_document
from tidings.render.mail.headers import MailHeaders
from tidings.render.mail.merge import MailMerge
from tidings.render.mail.views import MailEdition, MailList, MailSite
from tidings.render.templates import MailTemplates

AT = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
PREFIXES = {
    "unsubscribe_prefix": "https://news.example.org/unsubscribe/",
    "preferences_prefix": "https://news.example.org/preferences/",
    "domain": "example.org",
}
UNSUBSCRIBE_TOKEN, PREFERENCES_TOKEN = "k1." + "a" * 90, "k2.bb"
UNSUBSCRIBE_URL = PREFIXES["unsubscribe_prefix"] + UNSUBSCRIBE_TOKEN
PREFERENCES_URL = PREFIXES["preferences_prefix"] + PREFERENCES_TOKEN
NAME = "Айгүл <b>"
SITE = MailSite(
    title="Steppe & Sky",
    url="https://news.example.org/",
    address="10 Example Street",
    colour="#0077b6",
    logo_url="https://news.example.org/l.png",
    logo_width=300,
    logo_height=100,
    zone="Asia/Almaty",
)
LIST = MailList("digest", "News digest", reply_to="comms@example.org")
EDITION = MailEdition("weekly/7", "Weekly digest", 7, AT)
TEMPLATES = MailTemplates()
_PICTURE = Image("https://news.example.org/media/a.jpg", "Children at a tap", "The tap", "A. Photographer", 1200, 800)


def item(name: str = "water", **changes: Any) -> Item:
    """Return a story with a picture; `changes` are fields."""
    base = Item(
        id=name,
        story=name,
        slug=name,
        language="en",
        kind="story",
        title=f"Clean water for {name}",
        summary="The pipeline brings water from a spring & the villages look after it themselves.",
        body='<p>Some text with <a href="https://example.org/more?a=1&amp;b=2">a link</a>.</p><h2>More</h2>',
        url=f"https://news.example.org/en/{name}/",
        source="newsroom",
        ref=name,
        published=AT - timedelta(days=1),
        first_seen=AT,
        changed=AT,
        images=(_PICTURE,),
        attachments=(Attachment("https://news.example.org/media/b.pdf", "Brief", "application/pdf", 1234567),),
    )
    return replace(base, **changes)


def many(count: int, **changes: Any) -> list[Item]:
    """Return items of three kinds, in turn."""
    kinds = ("story", "publication", "press-release")
    return [item(f"s{n}", **{"kind": kinds[n % 3], **changes}) for n in range(count)]


def document(items: Sequence[Item], *, template: str = "digest", language: str = "en", **changes: Any) -> MailDocument:
    """Render with the shipped templates; `changes` are arguments."""
    arguments: dict[str, Any] = {
        "templates": TEMPLATES, "template": template, "subject": "", "site": SITE, "list": LIST, "edition": EDITION,
        "language": language, "items": items,
    }  # fmt: skip
    return render_mail_document(**{**arguments, **changes})


def headers(**changes: Any) -> MailHeaders:
    """The headers of a reader's digest; `changes` are fields."""
    arguments: dict[str, Any] = {
        "sender": "Степная редакция <news@example.org>",
        "to_address": "reader@example.net",
        "date": AT,
        "message_id": "<abc.1@example.org>",
        "reply_to": "comms@example.org",
        "language": "en",
        "list_id": "digest.example.org",
        "unsubscribe_url": UNSUBSCRIBE_URL,
        "unsubscribe_mailto": "leave@example.org",
        "feedback_id": "weekly7:digest:en:example",
    }
    return MailHeaders(**{**arguments, **changes})


def message(
    doc: MailDocument,
    selection: Selection,
    *,
    name: str = NAME,
    templates: MailTemplates = TEMPLATES,
    **changes: Any,
) -> bytes:
    """Return a reader's whole mail."""
    arrangement = build_layout(doc, selection, templates=templates)
    return merged(MailMerge(doc), arrangement, name, **changes)


def merged(merge: MailMerge, layout: MailLayout, name: str = NAME, **changes: Any) -> bytes:
    """Return a reader's whole mail, merged as for delivery."""
    mail = merge.prepare(layout, headers(**changes), named=bool(name), **PREFIXES)
    tokens = UNSUBSCRIBE_TOKEN.encode(), PREFERENCES_TOKEN.encode()
    return b"".join(mail.render("reader@example.net", name, b"abc1", *tokens))


def parts(raw: bytes) -> tuple[str, str]:
    """Return the text and the HTML of a mail, read by Python's own parser."""
    text, html = (part.get_payload(decode=True) for part in message_from_bytes(raw).get_payload())  # type: ignore[union-attr]
    return text.decode(), html.decode()  # type: ignore[union-attr]


def own_templates(root: Path, **files: str) -> MailTemplates:
    """A newsroom with a template `own`: the shipped digest with replaced files (`html`, `txt`, `subject`)."""
    names = {"html": "body.html.j2", "txt": "body.txt.j2", "subject": "subject.txt.j2"}
    folder = root / "templates" / "own"
    folder.mkdir(parents=True)
    for key, name in names.items():
        shipped = TEMPLATES.loader.path(f"digest/{name}")
        assert shipped is not None
        (folder / name).write_text(files.get(key, shipped.read_text("utf-8")), "utf-8")
    return MailTemplates(root / "templates")
