"""The API for a CMS that pushes, changes and withdraws items. Each request has the token of a `type: push` source."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.model.errors import nearest
from tidings.model.text import clean
from tidings.runtime.newsroom import Runtime
from tidings.sources.article import Article, ArticleContact, ArticleFile, ArticlePicture, match_language
from tidings.sources.web import push
from tidings.store.content.fetch_cache import StoredFetchCache

MAX_BODY = 2_000_000
"""Largest request in bytes: enough for the largest item, in any encoding of JSON."""
_MAX_DIGITS = 18
"""Most digits of a Content-Length. Python refuses to convert thousands of digits."""
_TOO_LARGE = "The request is larger than an item can be."


def _check_id(key: str) -> str:
    if clean(key) != key or not key.isprintable():
        raise ValueError("an id has printable characters only")
    return key


_Id = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_check_id)]
Key = Annotated[_Id, Path(description="The id of the item in your system.")]
_bearer = HTTPBearer(auto_error=False, description="The `token` of the source in tidings.yaml.")


class PushedItem(Article):
    """An item with its id in the CMS. The same id always means the same item."""

    id: _Id


class PushResult(BaseModel):
    """The result of a push. The item is on pages and in feeds after the next sweep, at most half a minute later."""

    model_config = ConfigDict(extra="forbid")

    id: str
    status: Literal["created", "changed", "unchanged", "withdrawn"]


class ErrorDetail(BaseModel):
    """Why a request was refused."""

    detail: str


_REFUSALS: dict[int | str, dict[str, object]] = {401: {"model": ErrorDetail}, 413: {"description": "Larger than 2 MB."}}
_PUT_RESPONSES: dict[int | str, dict[str, object]] = {
    201: {"model": PushResult},
    415: {"model": ErrorDetail},
    **_REFUSALS,
}
_PARTS: dict[object, type[BaseModel]] = {
    "images": ArticlePicture,
    "attachments": ArticleFile,
    "contact": ArticleContact,
}


@dataclass(frozen=True, slots=True)
class _PushSource:
    """The source to which a token belongs."""

    cache: StoredFetchCache
    settings: push.Settings


class _ExplainingRoute(APIRoute):
    """A route that answers an invalid body with an explanation of how to correct it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def explaining(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if request.method != "DELETE" and kind != "application/json" and not kind.endswith("+json"):
                    # RFC 9110 §15.5.16. Without this header `curl -d` announces a form.
                    text = "The request is not marked as JSON. Send the header `Content-Type: application/json`."
                    raise HTTPException(415, text) from None
                model = PushedItem if request.method == "POST" else Article
                explained = [_explain(problem, model) for problem in error.errors()]
                raise RequestValidationError(explained, body=error.body) from None

        return explaining


def _explain(error: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Add the nearest valid name to an error about an unknown field."""
    where = error["loc"]
    if error["type"] != "extra_forbidden":
        return error
    name = str(where[-1])
    if model is Article and where == ("body", "id"):
        return {**error, "msg": "the id is already in the address; remove it here"}
    fields = (_PARTS.get(where[1], model) if len(where) > 2 else model).model_fields
    return {**error, "msg": f"there is no field {name[:80]!r}. {nearest(name, fields)}"}


def items_router(runtime: Runtime) -> APIRouter:
    """The part of the API for a CMS."""
    router = APIRouter(tags=["items"], route_class=_ExplainingRoute)

    def find_source(login: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> _PushSource:
        source: _PushSource | None = None
        for name, settings in runtime.newsroom.sources.items():
            # Compare with every token, so that the response time reveals nothing.
            if isinstance(settings, push.Settings) and login and push.has_token(settings, login.credentials):
                source = _PushSource(StoredFetchCache(runtime.store, name), settings)
        if source is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "No source of `type: push` has this token.", headers=headers)
        return source

    by_token = Depends(find_source)

    def store(source: _PushSource, key: str, article: Article, response: Response) -> PushResult:
        if not (article.title.strip() or article.html.strip() or article.summary.strip()):
            raise HTTPException(
                422, [{"loc": ["body", "title"], "msg": "an item needs a title or a text", "type": "missing"}]
            )
        languages = runtime.newsroom.site.languages
        if match_language(article.language, source.settings.language, languages) is None:
            text = f"{article.language!r} is not a language of this newsroom; it has {', '.join(languages)}"
            raise HTTPException(422, [{"loc": ["body", "language"], "msg": text, "type": "language"}])
        status = push.put(source.cache, key, article, runtime.now())
        response.status_code = 201 if status == "created" else 200
        return PushResult(id=key, status=status)

    @router.post("/items", responses=_PUT_RESPONSES)
    def post(item: PushedItem, response: Response, source: _PushSource = by_token) -> PushResult:
        """Add an item, or change it. A repeat changes nothing."""
        article = Article.model_validate(item.model_dump(exclude={"id"}))
        return store(source, item.id, article, response)

    @router.put("/items/{key:path}", responses=_PUT_RESPONSES)
    def put(key: Key, item: Article, response: Response, source: _PushSource = by_token) -> PushResult:
        """Add an item, or change it, with its id in the address."""
        return store(source, key, item, response)

    @router.delete("/items/{key:path}", responses={404: {"model": ErrorDetail}, **_REFUSALS})
    def delete(
        key: Key,
        source: _PushSource = by_token,
        reason: Annotated[str, Query(max_length=2_000, description="Readers see it.")] = "",
    ) -> PushResult:
        """Withdraw an item from pages and feeds. Its posts are deleted if the channel can do that."""
        text = " ".join(reason.split()) or "It was withdrawn by its publisher."
        if not push.withdraw(source.cache, key, text, runtime.now()):
            raise HTTPException(404, "There is no such item.")
        return PushResult(id=key, status="withdrawn")

    return router


class SizeLimit:
    """Refuses requests of more than `limit` bytes before they are read into memory. Plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def limit(self, scope: Scope) -> int:
        """Return the largest size of a request, in bytes."""
        return MAX_BODY

    def refuse(self, most: int) -> Response:
        """Return the answer to a request of more than `most` bytes."""
        return Response(_TOO_LARGE, 413)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length, most = dict(scope["headers"]).get(b"content-length", b"0"), self.limit(scope)
        if not length.isdigit() or len(length) > _MAX_DIGITS or int(length) > most:
            await self.refuse(most)(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, receive_within_limit, send)
