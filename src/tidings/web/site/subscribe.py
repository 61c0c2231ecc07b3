"""Joining: the form that asks for it, and the link by which a reader says yes. GET shows, POST acts.

Whoever asks gets the same answer after the same work, known or not: what follows from it is done off the page.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.model.tokens import TokenPurpose
from tidings.pipeline.members import mails, preferences, subscribe
from tidings.render.pages.pages import PageContext, Pages
from tidings.runtime.newsroom import Runtime
from tidings.store.people import consent, sign_ups, subscribers
from tidings.store.service.clock import real_now
from tidings.web.site.forms import client, form_of, later, page, wished

BY_CLIENT, BY_ADDRESS, BY_DOMAIN = 20, 5, 500
"""Requests within `WINDOW` of one network, for one address, and for the addresses of one domain."""
WINDOW = timedelta(minutes=10)
log = logging.getLogger("tidings.web")
Fields = dict[str, list[str]]


def subscribe_router(runtime: Runtime, pages: Pages, *, real_now: Callable[[], datetime] = real_now) -> APIRouter:
    """`/subscribe/`, `/subscribe/{list}` and `/confirm/{token}`. Limits go by real time."""
    router = APIRouter()

    @router.get("/subscribe/")
    @router.get("/subscribe/{name}")
    @router.head("/subscribe/")
    @router.head("/subscribe/{name}")
    def show(request: Request, name: str = "") -> Response:
        return _Joining(runtime, pages, request, name).shown({}, {})

    @router.post("/subscribe/")
    @router.post("/subscribe/{name}")
    async def ask(request: Request, name: str = "") -> Response:
        fields = await form_of(request)
        if isinstance(fields, Response):
            return fields
        return await run_in_threadpool(_Joining(runtime, pages, request, name).asked, fields, real_now())

    @router.get("/confirm/{token}")
    @router.head("/confirm/{token}")
    def look(token: str, request: Request) -> Response:
        return _Confirming(runtime, pages, request, token).shown()

    @router.post("/confirm/{token}")
    def confirm(token: str, request: Request) -> Response:
        return _Confirming(runtime, pages, request, token).confirmed()

    return router


def rendered(make: Callable[[Pages], bytes], pages: Pages) -> bytes:
    """A page; the shipped one where somebody broke the newsroom's own template: no reader is kept out for that."""
    try:
        return make(pages)
    except InputError as error:
        log.warning("%s; the shipped page is shown instead", error)
        return make(Pages())


def kept(runtime: Runtime, request: sign_ups.SignUpRequest, real_now: datetime, *, robot: bool = False) -> bool:
    """Keep a request; False if its network asks too often. What else is too much, or a robot's, is dropped."""
    domain = request.address.rpartition("@")[2]
    with runtime.store.write() as connection:

        def count(scope: str, key: str) -> int:
            hidden = hashlib.sha256(f"{scope}:{key}".encode()).hexdigest()[:32]
            return sign_ups.count_request(connection, scope, hidden, WINDOW, real_now)

        if count("ip", request.ip) > BY_CLIENT:
            return False
        many = count("address", request.address.casefold()) > BY_ADDRESS
        many = count("domain", domain) > BY_DOMAIN or many
        if not many and not robot:
            sign_ups.add_request(connection, request, runtime.now())
    return True


