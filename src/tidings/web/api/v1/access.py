"""Authenticate and limit requests to the team's API, and answer them.

Each API route names a route of the comms room and needs the same role, so that one permission table serves both. A
request without a known key is refused before its body is checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Generic, Protocol, TypeVar

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from tidings.config.settings import Newsroom
from tidings.model.errors import InputError, RefusedError, TidingsError, nearest
from tidings.runtime.newsroom import Runtime
from tidings.store.people import api_keys, team
from tidings.store.people.api_keys import ApiKey
from tidings.store.people.team import Role, TeamMember
from tidings.store.service.clock import real_now
from tidings.web.api.items import SizeLimit
from tidings.web.requests import client_network
from tidings.web.room.routes import ROUTES as ROOM_ROUTES

LARGEST = 6_000_000
"""Largest request in bytes: an import of about 50,000 lines."""
LARGEST_PICTURE = 28_000_000
"""Largest request with a picture, in bytes: 20 MB, which base64 makes a third longer."""
PER_MINUTE = 300
"""Requests a minute with one key."""
GUESSES_PER_MINUTE = 30
"""Requests a minute from one network with unknown keys."""
_MOST_CLIENTS = 10_000
_NO_KEY = "Send a key of this newsroom: `Authorization: Bearer KEY`. An admin makes it: tidings team key add."
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_ROOM_ROLES = {f"{route.method} {route.path}": route.least for route in ROOM_ROUTES}
T = TypeVar("T")


class _Entry(Protocol):
    """An entry of a list that is sorted by id."""

    @property
    def id(self) -> int: ...


E = TypeVar("E", bound=_Entry)


class ApiModel(BaseModel):
    """Base of request and answer bodies. An unknown field is an error, so that typing mistakes are noticed.

    `model_validate` also takes a row of the store that has the same field names.
    """

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class VersionedModel(ApiModel):
    """An object that two programs may change at the same time. Its version is also the ETag of the answer."""

    version: str = Field(description="Send it back with a change, so that nothing of others is lost.")


class Page(ApiModel, Generic[T]):
    """One page of a list. `next` is the `cursor` of the following page, or null at the end."""

    items: list[T]
    next: str | None = None


class FieldError(ApiModel):
    """A field of the request that is wrong, and why."""

    field: str
    message: str


class ProblemDetails(ApiModel):
    """The answer to a refused request (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(default_factory=list)


class ApiRefusal(Exception):
    """A refusal with its HTTP status."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key of a request, and its newsroom."""

    runtime: Runtime
    key: ApiKey
    network: str
    read_versions: frozenset[str] = frozenset()
    """The versions of the header If-Match."""

    @property
    def newsroom(self) -> Newsroom:
        """The present configuration."""
        return self.runtime.newsroom

    @property
    def person(self) -> TeamMember:
        """The key in the form of a team member, for the permission rules."""
        return self.key.as_member

    def may(self, least: Role) -> bool:
        """Whether the key has at least this role."""
        return self.key.role.includes(least)

    def lists(self) -> list[str]:
        """Return the lists that the key may work on."""
        return [name for name in self.newsroom.lists if self.person.may_see_list(name)]

    def check_list(self, name: str) -> str:
        """Return the name of a list that exists and that the key may work on. Raises ApiRefusal."""
        if name not in self.lists():
            raise ApiRefusal(404, f"there is no list {name!r}, or not for this key. {nearest(name, self.lists())}")
        return name

    def check_version(self, name: str, present: str, seen: str) -> None:
        """Raise ApiRefusal unless the caller read the present version: `seen` of the body, or the header If-Match."""
        known = {seen} if seen else self.read_versions
        if not known:
            raise ApiRefusal(428, f"send the `version` of {name} that you read, or its ETag in the header If-Match.")
        if present not in known:
            raise ApiRefusal(412, f"{name} has changed in the meantime. Read it again, then change it.")

    def record(self, connection: Connection, action: str, about: str, details: str = "") -> None:
        """Write a line of the log in the name of the key."""
        who = self.person.email
        team.record_action(connection, action, about, who=who, via="api", now=real_now(), details=details)


def _get_caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Who = Annotated[Caller, Depends(_get_caller)]
ReadVersion = Annotated[
    str, Field(max_length=64, description="`version` of what was read; or send its ETag in the header If-Match.")
]
Cursor = Annotated[str, Field(max_length=1_000, description="`next` of the page before.")]
Limit = Annotated[int, Field(ge=1, le=100, description="Entries of a page.")]


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A route of the API. `like` is the route of the comms room that needs the same role, such as `GET stories`.

    `like` is a role where the room has no route of its own for the action, only a button.
    """

    method: str
    path: str
    like: str | Role
    endpoint: Callable[..., Any]
    status: int = 200
    is_versioned: bool = False
    """Whether it takes the header If-Match, because others may have changed the object meanwhile."""
    is_secret: bool = False
    """Whether its answer holds a secret. Such an answer is not stored for a repeat of the request."""

    @property
    def least(self) -> Role:
        """The lowest role that may use the route."""
        least = self.like if isinstance(self.like, Role) else _ROOM_ROLES[self.like]
        assert least is not None, f"{self.like} needs no role"
        return least


# -- cursors ----------------------------------------------------------------------------------------------------------


def make_cursor(*values: object) -> str:
    """Return a cursor with the position of the last entry. It is opaque to the client."""
    return base64.urlsafe_b64encode(json.dumps(values, ensure_ascii=False).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type) -> list[Any] | None:
    """Return the values of a cursor, or None for the first page. Raises ApiRefusal."""
    if not cursor:
        return None
    try:
        values = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        values = None
    fits = isinstance(values, list) and [type(value) for value in values] == list(kinds)
    if not fits or not all(map(_is_storable, values)):
        raise ApiRefusal(422, "this cursor does not belong to this list. Take `next` of the page before.")
    return list(values)


def _is_storable(value: object) -> bool:
    """Whether a database takes this value."""
    return abs(value) < 2**62 if isinstance(value, int) else "\0" not in str(value)


def read_id(cursor: str) -> int | None:
    """Return the id in a cursor of `make_page`, or None for the first page. Raises ApiRefusal."""
    position = read_cursor(cursor, int)
    return None if position is None else int(position[0])


def make_page(found: Sequence[E], limit: int, describe: Callable[[E], T]) -> Page[T]:
    """Return a page of `limit` entries. `found` has one entry more if there is a next page."""
    shown = found[:limit]
    following = make_cursor(shown[-1].id) if len(found) > limit else None
    return Page(items=[describe(entry) for entry in shown], next=following)


# -- problems ---------------------------------------------------------------------------------------------------------


def problem(
    status: int, detail: str, errors: list[dict[str, str]] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem (RFC 9457). `detail` is the message that the commands print."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    # In ASCII: the input may have lone surrogates, which no encoding can write.
    text = json.dumps(body | ({"errors": errors} if errors else {}))
    return Response(text, status, media_type="application/problem+json", headers=dict(headers or {}))


def explain(error: Exception) -> Response:
    """Turn an expected error into an answer. Raises every other error again."""
    if isinstance(error, ApiRefusal):
        return problem(error.status, str(error), headers=error.headers)
    if isinstance(error, RequestValidationError):
        errors = [
            {"field": ".".join(str(part) for part in one["loc"][1:])[:200], "message": str(one["msg"])[:500]}
            for one in error.errors()
        ]
        first = errors[0] if errors else {"field": "", "message": "the request is not valid"}
        return problem(422, ": ".join(filter(None, first.values())), errors)
    if isinstance(error, InputError):
        return problem(422, str(error))
    if isinstance(error, (RefusedError, TidingsError)):
        return problem(409, str(error))
    if isinstance(error, HTTPException):
        return problem(error.status_code, str(error.detail), headers=error.headers)
    raise error


# -- limits -----------------------------------------------------------------------------------------------------------


class RequestLimit:
    """Counts the requests of the current minute, in the memory of this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._minute = 0
        self._counts: dict[str, int] = {}

    def check(self, client: str) -> None:
        """Count a request. Raises ApiRefusal if there were too many."""
        now = time.time()
        with self._lock:
            if int(now // 60) != self._minute or len(self._counts) > _MOST_CLIENTS:
                self._minute, self._counts = int(now // 60), {}
            self._counts[client] = count = self._counts.get(client, 0) + 1
        if count > self._most:
            wait = str(60 - int(now) % 60)
            detail = f"There are more than {self._most} requests in a minute. Try again in {wait} seconds."
            raise ApiRefusal(429, detail, {"Retry-After": wait})


class LargeBodies(SizeLimit):
    """Refuses a request that is too large before it is read into memory."""

    def limit(self, scope: Scope) -> int:
        return LARGEST_PICTURE if scope["path"].endswith("/pictures") else LARGEST

    def refuse(self, most: int) -> Response:
        return problem(413, f"The request is larger than {most // 1_000_000} MB.")


# -- one request ------------------------------------------------------------------------------------------------------


class Gate:
    """Admits requests: finds the key, counts the request, and checks the role."""

    def __init__(self, find_runtime: Callable[[], Runtime]) -> None:
        self._find_runtime = find_runtime
        self._requests, self._guesses = RequestLimit(PER_MINUTE), RequestLimit(GUESSES_PER_MINUTE)

    def identify(self, request: Request, least: Role) -> Caller:
        """Return the caller. Raises ApiRefusal unless the request has a key that may do this."""
        runtime, now = self._find_runtime(), real_now()
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        key = None
        if kind.lower() == "bearer" and 0 < len(secret.strip()) <= 200:
            with runtime.store.read() as connection:
                key = api_keys.find_key(connection, secret.strip())
        if key is None:
            self._guesses.check(client_network(request))
            raise ApiRefusal(401, _NO_KEY, {"WWW-Authenticate": "Bearer"})
        self._requests.check(str(key.id))
        if api_keys.is_stale(key, now):
            with runtime.store.write() as connection:
                api_keys.touch_key(connection, key.id, now)
        if not key.role.includes(least):
            raise ApiRefusal(403, f"This needs the role of {least}. The key {key.name} has the role of {key.role}.")
        tags = re.findall(r'"([^"]{1,64})"', request.headers.get("if-match", "")[:1_000])
        return Caller(runtime, key, client_network(request), frozenset(tags))


def make_route_class(gate: Gate, routes: Mapping[tuple[str, str], ApiRoute]) -> type[APIRoute]:
    """Return the class for routes that pass the gate. `routes` is the permission table by method and path."""

    class GatedRoute(APIRoute):
        """Identifies the caller, then answers. A known Idempotency-Key gets its earlier answer again."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle, path = super().get_route_handler(), self.path
            has_version = isinstance(self.response_model, type) and issubclass(self.response_model, VersionedModel)

            async def answer(request: Request) -> Response:
                try:
                    route = routes[request.method, path]
                    caller = await run_in_threadpool(gate.identify, request, route.least)
                    request.state.caller = caller
                    response = await _answer(caller, request, handle, is_secret=route.is_secret)
                    if has_version and response.status_code < 300:
                        response.headers["ETag"] = f'"{json.loads(bytes(response.body))["version"]}"'
                except Exception as error:
                    response = explain(error)
                response.headers["Cache-Control"] = "no-store"
                return response

            return answer

    return GatedRoute


async def _answer(
    caller: Caller, request: Request, handle: Callable[[Request], Awaitable[Response]], *, is_secret: bool
) -> Response:
    body = await request.body()
    asked = f"{request.url.path}{request.url.query}"
    if "\0" in asked or "%00" in asked or b"\\u0000" in body:
        raise ApiRefusal(422, "the request has a null character, which no text here can contain.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json" and not kind.endswith("+json"):
        raise ApiRefusal(415, "The request is not marked as JSON. Send the header `Content-Type: application/json`.")
    name = request.headers.get("idempotency-key", "")
    if request.method != "POST" or not name:
        return await handle(request)
    if not _IDEMPOTENCY_KEY.fullmatch(name):
        raise ApiRefusal(400, "an Idempotency-Key has 1 to 200 visible ASCII characters.")
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode() + body).hexdigest()
    if (repeated := await run_in_threadpool(_begin, caller, name, digest)) is not None:
        return repeated
    try:
        try:
            response = await handle(request)
        except Exception as error:
            response = explain(error)
    except BaseException:
        await run_in_threadpool(_drop, caller, name)
        raise
    if response.status_code >= 500 or response.status_code == 429:
        await run_in_threadpool(_drop, caller, name)
    else:
        is_kept = not is_secret or response.status_code >= 400
        kept = (response.status_code, bytes(response.body).decode()) if is_kept else (410, "")
        await run_in_threadpool(_end, caller, name, *kept)
    return response


def _begin(caller: Caller, name: str, digest: str) -> Response | None:
    with caller.runtime.store.write() as connection:
        stored = api_keys.begin_answer(connection, caller.key.id, name, digest, real_now())
    if stored is None:
        return None
    if stored.request != digest:
        raise ApiRefusal(422, f"the Idempotency-Key {name} was used for another request. Use a new one.")
    if stored.status is None:
        text = "the first request with this Idempotency-Key is not finished, or was interrupted."
        raise ApiRefusal(409, f"{text} Look whether it was done, then use a new key.")
    if stored.status == 410:
        return problem(
            410, "It was done. Its answer is not kept: it held a secret, or named a person who was erased since."
        )
    kind = "application/problem+json" if stored.status >= 400 else "application/json"
    return Response(stored.body, stored.status, media_type=kind, headers={"Idempotent-Replayed": "true"})


def _end(caller: Caller, name: str, status: int, body: str) -> None:
    with caller.runtime.store.write() as connection:
        api_keys.end_answer(connection, caller.key.id, name, status, body)


def _drop(caller: Caller, name: str) -> None:
    with caller.runtime.store.write() as connection:
        api_keys.drop_answer(connection, caller.key.id, name)


def unavailable_answer() -> Response:
    """Answer that the store cannot be used now."""
    body = {"type": "about:blank", "title": "Service Unavailable", "status": 503}
    body["detail"] = "This cannot be done right now. Please try again in a minute."
    return JSONResponse(body, 503, headers={"Retry-After": "60"}, media_type="application/problem+json")
