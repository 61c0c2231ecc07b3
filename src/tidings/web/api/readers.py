"""The JSON API: subscriptions for a site or an app of your own, and items that a CMS pushes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from tidings.model.errors import InputError
from tidings.model.tokens import TokenContents, TokenPurpose
from tidings.pipeline.members.preferences import SubscriberProfile, list_frequencies, load_profile
from tidings.runtime.newsroom import Runtime
from tidings.store.people import consent
from tidings.web import reader_actions
from tidings.web.api.items import ErrorDetail, SizeLimit, items_router
from tidings.web.requests import client_network

Name = Annotated[str, Field(max_length=100)]
Token = Annotated[str, Path(max_length=2_000)]
_MAX_ENTRIES = 100
_LONGEST_PAUSE = timedelta(days=5 * 365)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ListInfo(_Model):
    """A list that everybody may subscribe to."""

    name: str
    title: str
    languages: list[str]
    frequencies: list[str]
    topics: dict[str, str] = Field(description="Names of topics by key.")


class SubscriptionRequest(_Model):
    """An address and the lists that it wants. It gets one mail only, which asks for confirmation."""

    email: str = Field(min_length=3, max_length=320)
    lists: list[Name] = Field(min_length=1, max_length=_MAX_ENTRIES)
    language: Name = Field(default="", description="Default: the first of the site's.")
    topics: list[Name] = Field(default_factory=list, max_length=_MAX_ENTRIES, description="None means all.")
    frequency: Name = Field(default="", description="Default: each list's own.")


class ActionResult(_Model):
    """The result of an action."""

    status: str
    lists: list[str] = Field(default_factory=list)


class SubscriptionChoices(_Model):
    """A reader's choices for one list."""

    name: Name
    topics: list[Name] = Field(default_factory=list, max_length=_MAX_ENTRIES)
    frequency: Name = ""


class Preferences(_Model):
    """A reader's choices."""

    language: Name = ""
    paused_until: datetime | None = None
    lists: list[SubscriptionChoices] = Field(default_factory=list, max_length=_MAX_ENTRIES)


