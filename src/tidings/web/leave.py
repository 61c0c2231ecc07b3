"""Leaving a list: GET shows, POST acts (RFC 8058). No cookie, no login, no redirect; twice is fine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import APIRouter
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidings.config.settings import Newsroom
from tidings.model.tokens import Claim, Keys, TokenPurpose
from tidings.pipeline.outlook import feed_links, site_view
from tidings.render.pages import Frame, Pages
from tidings.store import schema as t
from tidings.store import subscribers
from tidings.store.engine import Store

MAX_BODY = 4_096
"""Bytes of a request's body; the one that RFC 8058 asks for has 26."""
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


def leave_router(store: Store, newsroom: Callable[[], Newsroom], keys: Keys, pages: Pages) -> APIRouter:
    """`/unsubscribe/{token}`. `newsroom` is asked at each request, for it may have changed."""
    router = APIRouter()

    @router.get("/unsubscribe/{token}")
    @router.head("/unsubscribe/{token}")
    def show(token: str) -> Response:
        return _Leaving(store, newsroom(), keys, pages, token).shown()

    @router.post("/unsubscribe/{token}")
    async def act(token: str, request: Request) -> Response:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY:
                return Response("too large", 413, headers=_HEADERS)
        # Whatever the body says, a POST here means one thing; mail programs differ in how they spell it.
        return await run_in_threadpool(_Leaving(store, newsroom(), keys, pages, token).left)

    return router


class _Leaving:
    """One request."""

    def __init__(self, store: Store, newsroom: Newsroom, keys: Keys, pages: Pages, token: str) -> None:
        self._store = store
        self._newsroom = newsroom
        self._pages = pages
        self._claim = keys.verify(TokenPurpose.UNSUBSCRIBE, token)

    def shown(self) -> Response:
        """The page with the button; changes nothing."""
        if self._claim is None:
            return self._unknown()
        language, state = self._reader(self._claim)
        if self._claim.subscriber == 0:
            return self._page(language, "test")
        return self._page(language, "ask" if state in (subscribers.CONFIRMED, subscribers.PENDING) else "done")

    def left(self) -> Response:
        """Leave, and say so. The suppression has committed before this answers."""
        if self._claim is None:
            return self._unknown()
        language, _ = self._reader(self._claim)
        if self._claim.subscriber == 0:
            return self._page(language, "test")
        with self._store.write() as connection:
            subscribers.unsubscribe(
                connection,
                self._claim.subscriber,
                self._list(self._claim),
                source="unsubscribe link",
                now=datetime.now(UTC),
            )
        return self._page(language, "done")

    def _list(self, claim: Claim) -> str:
        """The list's name today: tokens in old mail carry the one of then."""
        if claim.list in self._newsroom.lists:
            return claim.list
        renamed = (name for name, settings in self._newsroom.lists.items() if settings.was == claim.list)
        return next(renamed, claim.list)

    def _reader(self, claim: Claim) -> tuple[str | None, str | None]:
        s, p = t.subscriptions.c, t.subscribers.c
        query = (
            select(p.language, s.state)
            .join_from(t.subscribers, t.subscriptions, s.subscriber == p.id, isouter=True)
            .where(p.id == claim.subscriber, s.list == self._list(claim))
        )
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        return (None, None) if row is None else (row.language, row.state)

    def _frame(self, language: str | None) -> Frame:
        languages = self._newsroom.site.languages
        chosen = language if language in languages else languages[0]
        links = tuple(link for each in languages for link in feed_links(self._newsroom, each))
        return Frame(site_view(self._newsroom, chosen, languages), links)

    def _page(self, language: str | None, what: str) -> Response:
        assert self._claim is not None
        frame = self._frame(language)
        settings = self._newsroom.lists.get(self._list(self._claim))
        title = settings.name.get(frame.site.language, self._newsroom.site.languages[0]) if settings else ""
        body = self._pages.leave_page(frame, what, title or self._newsroom.site.title.get(frame.site.language))
        return self._answer(body, 200, frame.site.language)

    def _unknown(self) -> Response:
        frame = self._frame(None)
        body = self._pages.leave_page(frame, "unknown")
        return self._answer(body, 404, frame.site.language)

    def _answer(self, body: bytes, status: int, language: str) -> Response:
        headers = {**_HEADERS, "Content-Language": language}
        return Response(body, status, media_type="text/html; charset=utf-8", headers=headers)
