"""Subscribing: the form, and the link that confirms it. GET shows, POST acts.

Known and unknown addresses get the same answer after the same work. Anything that differs happens after the request.
"""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidings.model.errors import InputError
from tidings.model.tokens import TokenPurpose
from tidings.pipeline.members import preferences, subscribe
from tidings.pipeline.members.mails import list_titles
from tidings.render.pages.pages import Pages
from tidings.runtime.newsroom import Runtime
from tidings.store.people import consent, subscribers
from tidings.web import reader_actions
from tidings.web.requests import Fields, client_network, read_form
from tidings.web.site.reader_page import ReaderPage


def subscribe_router(runtime: Runtime, pages: Pages) -> APIRouter:
    """Make the router for `/subscribe/`, `/subscribe/{list}` and `/confirm/{token}`."""
    router = APIRouter()

    @router.get("/subscribe/")
    @router.get("/subscribe/{name}")
    @router.head("/subscribe/")
    @router.head("/subscribe/{name}")
    def show_form(request: Request, name: str = "") -> Response:
        return _SubscribePage(runtime, pages, request, name).show({}, {})

    @router.post("/subscribe/")
    @router.post("/subscribe/{name}")
    async def submit_form(request: Request, name: str = "") -> Response:
        fields = await read_form(request)
        if isinstance(fields, Response):
            return fields
        return await run_in_threadpool(_SubscribePage(runtime, pages, request, name).submit, fields)

    @router.get("/confirm/{token:path}")
    @router.head("/confirm/{token:path}")
    def show_confirmation(token: str, request: Request) -> Response:
        return _ConfirmPage(runtime, pages, request, token).answer(act=False)

    @router.post("/confirm/{token:path}")
    def confirm(token: str, request: Request) -> Response:
        return _ConfirmPage(runtime, pages, request, token).answer(act=True)

    return router


class _SubscribePage(ReaderPage):
    """The form for all public lists, or for the list that the URL names."""

    def __init__(self, runtime: Runtime, pages: Pages, request: Request, name: str) -> None:
        super().__init__(runtime, pages, request)
        self._name = name
        self._client = client_network(request)
        self._page_context = self._context(request.query_params.get("lang", ""))
        public = [key for key, settings in self._newsroom.lists.items() if settings.public]
        self._offered = public if not name or name in public else []

    def show(self, fields: Fields, errors: dict[str, str], status: int = 200) -> Response:
        """Return the form with the entered values; 404 if there is no such public list."""
        context, newsroom = self._page_context, self._newsroom
        language, default, gettext = context.site.language, newsroom.site.languages[0], context.words.gettext
        if not self._offered:
            return self._respond(context, lambda pages: pages.not_found_page(context), 404)
        named = [self._name] if self._name else self._offered
        title = gettext("Subscribe")
        if len(named) == 1:
            names = list_titles(newsroom, named, language)
            title = gettext("Subscribe to %(list)s") % {"list": names}
        chosen = fields.get("list") or (named if len(named) == 1 else [])
        frequency = fields.get("frequency", [newsroom.lists[named[0]].default_frequency])[0]
        values = {
            "errors": errors,
            "email": fields.get("email", [""])[0][:320],
            "lists": [
                {"name": key, "title": newsroom.lists[key].name.get(language, default), "checked": key in chosen}
                for key in self._offered
            ],
            "tongues": preferences.language_choices(newsroom, fields.get("language", [language])[0]),
            "frequencies": preferences.frequency_choices(newsroom, self._offered, frequency, language),
            "topics": preferences.topic_choices(newsroom, fields.get("topic", []), language),
            "wording": gettext(subscribe.WORDING),
        }
        paths = {each: f"subscribe/{self._name}?lang={each}" for each in newsroom.site.languages}
        return self._respond(context, lambda pages: pages.subscribe_page(context, title, paths, values), status)

    def submit(self, fields: Fields) -> Response:
        """Store the request. The answer does not depend on the address."""
        if not self._offered:
            return self.show({}, {})
        context = self._page_context
        gettext = context.words.gettext
        errors: dict[str, str] = {}
        try:
            address = consent.normal_address(fields.get("email", [""])[0])
        except InputError:
            address = ""
            advice = gettext("Write your address like name@example.org.")
            errors["email"] = reader_actions.name_odd_character(advice, fields.get("email", [""])[0])
        chosen = fields.get("list") or ([self._name] if self._name else self._offered[:1])
        lists = tuple(name for name in self._offered if name in chosen)
        if not lists or (len(self._offered) > 1 and not self._name and "list" not in fields):
            errors["lists"] = gettext("Choose at least one.")
        if errors:
            return self.show(fields, errors, 422)
        try:
            is_stored = reader_actions.request_subscription(
                self._runtime,
                address,
                lists,
                languages=[*fields.get("language", []), context.site.language],
                topics=fields.get("topic", []),
                frequencies=fields.get("frequency", []),
                source=f"the form at /subscribe/{self._name}",
                client=self._client,
                is_robot=any(fields.get("website", [])),
            )
        except SQLAlchemyError as error:
            return self._unavailable("a request to subscribe", error)
        if not is_stored:
            text = gettext("There were too many requests. Please try again in 15 minutes, or tomorrow.")
            return self._message(context, gettext("Please wait a little"), text, status=429)
        return self._message(
            context,
            gettext("Please look into your mailbox"),
            gettext("We send a mail with a link to this address. You get our mails only after you confirm there."),
            gettext("If there is no mail after some minutes, look in your spam folder, or ask again tomorrow."),
            gettext(
                "One address gets at most ten such mails a day. An address that does not work or was erased gets none."
            ),
        )


class _ConfirmPage(ReaderPage):
    """The page that the link of a confirmation mail opens."""

    def __init__(self, runtime: Runtime, pages: Pages, request: Request, token: str) -> None:
        super().__init__(runtime, pages, request)
        self._client = client_network(request)
        self._contents = runtime.keys.verify_link(TokenPurpose.CONFIRM, token)

    def answer(self, *, act: bool) -> Response:
        """Show the button, or with `act`, confirm. The confirmation is committed before this returns."""
        contents, runtime = self._contents, self._runtime
        if contents is None:
            return self._unknown_link()
        pending: list[str] = []
        confirmed: list[str] = []
        try:
            with runtime.store.read() as connection:
                number, names = reader_actions.read_confirmation(connection, self._newsroom, contents)
                reader = subscribers.find_by_id(connection, contents.subscriber)
                if reader is not None:
                    pending, confirmed = subscribe.find_confirmable(connection, reader, names, number)
            if act:
                pending = []
                confirmed = reader_actions.confirm(runtime, contents, client=self._client, source="confirmation link")
        except SQLAlchemyError as error:
            return self._unavailable("a confirmation", error)
        language = reader.language if reader else ""
        context = self._context(language)
        gettext = context.words.gettext
        title = list_titles(self._newsroom, pending or confirmed, context.site.language)
        if pending:
            heading = gettext("Confirm: %(list)s") % {"list": title}
            return self._message(context, heading, gettext(subscribe.WORDING), button=gettext("Confirm"))
        if confirmed:
            token = runtime.keys.sign(TokenPurpose.PREFERENCES, contents.subscriber, confirmed[0])
            return self._message(
                context,
                gettext("You are on the list: %(list)s") % {"list": title},
                gettext("You get the next edition. Each mail has links to change your preferences and to unsubscribe."),
                more=f"preferences/{token}",
            )
        text = gettext("You have unsubscribed since, or the link is too old. Ask for a new one with the form.")
        return self._message(context, gettext("This link has expired"), text, status=410)
