"""A sent edition as a page of the archive: the frozen fragments without personal parts."""

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
    layout: MailLayout,
    *,
    url: str,
    feed_url: str,
    archive_url: str,
    subscribe_url: str,
    withdrawn: Mapping[str, str],
) -> bytes:
    """Render the page. `withdrawn` has reasons by item id. A band with the reason replaces such an item.

    If a newsroom's template uses `personal.unsubscribe_url` without `when`, the link leads to the subscribe page.
    """
    withdrawn_ids = find_withdrawn(layout, withdrawn)
    subject, preheader = build_headline(document, layout, withdrawn)
    values = {
        "subject": subject,
        "preheader": preheader,
        "archive_url": archive_url,
        "subscribe_url": subscribe_url,
    }
    present = frozenset(name for name, value in values.items() if value)
    values |= {"unsubscribe_url": subscribe_url, "preferences_url": subscribe_url, "view_url": url}
    parts = []
    for key in layout.keys:
        id = key.partition(":")[2]
        if id in withdrawn_ids:
            parts.append(_withdrawn_band(document, withdrawn[id]))
            continue
        for piece in split_placeholders(document.fragments[key].html, present):
            parts.append(piece if isinstance(piece, str) else html.escape(values.get(piece.name, "")))
    page = "".join(parts)
    links = f'<link rel="canonical" href="{html.escape(ascii_url(url))}">\n'
    links += f'<link rel="alternate" type="application/atom+xml" href="{html.escape(ascii_url(feed_url))}">\n'
    return page.replace("</head>", f"{links}</head>", 1).encode()


def find_withdrawn(layout: MailLayout, withdrawn: Collection[str]) -> set[str]:
    """Return the ids of shown items that have been withdrawn."""
    return {key.partition(":")[2] for key in layout.keys} & set(withdrawn)


def build_headline(document: MailDocument, layout: MailLayout, withdrawn: Collection[str]) -> tuple[str, str]:
    """Return the subject and the preview line, without withdrawn items.

    If a withdrawn title is in the subject, the list's title replaces the subject. The preview line consists of
    summaries, so it is left out.
    """
    withdrawn_ids = find_withdrawn(layout, withdrawn)
    if not withdrawn_ids:
        return layout.subject, layout.preheader
    titles = [str(document.briefs[id]["title"]) for id in withdrawn_ids if id in document.briefs]
    if any(title in layout.subject for title in titles):
        return str(document.context["list"]["title"]), ""
    return layout.subject, ""


def _withdrawn_band(document: MailDocument, reason: str) -> str:
    """Return the band that replaces an item, in the style of the mail. Its classes change the colours in dark mode."""
    colours = make_palette(str(document.context["site"]["colour"]))
    words = load_catalogue(document.language)
    notice = html.escape(" ".join(words.gettext("This publication has been withdrawn.").split()))
    style = (
        f"background-color:{colours.paper};color:{colours.muted};padding:18px 32px;font-size:16px;line-height:1.5;"
        "font-family:-apple-system,BlinkMacSystemFont,Segoe UI,Roboto,Noto Sans,Tahoma,Arial,sans-serif"
    )
    return (
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="width:100%"><tr>'
        f'<td class="cell paper muted" style="{style}"><strong>{notice}</strong> {html.escape(reason)}</td></tr>'
        "</table>\n"
    )
