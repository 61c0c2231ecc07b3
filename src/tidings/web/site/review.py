"""`/review/{token}`: the exact mail in every language, wide and narrow; a button lets it go, another drops it.

GET shows and never acts. The link stops acting once the edition is no longer held; then the page says who decided.
"""

from __future__ import annotations

import email
import email.policy
import logging
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import parse_qs

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

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

MAX_BODY = 4_096
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}
_MAIL_HEADERS = {
    **_HEADERS,
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' https: http:"
    " data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
}
log = logging.getLogger("tidings.web")


def review_router(runtime: Runtime, pages: Pages) -> APIRouter:
    """`/review/{token}` and the mails that it shows in frames."""
    router = APIRouter()

    @router.get("/review/{token}")
    @router.head("/review/{token}")
    def show(token: str) -> Response:
        return _Review(runtime, pages, token).shown()

    @router.get("/review/{token}/{number}")
    def mail(token: str, number: int) -> Response:
        return _Review(runtime, pages, token).mail(number)

    @router.post("/review/{token}")
    async def act(token: str, request: Request) -> Response:
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    return _plain("This is more than a decision needs.", 413)
        except ClientDisconnect:
            return _plain("The request was not complete.", 400)
        fields = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        return await run_in_threadpool(_Review(runtime, pages, token).decided, fields)

    return router


def _plain(text: str, status: int) -> Response:
    return PlainTextResponse(text + "\n", status, headers=_HEADERS)


@dataclass(frozen=True, slots=True)
class Shown:
    """One mail or post on the page; `number` names its frame."""

    number: int
    outlet: str
    language: str
    language_name: str
    dir: str
    subject: str
    text: str
    is_mail: bool


