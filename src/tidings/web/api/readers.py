"""The API in JSON: the readers' side for a site or an app of one's own; and items, pushed by a CMS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from tidings.model.errors import InputError
from tidings.model.tokens import TokenContents, TokenPurpose
from tidings.pipeline.members import preferences as choices
from tidings.pipeline.members import subscribe
from tidings.pipeline.members.mails import lists_in_token
from tidings.render.pages.pages import Pages
from tidings.runtime.newsroom import Runtime
from tidings.store.people import consent, sign_ups, subscribers
from tidings.store.service.clock import real_now
from tidings.web.api.items import Capped, items_router
from tidings.web.site.forms import client
from tidings.web.site.preferences import save
from tidings.web.site.subscribe import kept

Name = Annotated[str, Field(max_length=100)]
Token = Annotated[str, Path(max_length=500)]
_MOST = 100


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ListInfo(_Model):
    """A list that anybody may join."""

    name: str
    title: str
    languages: list[str]
    frequencies: list[str]
    topics: dict[str, str] = Field(description="Names of topics by key.")


class Joining(_Model):
    """Who wants to join what. Nothing is sent to them but one mail that asks for their word."""

    email: str = Field(min_length=3, max_length=320)
    lists: list[Name] = Field(min_length=1, max_length=_MOST)
    language: Name = Field(default="", description="Default: the first of the site's.")
    topics: list[Name] = Field(default_factory=list, max_length=_MOST, description="None means all.")
    frequency: Name = Field(default="", description="Default: each list's own.")


class Said(_Model):
    """What was done."""

    status: str
    lists: list[str] = Field(default_factory=list)


class Choice(_Model):
    """What a reader chose on one list."""

    name: Name
    topics: list[Name] = Field(default_factory=list, max_length=_MOST)
    frequency: Name = ""


class Preferences(_Model):
    """What a reader chose."""

    language: Name = ""
    paused_until: datetime | None = None
    lists: list[Choice] = Field(default_factory=list, max_length=_MOST)


class Problem(_Model):
    """Why it was not done."""

    detail: str


def create_api(runtime: Runtime, pages: Pages, *, real_now: Callable[[], datetime] = real_now) -> FastAPI:
    """To be mounted at /api. Its description stands at /api/openapi.json."""
    app = FastAPI(
        title="Tidings",
        version="1",
        description="Readers: joining, choosing and leaving the newsroom's lists; tokens are those of the links in its "
        "mails. Items: a CMS pushes them, with the token of its source.",
        servers=[{"url": "/api"}],
        root_path_in_servers=False,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )

    app.add_middleware(Capped)
    app.include_router(items_router(runtime))

    @app.exception_handler(SQLAlchemyError)
    def busy(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "This cannot be done right now."}, 503, headers={"Retry-After": "60"})

    def claim(purpose: TokenPurpose, token: str) -> TokenContents:
        found = runtime.keys.verify(purpose, token)
        if found is None or found.subscriber == 0:
            raise HTTPException(404, "This token is not one of ours, or not for this.")
        return found

    def reader(token: str) -> choices.SubscriberProfile:
        with runtime.store.read() as connection:
            found = choices.load_profile(connection, claim(TokenPurpose.PREFERENCES, token).subscriber)
        if found is None:
            raise HTTPException(404, "This person is not known here any more.")
        return found

    @app.get("/lists")
    def lists(language: Annotated[str, Field(max_length=100)] = "") -> list[ListInfo]:
        """The public lists, in a language of the site."""
        newsroom = runtime.newsroom
        default = newsroom.site.languages[0]
        spoken = language if language in newsroom.site.languages else default
        return [
            ListInfo(
                name=name,
                title=settings.name.get(spoken, default),
                languages=list(newsroom.site.languages),
                frequencies=choices.list_frequencies(newsroom, [name]),
                topics={key: label.get(spoken, default) for key, label in newsroom.topics.items()},
            )
            for name, settings in newsroom.lists.items()
            if settings.public
        ]

    @app.post("/subscriptions", status_code=202, responses={404: {"model": Problem}, 429: {"model": Problem}})
    def join(joining: Joining, request: Request) -> Said:
        """Ask for somebody's word. The answer is the same for known and unknown addresses."""
        newsroom = runtime.newsroom
        unknown = [name for name in joining.lists if name not in newsroom.lists or not newsroom.lists[name].public]
        if unknown:
            raise HTTPException(404, "There is no such list.")
        try:
            address = consent.normal_address(joining.email)
        except InputError as error:
            raise HTTPException(422, [{"loc": ["body", "email"], "msg": str(error), "type": "email"}]) from None
        wanted = tuple(dict.fromkeys(joining.lists))
        asked = sign_ups.SignUpRequest(
            address=address,
            lists=wanted,
            language=joining.language if joining.language in newsroom.site.languages else newsroom.site.languages[0],
            topics=tuple(topic for topic in newsroom.topics if topic in joining.topics),
            frequency=joining.frequency if joining.frequency in choices.list_frequencies(newsroom, wanted) else "",
            source="the API",
            wording=subscribe.wording_version(),
            ip=client(request),
        )
        if not kept(runtime, asked, real_now()):
            raise HTTPException(429, "So many have asked from there. Try again in ten minutes.")
        return Said(status="asked", lists=list(wanted))

    @app.post("/confirmations/{token}", responses={404: {"model": Problem}, 410: {"model": Problem}})
    def confirm(token: Token, request: Request) -> Said:
        """Their word is given, by the token of the mail that asked for it. Twice is fine."""
        found = claim(TokenPurpose.CONFIRM, token)
        names = [name for name in lists_in_token(found.list) if name in runtime.newsroom.lists]
        with runtime.store.write() as connection:
            on = subscribe.confirm_subscriptions(
                connection,
                runtime.member_mails,
                found.subscriber,
                names,
                now=runtime.now(),
                ip=client(request),
                source="the API",
            )
        if not on:
            raise HTTPException(410, "They have left since, or it is too old.")
        return Said(status="confirmed", lists=on)

    @app.get("/preferences/{token}", responses={404: {"model": Problem}})
    def preferences(token: Token) -> Preferences:
        """What a reader chose."""
        found = reader(token)
        return Preferences(
            language=found.person.language,
            paused_until=found.paused_until,
            lists=[
                Choice(name=one.list, topics=list(one.topics), frequency=one.frequency) for one in found.subscriptions
            ],
        )

    @app.put("/preferences/{token}", responses={404: {"model": Problem}})
    def choose(token: Token, chosen: Preferences) -> Preferences:
        """Choose anew, for the lists that are named; what is not offered stays as it was."""
        found = reader(token)
        until = chosen.paused_until
        if until is not None and until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        save(
            runtime,
            found,
            language=chosen.language,
            frequencies={one.name: one.frequency for one in chosen.lists},
            topics={one.name: one.topics for one in chosen.lists},
            pause=lambda now, held: until if until is not None and until > now else None,
        )
        return preferences(token)

    @app.post("/unsubscriptions/{token}", responses={404: {"model": Problem}})
    def leave(token: Token) -> Said:
        """Leave the list of the token. Twice is fine."""
        found = claim(TokenPurpose.UNSUBSCRIBE, token)
        with runtime.store.write() as connection:
            subscribers.unsubscribe(connection, found.subscriber, found.list, source="the API", now=runtime.now())
        return Said(status="left", lists=[found.list])

    return app