def create_api(runtime: Runtime) -> FastAPI:
    """Create the application for /api. Its OpenAPI description is at /api/openapi.json."""
    app = FastAPI(
        title="Tidings",
        version="1",
        description="Readers: subscribe to the newsroom's lists, choose and unsubscribe; tokens are those of the links "
        "in its mails. Items: a CMS pushes them with the token of its source.",
        servers=[{"url": "/api"}],
        root_path_in_servers=False,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )

    app.add_middleware(SizeLimit)
    app.include_router(items_router(runtime))

    @app.exception_handler(SQLAlchemyError)
    def report_unavailable(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "This cannot be done right now."}, 503, headers={"Retry-After": "60"})

    @app.exception_handler(RequestValidationError)
    def explain_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # In ASCII: the input may have lone surrogates, which no encoding can write, or be any bytes.
        text = json.dumps({"detail": jsonable_encoder(error.errors(), custom_encoder={bytes: repr})})
        return Response(text, 422, media_type="application/json")

    def verify(purpose: TokenPurpose, token: str) -> TokenContents:
        contents = runtime.keys.verify_link(purpose, token)
        if contents is None or contents.subscriber == 0:
            raise HTTPException(404, "This token is not valid here.")
        return contents

    def find_reader(token: str) -> SubscriberProfile:
        with runtime.store.read() as connection:
            reader = load_profile(connection, verify(TokenPurpose.PREFERENCES, token).subscriber)
        if reader is None:
            raise HTTPException(404, "There is no such subscriber any more.")
        return reader

    @app.get("/lists")
    def lists(language: Annotated[str, Field(max_length=100)] = "") -> list[ListInfo]:
        """The public lists, in a language of the site."""
        newsroom = runtime.newsroom
        default = newsroom.site.languages[0]
        language = language if language in newsroom.site.languages else default
        return [
            ListInfo(
                name=name,
                title=settings.name.get(language, default),
                languages=list(newsroom.site.languages),
                frequencies=list_frequencies(newsroom, [name]),
                topics={key: label.get(language, default) for key, label in newsroom.topics.items()},
            )
            for name, settings in newsroom.lists.items()
            if settings.public
        ]

    @app.post("/subscriptions", status_code=202, responses={404: {"model": ErrorDetail}, 429: {"model": ErrorDetail}})
    def subscribe(body: SubscriptionRequest, request: Request) -> ActionResult:
        """Ask an address for confirmation. The answer is the same for known and unknown addresses."""
        newsroom = runtime.newsroom
        if any(name not in newsroom.lists or not newsroom.lists[name].public for name in body.lists):
            raise HTTPException(404, "There is no such list.")
        try:
            address = consent.normal_address(body.email)
        except InputError as error:
            raise HTTPException(422, [{"loc": ["body", "email"], "msg": str(error), "type": "email"}]) from None
        names = tuple(dict.fromkeys(body.lists))
        is_stored = reader_actions.request_subscription(
            runtime,
            address,
            names,
            languages=[body.language],
            topics=body.topics,
            frequencies=[body.frequency],
            source="the API",
            client=client_network(request),
        )
        if not is_stored:
            raise HTTPException(429, "There are too many requests. Try again in ten minutes, or tomorrow.")
        return ActionResult(status="asked", lists=list(names))

    @app.post("/confirmations/{token}", responses={404: {"model": ErrorDetail}, 410: {"model": ErrorDetail}})
    def confirm(token: Token, request: Request) -> ActionResult:
        """Confirm subscriptions by the token of the confirmation mail. Can be repeated."""
        contents = verify(TokenPurpose.CONFIRM, token)
        names = reader_actions.confirm(runtime, contents, client=client_network(request), source="the API")
        if not names:
            raise HTTPException(410, "The reader has unsubscribed since, or the token is too old.")
        return ActionResult(status="confirmed", lists=names)

    @app.get("/preferences/{token}", responses={404: {"model": ErrorDetail}})
    def get_preferences(token: Token) -> Preferences:
        """A reader's choices."""
        reader = find_reader(token)
        return Preferences(
            language=reader.person.language,
            paused_until=reader.paused_until,
            lists=[
                SubscriptionChoices(name=choices.list, topics=list(choices.topics), frequency=choices.frequency)
                for choices in reader.subscriptions
            ],
        )

    @app.put("/preferences/{token}", responses={404: {"model": ErrorDetail}})
    def put_preferences(token: Token, chosen: Preferences) -> Preferences:
        """Change the choices for the named lists. A choice that is not offered is ignored."""
        until = chosen.paused_until
        if until is not None and until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        if until is not None and until > runtime.now() + _LONGEST_PAUSE:
            message = f"A pause lasts at most {_LONGEST_PAUSE.days // 365} years."
            raise HTTPException(422, [{"loc": ["body", "paused_until"], "msg": message, "type": "datetime"}])
        reader_actions.save_preferences(
            runtime,
            find_reader(token),
            language=chosen.language,
            frequencies={choices.name: choices.frequency for choices in chosen.lists},
            topics={choices.name: choices.topics for choices in chosen.lists},
            pause=lambda now, present: until if until is not None and until > now else None,
        )
        return get_preferences(token)

    @app.post("/unsubscriptions/{token}", responses={404: {"model": ErrorDetail}})
    def unsubscribe(token: Token) -> ActionResult:
        """Unsubscribe from the list of the token. Can be repeated."""
        contents = verify(TokenPurpose.UNSUBSCRIBE, token)
        if not reader_actions.unsubscribe(runtime, contents, source="the API"):
            raise HTTPException(404, "No list has this name now, so nothing was left. The newsroom is told.")
        return ActionResult(status="left", lists=[contents.list])

    return app
