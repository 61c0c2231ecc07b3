"""A reader's preferences: language, topics, how often, a pause; their data, and its erasure. GET shows, POST acts.

The link stands in every mail, and mails are passed on: so data goes to the mailbox, and who asks for erasure says so
once more from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from fastapi import APIRouter
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidings.config.settings import Newsroom
from tidings.model.tokens import TokenPurpose
from tidings.pipeline.members import preferences, subscribe
from tidings.pipeline.members.mails import page_frame
from tidings.render.pages.pages import PageContext, Pages
from tidings.runtime.newsroom import Runtime
from tidings.store.people import subscribers
from tidings.web.site.forms import form_of, later, page, wished
from tidings.web.site.subscribe import Fields, rendered

log = logging.getLogger("tidings.web")


def preferences_router(runtime: Runtime, pages: Pages) -> APIRouter:
    """`/preferences/{token}` and `/erase/{token}`."""
    router = APIRouter()

    @router.get("/preferences/{token}")
    @router.head("/preferences/{token}")
    def show(token: str, request: Request) -> Response:
        return _Preferences(runtime, pages, request, token, TokenPurpose.PREFERENCES).shown()

    @router.post("/preferences/{token}")
    async def change(token: str, request: Request) -> Response:
        fields = await form_of(request)
        if isinstance(fields, Response):
            return fields
        chosen = _Preferences(runtime, pages, request, token, TokenPurpose.PREFERENCES)
        return await run_in_threadpool(chosen.changed, fields)

    @router.get("/erase/{token}")
    @router.head("/erase/{token}")
    def look(token: str, request: Request) -> Response:
        return _Preferences(runtime, pages, request, token, TokenPurpose.ERASE).erasure()

    @router.post("/erase/{token}")
    def erase(token: str, request: Request) -> Response:
        return _Preferences(runtime, pages, request, token, TokenPurpose.ERASE).erased()

    return router


def save(
    runtime: Runtime,
    reader: preferences.SubscriberProfile,
    *,
    language: str,
    frequencies: Mapping[str, str],
    topics: Mapping[str, Sequence[str]],
    pause: Callable[[datetime, datetime | None], datetime | None],
) -> None:
    """What a reader chose, by list; what is not offered stays. `pause` gives its end for (now, the one held)."""
    newsroom, now = runtime.newsroom, runtime.now()
    chosen: dict[str, tuple[tuple[str, ...], str]] = {}
    for one in reader.subscriptions:
        if one.list not in newsroom.lists:
            continue
        wanted = topics.get(one.list, one.topics)
        asked = frequencies.get(one.list, "")
        offered = preferences.list_frequencies(newsroom, [one.list])
        kept = tuple(topic for topic in newsroom.topics if topic in wanted)
        chosen[one.list] = (kept, asked if asked in offered else one.frequency)
    with runtime.store.write() as connection:
        subscribe.save_preferences(
            connection,
            reader.person.id,
            language=language if language in newsroom.site.languages else reader.person.language,
            choices=chosen,
            paused_until=pause(now, reader.paused_until),
        )


class _Preferences:
    """One request."""

    def __init__(self, runtime: Runtime, pages: Pages, request: Request, token: str, purpose: TokenPurpose) -> None:
        self._runtime = runtime
        self._newsroom: Newsroom = runtime.newsroom
        self._pages = pages
        self._wished = wished(request)
        self._claim = runtime.keys.verify(purpose, token)
        self._reader: preferences.SubscriberProfile | None = None

    def shown(self, saved: str = "") -> Response:
        """What they chose; changes nothing."""
        try:
            self._find()
        except SQLAlchemyError as error:
            return self._failed(error)
        if self._reader is None:
            return self._unknown()
        frame, reader, newsroom = self._frame(), self._reader, self._newsroom
        language = frame.site.language
        default = newsroom.site.languages[0]
        lists = [
            {
                "name": one.list,
                "title": newsroom.lists[one.list].name.get(language, default),
                "frequencies": preferences.frequency_choices(newsroom, [one.list], one.frequency, language),
                "topics": preferences.topic_choices(newsroom, one.topics, language),
                "leave": "unsubscribe/" + self._runtime.keys.sign(TokenPurpose.UNSUBSCRIBE, reader.person.id, one.list),
            }
            for one in reader.subscriptions
            if one.list in newsroom.lists
        ]
        values = {
            "saved": saved,
            "address": Markup("<bdi>{}</bdi>").format(reader.masked),
            "lists": lists,
            "tongues": preferences.language_choices(newsroom, reader.person.language),
            "pauses": preferences.pause_choices(newsroom, reader.paused_until, self._runtime.now(), language),
        }
        title = frame.words.gettext("Your preferences")
        return page(rendered(lambda pages: pages.preferences_page(frame, title, values), self._pages), language)

    def changed(self, fields: Fields) -> Response:
        """Keep what was chosen, or send what was asked for to the mailbox."""
        try:
            self._find()
            if self._reader is None:
                return self._unknown()
            what = fields.get("do", ["save"])[0]
            if what in ("data", "erase"):
                return self._mailed(what)
            save(
                self._runtime,
                self._reader,
                language=fields.get("language", [""])[0],
                frequencies={
                    one.list: fields.get(f"frequency.{one.list}", [""])[0] for one in self._reader.subscriptions
                },
                topics={one.list: fields.get(f"topic.{one.list}", []) for one in self._reader.subscriptions},
                pause=lambda now, held: preferences.parse_pause(fields.get("pause", ["0"])[0], held, now),
            )
        except SQLAlchemyError as error:
            return self._failed(error)
        self._find()
        return self.shown(self._frame().words.gettext("Saved. It applies from the next edition."))

    def _mailed(self, what: str) -> Response:
        assert self._reader is not None
        frame = self._frame()
        gettext = frame.words.gettext
        with self._runtime.store.write() as connection:
            mails = self._runtime.member_mails
            queue = mails.queue_data if what == "data" else mails.queue_erasure
            queue(connection, self._reader.person, self._runtime.now())
        text = gettext("We send it to your address, at most once a day.")
        return self._act(frame, gettext("Please look into your mailbox"), text)

    def erasure(self) -> Response:
        """The page with the button; changes nothing."""
        try:
            self._find()
        except SQLAlchemyError as error:
            return self._failed(error)
        if self._reader is None:
            return self._unknown()
        frame = self._frame()
        gettext = frame.words.gettext
        text = gettext("We erase your address, your name and your preferences. You get no more mail from us.")
        return self._act(frame, gettext("Erase all your data?"), text, button=gettext("Erase my data"))

    def erased(self) -> Response:
        """Done before this answers."""
        try:
            self._find()
            if self._reader is None:
                return self._unknown()
            with self._runtime.store.write() as connection:
                subscribers.erase(connection, self._reader.person.id, now=self._runtime.now())
        except SQLAlchemyError as error:
            return self._failed(error)
        frame = self._frame()
        gettext = frame.words.gettext
        text = gettext(
            "Only a code remains, which does not reveal your address. With it we make sure that nobody mails you again."
        )
        return self._act(frame, gettext("Your data is erased"), text)

    def _find(self) -> None:
        if self._claim is not None:
            with self._runtime.store.read() as connection:
                self._reader = preferences.load_profile(connection, self._claim.subscriber)

    def _frame(self) -> PageContext:
        wished = (self._reader.person.language if self._reader else "", *self._wished)
        return page_frame(self._newsroom, next((one for one in wished if one in self._newsroom.site.languages), ""))

    def _act(self, frame: PageContext, title: str, text: str, *, button: str = "", status: int = 200) -> Response:
        body = rendered(lambda pages: pages.action_page(frame, title, [text], button=button), self._pages)
        return page(body, frame.site.language, status)

    def _unknown(self) -> Response:
        frame = self._frame()
        gettext = frame.words.gettext
        text = gettext("Open the whole link from the mail again, or answer the mail.")
        return self._act(frame, gettext("This link does not work"), text, status=404)

    def _failed(self, error: SQLAlchemyError) -> Response:
        log.error("preferences failed, the store cannot be used: %s", type(error).__name__)
        return later()