class _Review:
    """One request."""

    def __init__(self, runtime: Runtime, pages: Pages, token: str) -> None:
        self._runtime = runtime
        self._pages = pages
        self._token = token
        newsroom = runtime.newsroom
        language = newsroom.site.languages[0]
        site = site_view(newsroom, language, newsroom.site.languages)
        self._frame = PageContext(site, tuple(feed_links(newsroom, language)))

    def shown(self, said: str = "", status: int = 200) -> Response:
        """The page as things stand; changes nothing."""
        try:
            found = self._find()
            if found is None:
                return self._page({"what": "unknown"}, self._frame.words.gettext("This link does not work"), 404)
            edition, _ = found
            return self._of(edition, said, status)
        except SQLAlchemyError as error:
            log.error("a review cannot be shown, the store cannot be used: %s", type(error).__name__)
            return _plain("This cannot be shown right now. Please try again in a minute.", 503)

    def mail(self, number: int) -> Response:
        """The HTML of one mail, for a frame: sandboxed, so that nothing of it runs or leads anywhere."""
        found = self._find()
        mails = preview_edition(self._runtime, found[0], None) if found is not None else []
        if not 0 <= number < len(mails) or not mails[number].is_mail:
            return _plain("There is no such mail.", 404)
        return Response(_page_of(mails[number]), headers=_MAIL_HEADERS, media_type="text/html; charset=utf-8")

    def decided(self, fields: dict[str, str]) -> Response:
        """Release or cancel what the page showed, as the person whose link it is; then the page."""
        runtime, words = self._runtime, self._frame.words
        what = fields.get("decision")
        try:
            found = self._find()
            if found is None or what not in ("release", "cancel"):
                return self.shown("", 400 if found is not None else 404)
            edition, reviewer = found
            if edition.state is not EditionState.HELD:
                # Twice, or after somebody else: it says what happened.
                return self.shown()
            with runtime.store.read() as connection:
                same = fields.get("frozen") == frozen_digest(connection, edition.id)
            if not same:
                return self.shown(words.gettext("It has changed in the meantime. Please look at it again."), 409)
            act = runtime.editions.release if what == "release" else runtime.editions.cancel
            act(edition, runtime.now(), reviewer)
            # What goes at once links its page in the archive.
            publish_editions(runtime, TickResult(runtime.now()))
        except RefusedError:
            return self.shown()
        except InputError:
            # A gate fails: the page says which, and has no such button.
            return self.shown("", 409)
        except SQLAlchemyError as error:
            log.error("a decision failed, the store cannot be used: %s", type(error).__name__)
            return _plain("This cannot be done right now. Please try again in a minute.", 503)
        return self.shown()

    def _find(self) -> tuple[Edition, str] | None:
        runtime = self._runtime
        with runtime.store.read() as connection:
            known = review.verify_review_token(connection, runtime.newsroom, runtime.keys, self._token)
            return (editions.get_edition(connection, known.edition), known.reviewer) if known else None

    def _of(self, edition: Edition, said: str, status: int) -> Response:
        runtime, words = self._runtime, self._frame.words
        newsroom = runtime.newsroom
        schedule = newsroom.schedules[edition.schedule]
        with runtime.store.read() as connection:
            counts = count_recipients(connection, edition.id)
            mark = frozen_digest(connection, edition.id)
            history = editions.get_history(connection, edition.id)
        held = edition.state is EditionState.HELD
        name = review.edition_title(edition, schedule, newsroom)
        page: dict[str, object] = {
            "what": "held" if held else "over",
            "said": said,
            "texts": review.describe_review(edition, schedule, newsroom, counts)
            if held
            else [self._verdict(edition, history)],
            "may_release": held and not any(hold.reason in review.BLOCKING for hold in edition.holds),
            "frozen": mark,
            "shown": self._mails(edition),
            "path": f"{self._frame.root_path}review/{self._token}",
        }
        title = words.gettext("%(edition)s waits for your approval.") % {"edition": name} if held else name
        return self._page(page, title.rstrip("."), status)

    def _verdict(self, edition: Edition, history: list[tuple[str, str, str]]) -> str:
        words, site = self._frame.words, self._runtime.newsroom.site
        last = review.find_decision(history, edition.state)
        if last is None:
            return str(words.gettext("It is not held any more."))
        at, what, who = last
        when = format_datetime(at, self._frame.site.language, site.timezone)
        if what == "released" and who == "silence":
            text = words.gettext("Nobody answered, so it was released automatically on %(when)s.")
        elif what == "released":
            text = words.gettext("%(who)s released it on %(when)s.")
        elif what == "cancelled":
            text = words.gettext("%(who)s cancelled it on %(when)s: nothing more of it is sent.")
        else:
            text = words.gettext("A newer edition took its place on %(when)s; its stories joined that one.")
        return str(text % {"who": who, "when": when})

    def _mails(self, edition: Edition) -> list[Shown]:
        try:
            found = preview_edition(self._runtime, edition, None)
        except InputError as error:
            log.warning("a review shows no mail: %s", error)
            return []
        shown = []
        for number, one in enumerate(found):
            shown.append(
                Shown(
                    number=number,
                    outlet=one.outlet.partition(":")[2],
                    language=one.language,
                    language_name=language_name(one.language),
                    dir=text_direction(one.language),
                    subject=str(_message(one)["Subject"]) if one.is_mail else "",
                    text="" if one.is_mail else one.note,
                    is_mail=one.is_mail,
                )
            )
        return shown

    def _page(self, page: dict[str, object], title: str, status: int) -> Response:
        try:
            body = self._pages.review_page(self._frame, title, page)
        except InputError as error:
            log.warning("%s; the shipped page is shown instead", error)
            body = Pages().review_page(self._frame, title, page)
        headers = {**_HEADERS, "Content-Language": self._frame.site.language}
        return Response(body, status, media_type="text/html; charset=utf-8", headers=headers)


def _message(one: PreviewedMessage) -> EmailMessage:
    return email.message_from_bytes(one.data, policy=email.policy.default)


def _page_of(one: PreviewedMessage) -> bytes:
    part = _message(one).get_body(("html",))
    return part.get_content().encode() if part is not None else b""
