"""The inbox of caught mail. It shows HTML, text and source, wide and narrow, light and dark, without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Protocol

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from tidings.config.settings import MailingList
from tidings.model.plurals import count_noun
from tidings.runtime.demo.mail_catcher import CaughtMail, MailCatcher
from tidings.runtime.demo.post_receiver import ReceivedPost

_STYLE = """
:root {
  color-scheme: light dark; --line: #d5dbe3; --ink: #1b2430; --muted: #566070; --paper: #fff; --tint: #f3f6f9;
  --accent: #005c8f;
}
@media (prefers-color-scheme: dark) {
  :root { --line: #3a424d; --ink: #eceff3; --muted: #aab4c1; --paper: #1b2026; --tint: #262c34; --accent: #7cc4ef; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, "Noto Sans", sans-serif; }
header { padding: 1rem 1.5rem; border-bottom: 1px solid var(--line); }
main { padding: 1rem 1.5rem 2rem; overflow-x: auto; }
h1 { font-size: 1.25rem; margin: 0; }
h2 { font-size: 1.05rem; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.mails { list-style: none; margin: 1rem 0 0; padding: 0; }
.mails li { padding: .5rem 0; border-bottom: 1px solid var(--line); }
.mails p { margin: 0; overflow-wrap: anywhere; }
.tools { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; margin: .8rem 0; padding: 0; list-style: none; }
.tools [aria-current] { color: var(--ink); font-weight: 700; text-decoration: none; }
.muted { color: var(--muted); }
.frame { background: var(--tint); padding: 1rem; overflow-x: auto; }
iframe { display: block; margin: 0 auto; border: 1px solid var(--line); height: 80vh; max-width: none; }
.wide { width: 100%; min-width: 700px; }
.narrow { width: 360px; }
.light { color-scheme: light; background: #fff; }
.dark { color-scheme: dark; background: #14181d; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--tint); padding: 1rem; margin: 0; }
.post { max-width: 40rem; border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: 0 0 1rem; }
.post h2 { margin: 0; font-size: .95rem; color: var(--muted); }
.post p { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--muted); }
@media (max-width: 40rem) {
  header, main { padding-inline: 1rem; }
  .frame { padding: 0; margin-inline: -1rem; }
  .wide { min-width: 0; }
}
"""
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'none'; base-uri 'none'"
_MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
_VIEWS = ("html", "text", "source")


class CaughtPosts(Protocol):
    """The stored posts that were caught."""

    @property
    def posts(self) -> Sequence[ReceivedPost]: ...


def inbox_router(
    catcher: MailCatcher, receiver: CaughtPosts, site_url: str, lists: Mapping[str, MailingList] | None = None
) -> APIRouter:
    """`/inbox/`, `/inbox/{number}` with its views, and `/inbox/posts`. This server sends the pictures of `site_url`.

    A mail's List-Id header has the list's title in the newsroom's first language, so that filters keep working. `lists`
    has the title in the language of the mail.
    """
    router = APIRouter(prefix="/inbox")

    @router.get("")
    def without_slash() -> Response:
        return RedirectResponse("/inbox/", 308)

    @router.get("/")
    def mails() -> Response:
        rows = "".join(_row(mail, lists or {}) for mail in reversed(catcher.mails))
        table = f'<ol class="mails" reversed>{rows}</ol>' if rows else ""
        count = count_noun(len(receiver.posts), "post")
        posts = f'<p>The receiver got <a href="posts">{count}</a>. <a href="/">The newsroom</a></p>'
        return _page(f"Inbox: {count_noun(len(catcher.mails), 'mail')}", posts + table)

    @router.get("/posts")
    def posts() -> Response:
        parts = "".join(
            f'<article class="post"><h2>{post.number}. {escape(post.channel)}</h2>'
            f'<p dir="auto">{_link(post.preview)}</p>'
            f"<details><summary>What was sent</summary><pre>{escape(_pretty(post.body))}</pre></details></article>"
            for post in reversed(receiver.posts)
        )
        return _page("Posts", '<p><a href="./">Inbox</a></p>' + parts)

    @router.get("/{number}")
    def show_mail(number: int, view: str = "", width: str = "wide", light: str = "light") -> Response:
        mail = _find(catcher, number)
        has_html = mail is not None and bool(mail.part("html"))
        # A notice has text only: its empty HTML would be a white page.
        view = view or ("html" if has_html else "text")
        if mail is None or view not in _VIEWS or width not in ("wide", "narrow") or light not in ("light", "dark"):
            return _page("Not found", '<p>There is no such mail. <a href="./">Inbox</a></p>', 404)
        return _page(mail.subject, _mail(mail, view, width, light), about_title=f' dir="auto"{_lang_attribute(mail)}')

    @router.get("/{number}/html")
    def html(number: int) -> Response:
        mail = _find(catcher, number)
        body = mail.part("html").replace(site_url, "/") if mail else ""
        headers = {"Content-Security-Policy": _MAIL_POLICY, "X-Frame-Options": "SAMEORIGIN"}
        return Response(body, 200 if mail else 404, headers=headers, media_type="text/html; charset=utf-8")

    return router


def _mail(mail: CaughtMail, view: str, width: str, light: str) -> str:
    def link(label: str, **changed: str) -> str:
        chosen = {"view": view, "width": width, "light": light}
        query = "&amp;".join(f"{key}={value}" for key, value in {**chosen, **changed}.items())
        current = ' aria-current="true"' if all(chosen[key] == value for key, value in changed.items()) else ""
        return f'<li><a href="{mail.number}?{query}"{current}>{label}</a></li>'

    tools = link("HTML", view="html") if mail.part("html") else ""
    tools += link("Text", view="text") + link("Source", view="source")
    if view == "html":
        tools += link("Wide", width="wide") + link("Narrow", width="narrow")
        tools += link("Light", light="light") + link("Dark", light="dark")
        content = (
            f'<div class="frame"><iframe class="{width} {light}" title="The mail" sandbox src="{mail.number}/html">'
            "</iframe></div>"
        )
    else:
        text = mail.part("plain") if view == "text" else mail.data.decode("utf-8", "replace")
        # With dir="auto", each line of Arabic begins at the right (HTML §15.3.6).
        about = f' dir="auto"{_lang_attribute(mail)}' if view == "text" else ""
        content = f"<pre{about}>{escape(text)}</pre>"
    return (
        f'<p class="muted">To {escape(mail.recipient)}, {escape(_date(mail))}. <a href="./">Inbox</a></p>'
        f'<ul class="tools">{tools}</ul>{content}'
    )


def _find(catcher: MailCatcher, number: int) -> CaughtMail | None:
    mails = catcher.mails
    return mails[number - 1] if 1 <= number <= len(mails) else None


def _row(mail: CaughtMail, lists: Mapping[str, MailingList]) -> str:
    language = str(mail.message["Content-Language"] or "")
    tongue = _lang_attribute(mail)
    facts = (f"<bdi{tongue}>{escape(_list(mail, lists, language))}</bdi>", escape(language), escape(_date(mail)))
    return (
        f'<li><p><a href="{mail.number}" dir="auto"{tongue}>{escape(mail.subject)}</a></p>'
        f'<p class="muted">{mail.number}. To {escape(mail.recipient)} · {" · ".join(filter(None, facts))}</p></li>'
    )


def _lang_attribute(mail: CaughtMail) -> str:
    """Return the attribute for the mail's language, or nothing if it names none."""
    language = str(mail.message["Content-Language"] or "")
    is_tag = re.fullmatch(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}", language)
    return f' lang="{escape(language)}"' if is_tag else ""


def _list(mail: CaughtMail, lists: Mapping[str, MailingList], language: str) -> str:
    title, _, identity = str(mail.message["List-Id"] or "").partition("<")
    settings = lists.get(identity.partition(".")[0])
    return (settings.name.get(language) if settings else title.strip()) or "notice"


def _date(mail: CaughtMail) -> str:
    return str(mail.message["Date"] or "")


def _link(text: str) -> str:
    """Escape text, and make its web addresses links."""
    parts = re.split(r"(https?://[^\s<>\"]+)", text)
    for number, part in enumerate(parts):
        plain = escape(part)
        parts[number] = f'<a href="{plain}" rel="noreferrer">{plain}</a>' if number % 2 else plain
    return "".join(parts)


def _pretty(body: dict[str, object]) -> str:
    return json.dumps(body, ensure_ascii=False, indent=2)


def _page(title: str, content: str, status: int = 200, *, about_title: str = "") -> Response:
    page = (
        '<!DOCTYPE html>\n<html lang="en" dir="ltr"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{escape(title[:60])}</title><style>{_STYLE}</style></head>"
        f"<body><header><h1{about_title}>{escape(title)}</h1></header><main>{content}</main></body></html>\n"
    )
    headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"}
    return Response(page, status, headers=headers, media_type="text/html; charset=utf-8")
