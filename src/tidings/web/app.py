"""The application that `tidings run` serves: routers of the reader's pages first, then what stands in public/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import APIRouter, FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.render.pages.pages import Pages
from tidings.runtime.newsroom import Runtime
from tidings.store.engine import Store, ping
from tidings.web.api.readers import create_api
from tidings.web.hooks.providers import hooks_router
from tidings.web.hooks.websub import websub_router
from tidings.web.site.preferences import preferences_router
from tidings.web.site.review import review_router
from tidings.web.site.static_files import static_endpoint
from tidings.web.site.subscribe import subscribe_router
from tidings.web.site.unsubscribe import unsubscribe_router

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' https: http: data:;"
    " media-src 'self' https: http:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Sent with every answer that does not say otherwise. Pages have no scripts, so none may run."""

Health = Callable[[], dict[str, object]]


class _SecurityHeaders:
    """Adds what an answer lacks. Plain ASGI: nothing is buffered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def create_app(
    store: Store,
    public: Path,
    *,
    routers: Sequence[APIRouter] = (),
    health: Health | None = None,
    readers: FastAPI | None = None,
    site: str = "",
    hubs: Sequence[str] = (),
) -> FastAPI:
    """`routers` are asked before public/, `readers` answers /api. `health` adds to what /healthz says.

    `site` and `hubs` are named with each feed (`static_endpoint`).

    `ok` False in it makes that a 503.
    """
    app = FastAPI(title="Tidings", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(_SecurityHeaders)

    def healthz() -> Response:
        found: dict[str, object] = {"ok": True}
        try:
            with store.read() as connection:
                ping(connection)
            found |= health() if health is not None else {}
        except SQLAlchemyError:
            found = {"ok": False, "store": "cannot be read"}
        return JSONResponse(found, 200 if found["ok"] else 503, headers={"Cache-Control": "no-store"})

    app.add_api_route("/healthz", healthz, methods=["GET", "HEAD"], response_model=None)
    for router in routers:
        app.include_router(router)
    if readers is not None:
        app.mount("/api", readers)
    app.add_route("/{path:path}", static_endpoint(store, public, site=site, hubs=hubs), methods=["GET", "HEAD"])
    return app


def newsroom_app(runtime: Runtime, health: Health | None = None, extra: Sequence[APIRouter] = ()) -> FastAPI:
    """All that a newsroom serves; `extra` routers are asked too."""
    pages = Pages(runtime.newsroom.root / "templates")
    hooks = hooks_router(runtime.store, lambda: runtime.newsroom, now=runtime.now)
    leave = unsubscribe_router(runtime.store, lambda: runtime.newsroom, runtime.keys, pages, now=runtime.now)
    readers = create_api(runtime, pages)
    own = [subscribe_router(runtime, pages), preferences_router(runtime, pages), review_router(runtime, pages)]
    return create_app(
        runtime.store,
        runtime.newsroom.public,
        routers=[leave, hooks, websub_router(runtime), *own, *extra],
        health=health,
        readers=readers,
        site=runtime.newsroom.site.url,
        hubs=[hub.url for hub in runtime.hubs.values()],
    )