class _Joining:
    """One request for a form."""

    def __init__(self, runtime: Runtime, pages: Pages, request: Request, name: str) -> None:
        self._runtime = runtime
        self._newsroom: Newsroom = runtime.newsroom
        self._pages = pages
        self._name = name
        self._client = client(request)
        asked = [request.query_params.get("lang", ""), *wished(request)]
        self._language = next((one for one in asked if one in self._newsroom.site.languages), "")
        self._public = [key for key, settings in self._newsroom.lists.items() if settings.public]

    @property
    def _frame(self) -> PageContext:
        return mails.page_frame(self._newsroom, self._language)

    def shown(self, fields: Fields, errors: dict[str, str], status: int = 200) -> Response:
        """The form, as it was filled in."""
        frame = self._frame
        language = frame.site.language
        if not self._public or (self._name and self._name not in self._public):
            return page(rendered(lambda pages: pages.not_found_page(frame), self._pages), language, 404)
        newsroom = self._newsroom
        default = newsroom.site.languages[0]
        chosen = fields.get("list") or ([self._name] if self._name else self._public if len(self._public) == 1 else [])
        named = [self._name] if self._name else self._public
        of = named[0]
        frequency = fields.get("frequency", [newsroom.lists[of].default_frequency])[0]
        title = (
            frame.words.gettext("Subscribe to %(list)s") % {"list": mails.list_titles(newsroom, [of], language)}
            if len(named) == 1
            else frame.words.gettext("Subscribe")
        )
        values = {
            "errors": errors,
            "email": fields.get("email", [""])[0][:320],
            "lists": [
                {
                    "name": key,
                    "title": newsroom.lists[key].name.get(language, default),
                    "checked": key in chosen,
                }
                for key in self._public
            ],
            "tongues": preferences.language_choices(newsroom, fields.get("language", [language])[0]),
            "frequencies": preferences.frequency_choices(newsroom, self._public, frequency, language),
            "topics": preferences.topic_choices(newsroom, fields.get("topic", []), language),
            "wording": frame.words.gettext(subscribe.WORDING),
        }
        paths = {one: f"subscribe/{self._name}?lang={one}" for one in newsroom.site.languages}
        body = rendered(lambda pages: pages.subscribe_page(frame, title, paths, values), self._pages)
        return page(body, language, status)

    def asked(self, fields: Fields, real_now: datetime) -> Response:
        """Keep the request; the answer is the same whoever asks for whomever."""
        if not self._public or (self._name and self._name not in self._public):
            return self.shown({}, {})
        gettext = self._frame.words.gettext
        errors: dict[str, str] = {}
        try:
            address = consent.normal_address(fields.get("email", [""])[0])
        except InputError:
            address = ""
            errors["email"] = gettext("Write your address like name@example.org.")
        wanted = fields.get("list") or ([self._name] if self._name else self._public[:1])
        lists = tuple(name for name in self._public if name in wanted)
        if not lists or (len(self._public) > 1 and not self._name and "list" not in fields):
            errors["lists"] = gettext("Choose at least one.")
        if errors:
            return self.shown(fields, errors, 422)
        languages = self._newsroom.site.languages
        language = next((one for one in fields.get("language", []) if one in languages), self._frame.site.language)
        offered = preferences.list_frequencies(self._newsroom, lists)
        request = sign_ups.SignUpRequest(
            address=address,
            lists=lists,
            language=language,
            topics=tuple(topic for topic in self._newsroom.topics if topic in fields.get("topic", [])),
            frequency=next((one for one in fields.get("frequency", []) if one in offered), ""),
            source=f"the form at /subscribe/{self._name}",
            wording=subscribe.wording_version(),
            ip=self._client,
        )
        try:
            if not kept(self._runtime, request, real_now, robot=any(fields.get("website", []))):
                words = gettext("There were too many requests from your network. Please try again in 15 minutes.")
                return self._said(gettext("Please wait a little"), [words], 429)
        except SQLAlchemyError as error:
            log.error("a request to join could not be kept: %s", type(error).__name__)
            return later()
        return self._said(
            gettext("Please look into your mailbox"),
            [
                gettext("We sent you a mail with a link. You get our mails only after you confirm there."),
                gettext("If there is no mail after some minutes, look in your spam folder, or ask again tomorrow."),
            ],
        )

    def _said(self, title: str, texts: list[str], status: int = 200) -> Response:
        frame = self._frame
        return page(
            rendered(lambda pages: pages.action_page(frame, title, texts), self._pages), frame.site.language, status
        )


class _Confirming:
    """One look at a link of confirmation."""

    def __init__(self, runtime: Runtime, pages: Pages, request: Request, token: str) -> None:
        self._runtime = runtime
        self._newsroom: Newsroom = runtime.newsroom
        self._pages = pages
        self._client = client(request)
        self._wished = wished(request)
        self._claim = runtime.keys.verify(TokenPurpose.CONFIRM, token)

    def shown(self) -> Response:
        """The page with the button; changes nothing."""
        return self._answer(act=False)

    def confirmed(self) -> Response:
        """Their word is given. It has committed before this answers."""
        return self._answer(act=True)

    def _answer(self, *, act: bool) -> Response:
        claim, store = self._claim, self._runtime.store
        if claim is None:
            return self._page("", "unknown", [])
        names = [name for name in mails.lists_in_token(claim.list) if name in self._newsroom.lists]
        try:
            with store.read() as connection:
                reader = subscribers.find_by_id(connection, claim.subscriber)
                states = subscribers.subscription_states(connection, claim.subscriber, names)
            language = reader.language if reader else ""
            if act:
                with store.write() as connection:
                    names = subscribe.confirm_subscriptions(
                        connection,
                        self._runtime.member_mails,
                        claim.subscriber,
                        names,
                        now=self._runtime.now(),
                        ip=self._client,
                        source="confirmation link",
                    )
        except SQLAlchemyError as error:
            log.error("a confirmation failed, the store cannot be used: %s", type(error).__name__)
            return later()
        waits = [name for name in names if states.get(name) == "pending"]
        on_it = [name for name in names if states.get(name) == "confirmed"]
        if act:
            return self._page(language, "done" if names else "over", names)
        return self._page(language, "ask", waits) if waits else self._page(language, "done" if on_it else "over", on_it)

    def _page(self, language: str, what: str, names: list[str]) -> Response:
        languages = self._newsroom.site.languages
        frame = mails.page_frame(
            self._newsroom, next((one for one in (language, *self._wished) if one in languages), "")
        )
        gettext = frame.words.gettext
        title = mails.list_titles(self._newsroom, names, frame.site.language)
        said = {
            "ask": (
                gettext("Confirm: %(list)s") % {"list": title},
                gettext(subscribe.WORDING),
            ),
            "done": (
                gettext("You are on the list: %(list)s") % {"list": title},
                gettext("You get the next edition. Each mail has links to change your preferences and to unsubscribe."),
            ),
            "over": (
                gettext("This link has expired"),
                gettext("You have unsubscribed since, or the link is too old. Ask for a new one with the form."),
            ),
            "unknown": (
                gettext("This link does not work"),
                gettext("Open the whole link from the mail again, or answer the mail."),
            ),
        }
        more = ""
        if what == "done" and self._claim is not None and names:
            token = self._runtime.keys.sign(TokenPurpose.PREFERENCES, self._claim.subscriber, names[0])
            more = f"preferences/{token}"
        heading, text = said[what]
        button = gettext("Confirm") if what == "ask" else ""
        body = rendered(lambda pages: pages.action_page(frame, heading, [text], button=button, more=more), self._pages)
        return page(body, frame.site.language, {"unknown": 404, "over": 410}.get(what, 200))
