"""`/review/{token}`: the exact mail in every language, wide and narrow, with buttons to release or cancel the edition.

GET shows and never acts. Once the edition is no longer held, the link has no effect and the page says who decided.
"""

from __future__ import annotations

import email
import email.policy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import urlsplit

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidings.config.settings import Newsroom
from tidings.model.edition import Edition, EditionState
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.compose import review
from tidings.pipeline.publish.site_files import feed_links, site_view
from tidings.render.i18n import format_datetime, language_name, text_direction
from tidings.render.pages.pages import PageContext, Pages
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.preview import PreviewedMessage, preview_edition
from tidings.runtime.tick import TickResult, publish_editions
from tidings.store.content import editions
from tidings.store.content.editions import count_recipients, frozen_digest
from tidings.store.engine import describe_fault
from tidings.store.people import team
from tidings.store.service.clock import real_now
from tidings.web.requests import PRIVATE, Fields, page_response, read_form, text_response, unavailable
from tidings.web.site.reader_page import render_page

MAX_BODY = 4_096
_HEADERS = {
    **PRIVATE,
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}
MAIL_HEADERS = {
    **_HEADERS,
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' https: http:"
    " data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
}
log = logging.getLogger("tidings.web")


def review_router(runtime: Runtime, pages: Pages) -> APIRouter:
    """Make the router for `/review/{token}` and for the frames with its mails."""
    router = APIRouter()

    @router.get("/review/{token}")
    @router.head("/review/{token}")
    def show(token: str) -> Response:
        return _ReviewPage(runtime, pages, token).show()

    @router.get("/review/{token}/{number}")
    def mail(token: str, number: int) -> Response:
        return _ReviewPage(runtime, pages, token).mail(number)

    @router.post("/review/{token}")
    async def decide(token: str, request: Request) -> Response:
        fields = await read_form(request, MAX_BODY, _HEADERS)
        if isinstance(fields, Response):
            return fields
        return await run_in_threadpool(_ReviewPage(runtime, pages, token).decide, fields)

    return router


@dataclass(frozen=True, slots=True)
class ReviewedMessage:
    """One mail or post on the page; `number` names its frame."""

    number: int
    outlet: str
    language: str
    language_name: str
    dir: str
    subject: str
    text: str
    is_mail: bool


