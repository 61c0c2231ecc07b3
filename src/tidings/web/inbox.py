"""The inbox of caught mail. It shows HTML, text and source, wide and narrow, light and dark, without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader
from starlette.responses import RedirectResponse, Response

from tidings.config.settings import MailingList
from tidings.model.plurals import count_noun
from tidings.render.pages.post_previews import link_urls
from tidings.runtime.demo.mail_catcher import CaughtMail, MailCatcher
from tidings.runtime.demo.post_receiver import ReceivedPost

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
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "links": link_urls,
        "list_title": lambda mail: _list_title(mail, lists or {}),
        "pretty": lambda body: json.dumps(body, ensure_ascii=False, indent=2),
        "tag": _language_tag,
    }

    def page(title: str, status: int = 200, **values: Any) -> Response:
        content = environment.get_template("inbox.html.j2").render(title=title, **values)
        headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"}
        return Response(content, status, headers=headers, media_type="text/html; charset=utf-8")

    @router.get("")
    def without_slash() -> Response:
        return RedirectResponse("/inbox/", 308)

    @router.get("/")
    def mails() -> Response:
        caught, count = catcher.mails, count_noun(len(receiver.posts), "post")
        return page(f"Inbox: {count_noun(len(caught), 'mail')}", mails=[*reversed(caught)], count=count)

    @router.get("/posts")
    def posts() -> Response:
        return page("Posts", posts=[*reversed(receiver.posts)])

    @router.get("/{number}")
    def show_mail(number: int, view: str = "", width: str = "wide", light: str = "light") -> Response:
        mail = _find(catcher, number)
        # A notice has text only: its empty HTML would be a white page.
        view = view or ("html" if mail is not None and mail.part("html") else "text")
        if mail is None or view not in _VIEWS or width not in ("wide", "narrow") or light not in ("light", "dark"):
            return page("Not found", 404)
        return page(mail.subject, mail=mail, chosen={"view": view, "width": width, "light": light})

    @router.get("/{number}/html")
    def html(number: int) -> Response:
        mail = _find(catcher, number)
        body = mail.part("html").replace(site_url, "/") if mail else ""
        headers = {"Content-Security-Policy": _MAIL_POLICY, "X-Frame-Options": "SAMEORIGIN"}
        return Response(body, 200 if mail else 404, headers=headers, media_type="text/html; charset=utf-8")

    return router


def _find(catcher: MailCatcher, number: int) -> CaughtMail | None:
    mails = catcher.mails
    return mails[number - 1] if 1 <= number <= len(mails) else None


def _language_tag(mail: CaughtMail) -> str:
    """Return the mail's language, or '' if it names none."""
    return mail.language if re.fullmatch(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}", mail.language) else ""


def _list_title(mail: CaughtMail, lists: Mapping[str, MailingList]) -> str:
    title, _, identity = str(mail.message["List-Id"] or "").partition("<")
    settings = lists.get(identity.partition(".")[0])
    return (settings.name.get(mail.language) if settings else title.strip()) or "notice"
