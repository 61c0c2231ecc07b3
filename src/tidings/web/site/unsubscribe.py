"""Leaving a list: GET shows, POST acts (RFC 8058). No cookie, no login, no redirect; twice is fine.

Whoever has the link may leave with it, whatever became of the list, its templates or their own address since.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.model.tokens import TokenContents, TokenKeys, TokenPurpose
from tidings.pipeline.publish.site_files import feed_links, site_view
from tidings.render.pages.pages import PageContext, Pages
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.service.clock import real_now
from tidings.web.site.forms import HEADERS, later, plain, wished

MAX_BODY = 4_096
"""Bytes of a request's body; the one that RFC 8058 asks for has 26."""
log = logging.getLogger("tidings.web")


def unsubscribe_router(
    store: Store,
    newsroom: Callable[[], Newsroom],
    keys: TokenKeys,
    pages: Pages,
    *,
    now: Callable[[], datetime] = real_now,
) -> APIRouter:
    """`/unsubscribe/{token}`. `newsroom` is asked at each request, for it may have changed; `now` is its clock."""
    router = APIRouter()

    @router.get("/unsubscribe/{token}")
    @router.head("/unsubscribe/{token}")
    def show(token: str, request: Request) -> Response:
        return _Leaving(store, newsroom(), keys, pages, token, wished(request)).shown()

    @router.post("/unsubscribe/{token}")
    async def act(token: str, request: Request) -> Response:
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_BODY:
                    return plain("This is more than anybody needs to say to leave.", 413)
        except ClientDisconnect:
            return plain("The request was not complete.", 400)
        # Whatever the body says: mail programs differ in how they spell it, a POST with this token means one thing.
        leaving = _Leaving(store, newsroom(), keys, pages, token, wished(request))
        return await run_in_threadpool(leaving.left, now())

    return router


class _Leaving:
    """One request."""

    def __init__(
        self, store: Store, newsroom: Newsroom, keys: TokenKeys, pages: Pages, token: str, wished: list[str]
    ) -> None:
        self._store = store
        self._newsroom = newsroom
        self._pages = pages
        self._wished = wished
        self._keys = keys
        self._claim = keys.verify(TokenPurpose.UNSUBSCRIBE, token)

    def shown(self) -> Response:
        """The page with the button; changes nothing."""
        if self._claim is None:
            return self._page(None, "unknown", 404)
        if self._claim.subscriber == 0:
            return self._page(None, "test")
        try:
            language, on_it = self._reader(self._claim)
        except SQLAlchemyError as error:
            return self._later(error)
        return self._page(language, "ask" if on_it else "done")

    def left(self, now: datetime) -> Response:
        """Leave, and say so. The suppression has committed before this answers."""
        if self._claim is None:
            return self._page(None, "unknown", 404)
        if self._claim.subscriber == 0:
            return self._page(None, "test")
        try:
            language, _ = self._reader(self._claim)
            with self._store.write() as connection:
                for name in self._names(self._claim):
                    subscribers.unsubscribe(
                        connection, self._claim.subscriber, name, source="unsubscribe link", now=now
                    )
        except SQLAlchemyError as error:
            return self._later(error)
        return self._page(language, "done")

    def _names(self, claim: TokenContents) -> list[str]:
        """The list as old mail names it, and as it is called now: the store may not have heard of the change yet."""
        return list(dict.fromkeys([claim.list, self._newsroom.current_list_name(claim.list)]))

    def _reader(self, claim: TokenContents) -> tuple[str | None, bool]:
        """The reader's language (None for who was erased), and whether they are on the list."""
        with self._store.read() as connection:
            reader = subscribers.find_by_id(connection, claim.subscriber)
            on_it = subscribers.is_on_any(connection, claim.subscriber, self._names(claim))
        return reader.language if reader else None, on_it

    def _frame(self, language: str | None) -> PageContext:
        languages = self._newsroom.site.languages
        known = [name for name in (language, *self._wished) if name in languages]
        links = tuple(link for each in languages for link in feed_links(self._newsroom, each))
        return PageContext(site_view(self._newsroom, known[0] if known else languages[0], languages), links)

    def _page(self, language: str | None, what: str, status: int = 200) -> Response:
        frame = self._frame(language)
        site = self._newsroom.site
        settings = self._newsroom.lists.get(self._names(self._claim)[-1]) if self._claim else None
        name = (settings.name if settings else site.title).get(frame.site.language, site.languages[0])
        choices = ""
        if what == "ask" and self._claim:
            # Whoever may leave may as well stay for less.
            token = self._keys.sign(TokenPurpose.PREFERENCES, self._claim.subscriber, self._claim.list)
            choices = f"preferences/{token}"
        try:
            body = self._pages.unsubscribe_page(frame, what, name, choices)
        except InputError as error:
            # Somebody broke the newsroom's own template: nobody stays on a list for that.
            log.warning("%s; the shipped page is shown instead", error)
            body = Pages().unsubscribe_page(frame, what, name, choices)
        headers = {**HEADERS, "Content-Language": frame.site.language}
        return Response(body, status, media_type="text/html; charset=utf-8", headers=headers)

    def _later(self, error: SQLAlchemyError) -> Response:
        """Never 'done' before it is: whoever asked will ask again."""
        log.error("leaving failed, the store cannot be used: %s", type(error).__name__)
        return later()
