"""The inbox of caught mail. It shows HTML, text and source, wide and narrow, light and dark, without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tidings.config.settings import MailingList
from tidings.render.i18n import LOCALES, format_count, format_moment, load_catalogue, text_direction
from tidings.render.pages.post_previews import link_urls
from tidings.runtime.demo.mail_catcher import CaughtMail, MailCatcher
from tidings.runtime.demo.post_receiver import ReceivedPost
from tidings.web.requests import preferred_languages

_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'none'; base-uri 'none'"
_MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
_VIEWS = ("html", "text", "source")


class CaughtPosts(Protocol):
    """The stored posts that were caught."""

    @property
    def posts(self) -> Sequence[ReceivedPost]: ...


def inbox_router(
    catcher: MailCatcher,
    receiver: CaughtPosts,
    site_url: str,
    lists: Mapping[str, MailingList] | None = None,
    zone: str = "UTC",
) -> APIRouter:
    """`/inbox/`, `/inbox/{number}` with its views, and `/inbox/posts`. This server sends the pictures of `site_url`.

    A mail's List-Id header has the list's title in the newsroom's first language, so that filters keep working. `lists`
    has the title in the language of the mail. The pages are in the browser's language, with times in `zone`.
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

    def page(request: Request, title: str, status: int = 200, **values: Any) -> Response:
        known = (
            tag for tag in preferred_languages(request) if tag == "en" or (tag.isalpha() and (LOCALES / tag).is_dir())
        )
        language = next(known, "en")
        frame = {
            "language": language,
            "dir": text_direction(language),
            "_": partial(_translate, language),
            "number": partial(format_count, language=language),
            "moment": partial(_format_date, language, zone),
        }
        content = environment.get_template("inbox.html.j2").render(frame, title=title, **values)
        headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"}
        return Response(content, status, headers=headers, media_type="text/html; charset=utf-8")

    @router.get("")
    def without_slash() -> Response:
        return RedirectResponse("/inbox/", 308)

    @router.get("/")
    def mails(request: Request) -> Response:
        return page(request, "", mails=[*reversed(catcher.mails)], count=len(receiver.posts))

    @router.get("/posts")
    def posts(request: Request) -> Response:
        return page(request, "", posts=[*reversed(receiver.posts)])

    @router.get("/{number}")
    def show_mail(request: Request, number: int, view: str = "", width: str = "wide", light: str = "light") -> Response:
        mail = _find(catcher, number)
        # A notice has text only: its empty HTML would be a white page.
        view = view or ("html" if mail is not None and mail.part("html") else "text")
        if mail is None or view not in _VIEWS or width not in ("wide", "narrow") or light not in ("light", "dark"):
            return page(request, "", 404)
        return page(request, mail.subject, mail=mail, chosen={"view": view, "width": width, "light": light})

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
    return (settings.name.get(mail.language) if settings else title.strip()) or ""


def _translate(language: str, message: str, **values: object) -> Markup:
    text = escape(load_catalogue(language).gettext(message))
    return text % values if values else text


def _format_date(language: str, zone: str, mail: CaughtMail) -> str:
    """Return the moment of the Date header, or the header itself if it has none."""
    try:
        moment = parsedate_to_datetime(mail.date)
    except ValueError:
        return mail.date
    return format_moment(moment if moment.tzinfo else moment.replace(tzinfo=UTC), language, zone)
