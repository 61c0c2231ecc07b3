"""The application that `tidings run` serves: the routers come first, then the files of public/."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import APIRouter, FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.render.pages.pages import Pages
from tidings.runtime.monitoring.metrics import Metrics
from tidings.runtime.newsroom import Runtime
from tidings.store.engine import Store, ping
from tidings.web.api.readers import create_api
from tidings.web.api.v1.app import create_team_api
from tidings.web.connections import PageThrottle
from tidings.web.hooks.providers import hooks_router
from tidings.web.hooks.websub import websub_router
from tidings.web.requests import NO_STORE, text_response
from tidings.web.room.routes import room_router
from tidings.web.site.preferences import preferences_router
from tidings.web.site.review import review_router
from tidings.web.site.static_files import SECURITY_HEADERS, StaticFiles
from tidings.web.site.subscribe import subscribe_router
from tidings.web.site.unsubscribe import unsubscribe_router

Health = Callable[[], dict[str, object]]
_READERS_LINK = re.compile(r"/+(unsubscribe|confirm|preferences|erase)/+", re.IGNORECASE)


class _SecurityHeaders:
    """Adds missing security headers to answers. It is plain ASGI, so that nothing is buffered."""

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


class _NoZeros:
    """Refuses an address with a zero byte, because PostgreSQL can neither store nor look for one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_zero = scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"])
        answer = text_response("There is nothing here.", 404, NO_STORE) if has_zero else self._app
        await answer(scope, receive, send)


class _ReadersLinks:
    """Finds the page of a reader's link whose beginning a mail program has changed, as in `//UNSUBSCRIBE/...`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (match := _READERS_LINK.match(scope["path"])):
            token = "".join(scope["path"][match.end() :].splitlines())
            scope = {**scope, "path": f"/{match[1].lower()}/{token}"}
        await self._app(scope, receive, send)


def create_app(
    store: Store,
    public: Path,
    *,
    routers: Sequence[APIRouter] = (),
    health: Health | None = None,
    readers: FastAPI | None = None,
    team: FastAPI | None = None,
    site: str = "",
    hubs: Sequence[str] = (),
) -> FastAPI:
    """Create the application. `routers` come before public/; `readers` is mounted at /api, `team` at
    /api/v1.

    `health` adds fields to the answer of /healthz; if `ok` is False, the status is 503. For `site` and `hubs`, see
    `StaticFiles`.
    """
    app = FastAPI(title="Tidings", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    def healthz() -> Response:
        values: dict[str, object] = {"ok": True}
        try:
            with store.read() as connection:
                ping(connection)
            values |= health() if health is not None else {}
        except SQLAlchemyError:
            values = {"ok": False, "store": "cannot be read"}
        return JSONResponse(values, 200 if values["ok"] else 503, headers={"Cache-Control": "no-store"})

    app.add_api_route("/healthz", healthz, methods=["GET", "HEAD"], response_model=None)
    for router in routers:
        app.include_router(router)
    if team is not None:
        app.mount("/api/v1", team)
    if readers is not None:
        app.mount("/api", readers)
    files = StaticFiles(store, public, site=site, hubs=hubs)
    # For `BoundedProtocol`.
    app.state.files = files
    app.router.routes.append(Route("/{path:path}", files, methods=["GET", "HEAD"]))
    app.add_middleware(_NoZeros)
    app.add_middleware(_SecurityHeaders)
    app.add_middleware(_ReadersLinks)
    return app


def newsroom_app(runtime: Runtime, health: Health | None = None, extra: Sequence[APIRouter] = ()) -> FastAPI:
    """Create the application of a newsroom, with `extra` routers."""
    pages = Pages(runtime.newsroom.root / "templates")
    site_routers = (unsubscribe_router, subscribe_router, preferences_router, review_router)
    app = create_app(
        runtime.store,
        runtime.newsroom.public,
        routers=[
            hooks_router(runtime.store, lambda: runtime.newsroom, now=runtime.now),
            websub_router(runtime),
            *(make_router(runtime, pages) for make_router in site_routers),
            *extra,
            room_router(runtime),
        ],
        health=health,
        readers=create_api(runtime),
        team=create_team_api(lambda: runtime),
        site=runtime.newsroom.site.url,
        hubs=[hub.url for hub in runtime.hubs.values()],
    )
    app.state.throttle = PageThrottle(lambda: runtime.is_sending)
    return app


def metrics_app(metrics: Metrics) -> Starlette:
    """Create the application that `tidings run` serves at the separate address `web.metrics`."""

    def exposition(request: Request) -> Response:
        content, kind = metrics.exposition(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    return Starlette(routes=[Route("/metrics", exposition, methods=["GET"])])