class _ReviewPage:
    def __init__(self, runtime: Runtime, pages: Pages, token: str) -> None:
        self._runtime = runtime
        self._pages = pages
        self._token = token
        newsroom = runtime.newsroom
        self._language = language = self._find_language()
        site = site_view(newsroom, language, newsroom.site.languages)
        self._context = PageContext(site, tuple(feed_links(newsroom, language)))

    def _find_language(self) -> str:
        newsroom = self._runtime.newsroom
        try:
            reviewed = self._find()
            if reviewed is not None:
                with self._runtime.store.read() as connection:
                    return review.find_reviewer_language(connection, newsroom, reviewed[1])
        except SQLAlchemyError:
            pass  # the page itself says that the store cannot be used
        return newsroom.site.languages[0]

    def show(self, note: str = "", status: int = 200) -> Response:
        """Return the page with the present state. Changes nothing."""
        try:
            reviewed = self._find()
            if reviewed is None:
                return self._page({"what": "unknown"}, self._context.words.gettext("This link does not work"), 404)
            edition, reviewer = reviewed
            return self._edition_page(edition, reviewer, note, status)
        except SQLAlchemyError as error:
            log.error("a review page failed because the store cannot be used: %s", describe_fault(error))
            return unavailable(_HEADERS)

    def mail(self, number: int) -> Response:
        """Return the HTML of one mail for a sandboxed frame, in which no script runs and no link works."""
        reviewed = self._find()
        mails = preview_edition(self._runtime, reviewed[0], None) if reviewed is not None else []
        if not 0 <= number < len(mails) or not mails[number].is_mail:
            return text_response("There is no such mail.", 404, _HEADERS)
        return Response(
            frame_html(mails[number], self._runtime.newsroom),
            headers=MAIL_HEADERS,
            media_type="text/html; charset=utf-8",
        )

    def decide(self, fields: Fields) -> Response:
        """Release, send back or cancel the edition as shown, or only comment, in the name of the link's reviewer."""
        runtime, words = self._runtime, self._context.words
        decision, frozen = (fields.get(name, [""])[0] for name in ("decision", "frozen"))
        try:
            reviewed = self._find()
            if reviewed is None or decision not in ("release", "send_back", "cancel", "comment"):
                return self.show("", 400 if reviewed is not None else 404)
            edition, reviewer = reviewed
            if edition.state is not EditionState.HELD:
                # This request is a repeat, or another reviewer was faster. The page shows the result.
                return self.show()
            with runtime.store.read() as connection:
                is_same = frozen == frozen_digest(connection, edition.id)
            if not is_same:
                return self.show(words.gettext("It has changed in the meantime. Please look at it again."), 409)
            comment = fields.get("comment", [""])[0]
            if decision == "send_back":
                if not comment.strip():
                    return self.show(words.gettext("Write what to change, then send it back."), 422)
                runtime.editions.send_back(edition, comment, runtime.now(), reviewer)
                action = "edition.sent_back"
            else:
                runtime.editions.comment(edition, comment, runtime.now(), reviewer)
                if decision == "comment":
                    return self.show()
                act = runtime.editions.release if decision == "release" else runtime.editions.cancel
                decided = act(edition, runtime.now(), reviewer)
                released = "edition.approved" if decided.state is EditionState.HELD else "edition.released"
                action = released if decision == "release" else "edition.cancelled"
            with runtime.store.write() as connection:
                team.record_action(connection, action, edition.name, who=reviewer, via="mail", now=real_now())
            # A mail that is sent at once links to its page in the archive.
            publish_editions(runtime, TickResult(runtime.now()))
        except RefusedError:
            return self.show()
        except InputError:
            # If a gate fails, the page names the gate and has no release button.
            return self.show("", 409)
        except SQLAlchemyError as error:
            log.error("a review decision failed because the store cannot be used: %s", describe_fault(error))
            return unavailable(_HEADERS)
        return self.show()

    def _find(self) -> tuple[Edition, str] | None:
        runtime = self._runtime
        with runtime.store.read() as connection:
            claim = review.verify_review_token(connection, runtime.newsroom, runtime.keys, self._token)
            return (editions.get_edition(connection, claim.edition), claim.reviewer) if claim else None

    def _edition_page(self, edition: Edition, reviewer: str, note: str, status: int) -> Response:
        runtime, words = self._runtime, self._context.words
        newsroom = runtime.newsroom
        schedule = newsroom.schedules[edition.schedule]
        with runtime.store.read() as connection:
            counts = count_recipients(connection, edition.id)
            mark = frozen_digest(connection, edition.id)
            history = editions.get_history(connection, edition.id)
            approvals = review.find_approvals(connection, edition, schedule)
        held = edition.state is EditionState.HELD
        name = review.edition_title(edition, schedule, newsroom, self._language)
        values: dict[str, object] = {
            "what": "held" if held else "over",
            "said": note,
            "texts": review.describe_review(edition, schedule, newsroom, counts, self._language, approvals)
            if held
            else [self._describe_decision(edition, history)],
            "may_release": held
            and reviewer not in approvals
            and not any(hold.reason in review.BLOCKING for hold in edition.holds),
            "may_send_back": held and review.waits_for_approval(edition),
            "frozen": mark,
            "comments": review.find_comments(history),
            "shown": reviewed_messages(runtime, edition, self._language),
            "path": f"{self._context.root_path}review/{self._token}",
        }
        title = words.gettext("%(edition)s waits for your approval.") % {"edition": name} if held else name
        return self._page(values, title.rstrip("."), status)

    def _describe_decision(self, edition: Edition, history: list[tuple[str, str, str]]) -> str:
        words, site = self._context.words, self._runtime.newsroom.site
        last = review.find_decision(history, edition.state)
        if last is None:
            return str(words.gettext("It is not held any more."))
        at, action, person = last
        when = format_datetime(at, self._context.site.language, site.timezone)
        if action == "released" and person == "silence":
            text = words.gettext("Nobody answered, so it was released automatically on %(when)s.")
        elif action == "released":
            text = words.gettext("%(who)s released it on %(when)s.")
        elif action == "cancelled":
            text = words.gettext("%(who)s cancelled it on %(when)s: nothing more of it is sent.")
        else:
            text = words.gettext("A newer edition took its place on %(when)s; its stories joined that one.")
        return str(text % {"who": person, "when": when})

    def _page(self, values: dict[str, object], title: str, status: int) -> Response:
        context = self._context
        body = render_page(lambda pages: pages.review_page(context, title, values), self._pages)
        return page_response(body, context.site.language, status, _HEADERS)


def _parse(preview: PreviewedMessage) -> EmailMessage:
    return email.message_from_bytes(preview.data, policy=email.policy.default)


def message_html(preview: PreviewedMessage) -> bytes:
    """Return the HTML part of a mail."""
    part = _parse(preview).get_body(("html",))
    return part.get_content().encode() if part is not None else b""


def frame_html(preview: PreviewedMessage, newsroom: Newsroom) -> bytes:
    """Return the HTML part of a mail for a frame. This server sends its pictures: the site may not be public yet."""
    site = newsroom.site.url
    media = f'src="{site}media/'.encode()
    return message_html(preview).replace(media, f'src="{urlsplit(site).path or "/"}media/'.encode())


def reviewed_messages(runtime: Runtime, edition: Edition, language: str = "") -> list[ReviewedMessage]:
    """Return the frozen mails and posts of an edition for a page, or none if they cannot be shown.

    The titles of lists are in `language`, by default the first language of the site.
    """
    try:
        previews = preview_edition(runtime, edition, None)
    except InputError as error:
        log.warning("a review page shows no mail: %s", error)
        return []
    return describe_messages(runtime.newsroom, previews, language)


def describe_messages(
    newsroom: Newsroom, previews: Sequence[PreviewedMessage], language: str = ""
) -> list[ReviewedMessage]:
    """Describe mails and posts for a page, in their order."""
    return [
        ReviewedMessage(
            number=number,
            outlet=_name_outlet(newsroom, preview.outlet, language),
            language=preview.language,
            language_name=language_name(preview.language),
            dir=text_direction(preview.language),
            subject=str(_parse(preview)["Subject"]) if preview.is_mail else "",
            text="" if preview.is_mail else preview.note,
            is_mail=preview.is_mail,
        )
        for number, preview in enumerate(previews)
    ]


def _name_outlet(newsroom: Newsroom, outlet: str, language: str) -> str:
    """Return the public title of a list, or the name of a channel."""
    kind, _, name = outlet.partition(":")
    if kind == "list" and name in newsroom.lists:
        return newsroom.lists[name].name.get(language, newsroom.site.languages[0])
    return name
