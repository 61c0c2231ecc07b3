"""Items pushed by a CMS: put, put again, withdrawn. Every request shows the token of a source of `type: push`."""

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
from tidings.sources.article import Article, ArticleFile, ArticlePicture, match_language
from tidings.sources.web import push
from tidings.store.content.fetch_cache import StoredFetchCache

MOST = 2_000_000
"""Bytes of a request: an item of the greatest size, in any encoding of JSON."""


def _whole(key: str) -> str:
    if clean(key) != key or not key.isprintable():
        raise ValueError("an id is of characters that can be seen")
    return key


_Id = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_whole)]
Key = Annotated[_Id, Path(description="The id of the item in your system.")]
_bearer = HTTPBearer(auto_error=False, description="The `token` of the source in tidings.yaml.")


class Pushed(Article):
    """An item with the id that it has in the system that pushes it: the same id is the same item, for ever."""

    id: _Id


class Taken(BaseModel):
    """What was done. The item is on pages and in feeds after the next sweep, half a minute later at the most."""

    model_config = ConfigDict(extra="forbid")

    id: str
    status: Literal["created", "changed", "unchanged", "withdrawn"]


class Refusal(BaseModel):
    """Why it was not done."""

    detail: str


_REFUSED: dict[int | str, dict[str, object]] = {401: {"model": Refusal}, 413: {"description": "Larger than 2 MB."}}
_UNTAKEN: dict[int | str, dict[str, object]] = {415: {"model": Refusal}, **_REFUSED}
_PARTS: dict[object, type[BaseModel]] = {"images": ArticlePicture, "attachments": ArticleFile}


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a token opens."""

    shelf: StoredFetchCache
    settings: push.Settings


class _Explaining(APIRoute):
    """Says what is wrong with a body so that it can be mended from the answer alone."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's own."""
        handle = super().get_route_handler()

        async def explaining(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if request.method != "DELETE" and said != "application/json" and not said.endswith("+json"):
                    # RFC 9110 §15.5.16. `curl -d` says that it sends a form unless it is told otherwise.
                    mend = "Send the header `Content-Type: application/json` with it."
                    raise HTTPException(415, f"The body of this request does not say that it is JSON. {mend}") from None
                model = Pushed if request.method == "POST" else Article
                mended = [_in_words(one, model) for one in error.errors()]
                raise RequestValidationError(mended, body=error.body) from None

        return explaining


def _in_words(error: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """An unknown field with the name that it is near to."""
    where = error["loc"]
    if error["type"] != "extra_forbidden":
        return error
    name = str(where[-1])
    if model is Article and where == ("body", "id"):
        return {**error, "msg": "the id stands in the address already; take it out"}
    fields = (_PARTS.get(where[1], model) if len(where) > 2 else model).model_fields
    return {**error, "msg": f"there is no field {name[:80]!r}. {nearest(name, fields)}"}


def items_router(runtime: Runtime) -> APIRouter:
    """Part of the API at /api."""
    router = APIRouter(tags=["items"], route_class=_Explaining)

    def open_shelf(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> _Opened:
        found: _Opened | None = None
        for name, settings in runtime.newsroom.sources.items():
            # All are looked at, so that the time tells nothing.
            if isinstance(settings, push.Settings) and given and push.has_token(settings, given.credentials):
                found = _Opened(StoredFetchCache(runtime.store, name), settings)
        if found is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "This token opens no source of `type: push`.", headers=headers)
        return found

    token = Depends(open_shelf)

    def take(opened: _Opened, key: str, article: Article, response: Response) -> Taken:
        if not (article.title.strip() or article.html.strip() or article.summary.strip()):
            raise HTTPException(
                422, [{"loc": ["body", "title"], "msg": "an item needs a title or a text", "type": "missing"}]
            )
        languages = runtime.newsroom.site.languages
        if match_language(article.language, opened.settings.language, languages) is None:
            said = f"{article.language!r} is no language of this newsroom; it has {', '.join(languages)}"
            raise HTTPException(422, [{"loc": ["body", "language"], "msg": said, "type": "language"}])
        status = push.put(opened.shelf, key, article, runtime.now())
        response.status_code = 201 if status == "created" else 200
        return Taken(id=key, status=status)

    @router.post("/items", responses={201: {"model": Taken}, **_UNTAKEN})
    def post(item: Pushed, response: Response, opened: _Opened = token) -> Taken:
        """Take an item in, or what is told anew of it. Twice the same changes nothing."""
        article = Article.model_validate(item.model_dump(exclude={"id"}))
        return take(opened, item.id, article, response)

    @router.put("/items/{key:path}", responses={201: {"model": Taken}, **_UNTAKEN})
    def put(key: Key, item: Article, response: Response, opened: _Opened = token) -> Taken:
        """The same, with the id in the address."""
        return take(opened, key, item, response)

    @router.delete("/items/{key:path}", responses={404: {"model": Refusal}, **_REFUSED})
    def delete(
        key: Key,
        opened: _Opened = token,
        reason: Annotated[str, Query(max_length=2_000, description="Readers see it.")] = "",
    ) -> Taken:
        """Withdraw an item: it leaves pages and feeds, and posts of it are taken down where that can be done."""
        said = " ".join(reason.split()) or "It was withdrawn by its publisher."
        if not push.withdraw(opened.shelf, key, said, runtime.now()):
            raise HTTPException(404, "There is no such item.")
        return Taken(id=key, status="withdrawn")

    return router


class Capped:
    """Refuses requests of more than `MOST` bytes before they are read into memory. Plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > MOST:
            await Response("This is more than an item can hold.", 413)(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST:
                raise HTTPException(413, "This is more than an item can hold.")
            return message

        await self._app(scope, counted, send)
