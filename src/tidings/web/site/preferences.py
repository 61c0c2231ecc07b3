"""A reader's preferences (language, topics, frequency, a pause), their data and its erasure. GET shows, POST acts.

Every mail has the link, and people forward mails. So the data are sent by mail, and an erasure is confirmed by mail.
"""

from __future__ import annotations

from fastapi import APIRouter
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidings.model.tokens import TokenPurpose
from tidings.pipeline.members import preferences
from tidings.render.pages.pages import PageContext, Pages
from tidings.runtime.newsroom import Runtime
from tidings.store.people import subscribers
from tidings.store.people.erasure import truncate_log
from tidings.web import reader_actions
from tidings.web.requests import Fields, read_form
from tidings.web.site.reader_page import ReaderPage


def preferences_router(runtime: Runtime, pages: Pages) -> APIRouter:
    """Make the router for `/preferences/{token}` and `/erase/{token}`."""
    router = APIRouter()

    def page(request: Request, token: str, purpose: TokenPurpose) -> _PreferencesPage:
        return _PreferencesPage(runtime, pages, request, token, purpose)

    @router.get("/preferences/{token:path}")
    @router.head("/preferences/{token:path}")
    def show(token: str, request: Request) -> Response:
        return page(request, token, TokenPurpose.PREFERENCES).show()

    @router.post("/preferences/{token:path}")
    async def save(token: str, request: Request) -> Response:
        fields = await read_form(request)
        if isinstance(fields, Response):
            return fields
        return await run_in_threadpool(page(request, token, TokenPurpose.PREFERENCES).save, fields)

    @router.get("/erase/{token:path}")
    @router.head("/erase/{token:path}")
    def show_erasure(token: str, request: Request) -> Response:
        return page(request, token, TokenPurpose.ERASE).erase(act=False)

    @router.post("/erase/{token:path}")
    def erase(token: str, request: Request) -> Response:
        return page(request, token, TokenPurpose.ERASE).erase(act=True)

    return router


class _PreferencesPage(ReaderPage):
    def __init__(self, runtime: Runtime, pages: Pages, request: Request, token: str, purpose: TokenPurpose) -> None:
        super().__init__(runtime, pages, request)
        self._contents = runtime.keys.verify_link(purpose, token)

    def show(self, saved: str = "") -> Response:
        """Return the page with the reader's choices. Changes nothing."""
        try:
            reader = self._find_reader()
        except SQLAlchemyError as error:
            return self._unavailable("showing preferences", error)
        return self._form(reader, saved) if reader is not None else self._unknown_link()

    def _form(self, reader: preferences.SubscriberProfile, saved: str) -> Response:
        context, newsroom = self._context(reader.person.language), self._newsroom
        language, default = context.site.language, newsroom.site.languages[0]
        lists = [
            {
                "name": name,
                "title": newsroom.lists[name].name.get(language, default),
                "frequencies": preferences.frequency_choices(newsroom, [name], subscription.frequency, language),
                "topics": preferences.topic_choices(newsroom, subscription.topics, language),
                "leave": "unsubscribe/" + self._runtime.keys.sign(TokenPurpose.UNSUBSCRIBE, reader.person.id, name),
            }
            for subscription in reader.subscriptions
            if (name := subscription.list) in newsroom.lists
        ]
        values = {
            "saved": saved,
            "address": Markup("<bdi>{}</bdi>").format(reader.masked),
            "lists": lists,
            "tongues": preferences.language_choices(newsroom, reader.person.language),
            "pauses": preferences.pause_choices(newsroom, reader.paused_until, self._runtime.now(), language),
        }
        title = context.words.gettext("Your preferences")
        return self._respond(context, lambda pages: pages.preferences_page(context, title, values))

    def save(self, fields: Fields) -> Response:
        """Save the choices, or send a mail about the reader's data or its erasure."""
        try:
            reader = self._find_reader()
            if reader is None:
                return self._unknown_link()
            context = self._context(reader.person.language)
            action = fields.get("do", ["save"])[0]
            if action in ("data", "erase"):
                return self._queue_mail(context, reader, action)
            shown = _shown_topics(fields, reader)
            reader_actions.save_preferences(
                self._runtime,
                reader,
                language=fields.get("language", [""])[0],
                frequencies={name: fields.get(f"frequency.{name}", [""])[0] for name in shown},
                topics={
                    subscription.list: [
                        *fields.get(f"topic.{subscription.list}", []),
                        *(topic for topic in subscription.topics if topic not in shown[subscription.list]),
                    ]
                    for subscription in reader.subscriptions
                    if subscription.list in shown
                },
                pause=lambda now, present: preferences.parse_pause(fields.get("pause", ["keep"])[0], present, now),
                lists=shown or None,
            )
            reader = self._find_reader() or reader
        except SQLAlchemyError as error:
            return self._unavailable("saving preferences", error)
        saved = self._context(reader.person.language).words.gettext("Saved. It applies from the next edition.")
        return self._form(reader, saved)

    def _queue_mail(self, context: PageContext, reader: preferences.SubscriberProfile, action: str) -> Response:
        runtime, gettext = self._runtime, context.words.gettext
        mails = runtime.member_mails
        with runtime.store.write() as connection:
            queue = mails.queue_data if action == "data" else mails.queue_erasure
            queue(connection, reader.person, runtime.now())
        text = gettext("We send it to your address, at most once a day.")
        return self._message(context, gettext("Please look into your mailbox"), text)

    def erase(self, *, act: bool) -> Response:
        """Show the button, or with `act`, erase the reader. The erasure is committed before this returns."""
        try:
            reader = self._find_reader()
            if reader is None:
                return self._unknown_link()
            if act:
                with self._runtime.store.write() as connection:
                    subscribers.erase(connection, reader.person.id, now=self._runtime.now())
                truncate_log(self._runtime.store)
        except SQLAlchemyError as error:
            return self._unavailable("an erasure", error)
        context = self._context(reader.person.language)
        gettext = context.words.gettext
        if not act:
            text = gettext("We erase your address, your name and your preferences. You get no more mail from us.")
            heading = gettext("Erase all your data?")
            return self._message(context, heading, text, button=gettext("Erase my data"))
        text = gettext(
            "Only a code remains, which does not reveal your address. With it we make sure that nobody mails you again."
        )
        backups = gettext("Backups from before still contain your data until they are deleted.")
        return self._message(context, gettext("Your data is erased"), text, backups)

    def _find_reader(self) -> preferences.SubscriberProfile | None:
        if self._contents is None:
            return None
        with self._runtime.store.read() as connection:
            return preferences.load_profile(connection, self._contents.subscriber)


def _shown_topics(fields: Fields, reader: preferences.SubscriberProfile) -> dict[str, list[str]]:
    """Return the lists that the form showed, with the topics that it offered. Only these may change.

    The reader may have joined another list since then, or the team may have added a topic. A custom template may not
    send what it showed: then every list with a field counts as shown, with its present topics.
    """
    shown = {}
    for subscription in reader.subscriptions:
        name = subscription.list
        if f"shown.{name}" in fields:
            shown[name] = fields[f"shown.{name}"][0].split()
        elif not any(field.startswith("shown.") for field in fields) and (
            f"frequency.{name}" in fields or f"topic.{name}" in fields
        ):
            shown[name] = list(subscription.topics)
    return shown
