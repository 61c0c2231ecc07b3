"""A sent edition as a page of the archive: its frozen fragments, without anything that is one reader's."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping

from tidings.render.i18n import load_catalogue
from tidings.render.mail.digest import MailLayout
from tidings.render.mail.fragments import MailDocument
from tidings.render.mail.personal import split_placeholders
from tidings.render.palette import make_palette
from tidings.render.urls import ascii_url


def render_archived_edition(
    document: MailDocument,
    arrangement: MailLayout,
    *,
    url: str,
    feed_url: str,
    archive_url: str,
    subscribe_url: str,
    withdrawn: Mapping[str, str],
) -> bytes:
    """`withdrawn` gives by item id why it was taken back: what the edition said of it is not shown any more.

    A template of the newsroom's own that names `personal.unsubscribe_url` outright gets the page to subscribe.
    """
    gone = find_withdrawn(arrangement, withdrawn)
    subject, preheader = build_headline(document, arrangement, withdrawn)
    values = {
        "subject": subject,
        "preheader": preheader,
        "archive_url": archive_url,
        "subscribe_url": subscribe_url,
    }
    present = frozenset(name for name, value in values.items() if value)
    values |= {"unsubscribe_url": subscribe_url, "preferences_url": subscribe_url, "view_url": url}
    parts = []
    for key in arrangement.keys:
        id = key.partition(":")[2]
        if id in gone:
            parts.append(_withdrawn(document, withdrawn[id]))
            continue
        for piece in split_placeholders(document.fragments[key].html, present):
            parts.append(piece if isinstance(piece, str) else html.escape(values.get(piece.name, "")))
    page = "".join(parts)
    links = f'<link rel="canonical" href="{html.escape(ascii_url(url))}">\n'
    links += f'<link rel="alternate" type="application/atom+xml" href="{html.escape(ascii_url(feed_url))}">\n'
    return page.replace("</head>", f"{links}</head>", 1).encode()


def find_withdrawn(arrangement: MailLayout, withdrawn: Collection[str]) -> set[str]:
    """Ids of the items that it shows and that are withdrawn by now."""
    return {key.partition(":")[2] for key in arrangement.keys} & set(withdrawn)


def build_headline(document: MailDocument, arrangement: MailLayout, withdrawn: Collection[str]) -> tuple[str, str]:
    """Subject and preview line, without what is withdrawn: the preview is made of summaries, the subject of titles."""
    gone = find_withdrawn(arrangement, withdrawn)
    if not gone:
        return arrangement.subject, arrangement.preheader
    titles = [str(document.briefs[id]["title"]) for id in gone if id in document.briefs]
    if any(title in arrangement.subject for title in titles):
        return str(document.context["list"]["title"]), ""
    return arrangement.subject, ""


def _withdrawn(document: MailDocument, reason: str) -> str:
    """A band in the place of an item, in the style of the mail; classes take the colours of dark screens."""
    colours = make_palette(str(document.context["site"]["colour"]))
    words = load_catalogue(document.language)
    said = html.escape(" ".join(words.gettext("This publication has been withdrawn.").split()))
    style = (
        f"background-color:{colours.paper};color:{colours.muted};padding:18px 32px;font-size:16px;line-height:1.5;"
        "font-family:-apple-system,BlinkMacSystemFont,Segoe UI,Roboto,Noto Sans,Tahoma,Arial,sans-serif"
    )
    return (
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="width:100%"><tr>'
        f'<td class="cell paper muted" style="{style}"><strong>{said}</strong> {html.escape(reason)}</td></tr>'
        "</table>\n"
    )
