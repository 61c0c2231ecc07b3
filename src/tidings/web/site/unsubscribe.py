"""Unsubscribing: GET shows, POST acts (RFC 8058). No cookie, no login, no redirect; it can be repeated.

The link still works after the list, its templates or the reader's address have changed.
"""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidings.model.tokens import TokenPurpose
from tidings.render.pages.pages import Pages
from tidings.runtime.newsroom import Runtime
from tidings.store.people import subscribers
from tidings.web import reader_actions
from tidings.web.requests import read_body
from tidings.web.site.reader_page import ReaderPage

MAX_BODY = 4_096
"""Largest request body in bytes. The body of RFC 8058 has 26."""


def unsubscribe_router(runtime: Runtime, pages: Pages) -> APIRouter:
    """Make the router for `/unsubscribe/{token}`."""
    router = APIRouter()

    # Mail programs append characters to links, such as a slash.
    @router.get("/unsubscribe/{token:path}")
    @router.head("/unsubscribe/{token:path}")
    def show(token: str, request: Request) -> Response:
        return _UnsubscribePage(runtime, pages, request, token).answer(act=False)

    @router.post("/unsubscribe/{token:path}")
    async def unsubscribe(token: str, request: Request) -> Response:
        # Mail programs differ in the body. A POST with this token unsubscribes, whatever the body is.
        body = await read_body(request, MAX_BODY)
        if isinstance(body, Response):
            return body
        return await run_in_threadpool(_UnsubscribePage(runtime, pages, request, token).answer, act=True)

    return router


class _UnsubscribePage(ReaderPage):
    def __init__(self, runtime: Runtime, pages: Pages, request: Request, token: str) -> None:
        super().__init__(runtime, pages, request)
        self._contents = runtime.keys.verify_link(TokenPurpose.UNSUBSCRIBE, token)
        self._names: list[str] = []

    def answer(self, *, act: bool) -> Response:
        """Show the button, or with `act`, unsubscribe. The suppression is committed before this returns."""
        contents = self._contents
        if contents is None:
            return self._page("", "unknown", 404)
        if contents.subscriber == 0:
            return self._page("", "test")
        try:
            with self._runtime.store.read() as connection:
                reader = subscribers.find_by_id(connection, contents.subscriber)
                self._names = reader_actions.lists_to_leave(connection, self._newsroom, contents)
                is_subscribed = subscribers.is_on_any(connection, contents.subscriber, self._names)
            if act and not reader_actions.unsubscribe(self._runtime, contents, source="unsubscribe link"):
                return self._page("", "unknown", 404)
        except SQLAlchemyError as error:
            return self._unavailable("an unsubscription", error)
        return self._page(reader.language if reader else "", "ask" if is_subscribed and not act else "done")

    def _page(self, language: str, step: str, status: int = 200) -> Response:
        context, contents, site = self._context(language), self._contents, self._newsroom.site
        titles, choices = [site.title], ""
        if contents is not None:
            lists = self._newsroom.lists
            titles = [lists[name].name for name in self._names or [contents.list] if name in lists] or titles
            if step == "ask":
                # Offer fewer mails to a reader who is about to unsubscribe.
                token = self._runtime.keys.sign(TokenPurpose.PREFERENCES, contents.subscriber, contents.list)
                choices = f"preferences/{token}"
        name = ", ".join(title.get(context.site.language, site.languages[0]) for title in titles)
        return self._respond(context, lambda pages: pages.unsubscribe_page(context, step, name, choices), status)
