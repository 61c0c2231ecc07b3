"""The application of the team's API at `/api/v1`, and its OpenAPI 3.1 description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tidings.runtime.newsroom import Runtime
from tidings.web.api.v1 import (
    deliveries,
    editions,
    next_edition,
    overview,
    settings,
    stories,
    story_files,
    subscribers,
    team,
)
from tidings.web.api.v1.access import (
    ApiRoute,
    Gate,
    LargeBodies,
    ProblemDetails,
    explain,
    make_route_class,
    unavailable_answer,
)

ROUTES = (
    *overview.ROUTES,
    *stories.ROUTES,
    *story_files.ROUTES,
    *next_edition.ROUTES,
    *editions.ROUTES,
    *subscribers.ROUTES,
    *deliveries.ROUTES,
    *settings.ROUTES,
    *team.ROUTES,
)
"""Every route with the role that it needs. A test requests each with every role and with none."""
_DESCRIPTION = """What the comms room can do, for programs. Every request has a key: `Authorization: Bearer KEY`. A key
has a role and may be limited to some lists. An admin makes and revokes it in the room or with `tidings team key`.

Lists come in pages: `next` of a page is the `cursor` of the following one. A refusal is a problem (RFC 9457) whose
`detail` has the words of the commands. A POST may have an `Idempotency-Key`: a repeat within a day gets the same answer
and does nothing; the same key with another body is refused (422).

What two programs may change at the same time has a `version`, which is also the `ETag` of the answer. A change names
the version that it is about, in its body or in the header `If-Match`. It is refused if there is another version by now
(412), or if it names none (428).

A key may make 300 requests in a minute (429 with `Retry-After`). What a key changes is in the log of the room under
`key NAME`."""
_PROBLEM_SCHEMA = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
_PROBLEM = {"description": "Refused.", "content": {"application/problem+json": _PROBLEM_SCHEMA}}
_bearer = HTTPBearer(auto_error=False, description="A key of `tidings team key add`.")


def create_team_api(find_runtime: Callable[[], Runtime]) -> FastAPI:
    """Create the application. Its description is at /api/v1/openapi.json."""
    app = FastAPI(
        title="Tidings for the team",
        version="1",
        description=_DESCRIPTION,
        servers=[{"url": "/api/v1"}],
        root_path_in_servers=False,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(LargeBodies)
    routes = {(route.method, route.path): route for route in ROUTES}
    router = APIRouter(route_class=make_route_class(Gate(find_runtime), routes), dependencies=[Depends(_bearer)])
    for route in ROUTES:
        name = route.endpoint.__name__
        router.add_api_route(
            route.path,
            route.endpoint,
            methods=[route.method],
            status_code=route.status,
            operation_id=name,
            name=name,
            tags=[route.endpoint.__module__.rpartition(".")[2]],
            openapi_extra={"x-role": route.least.value, "parameters": _describe_headers(route)},
        )
    app.include_router(router)

    @app.exception_handler(SQLAlchemyError)
    def report_unavailable(request: Request, error: Exception) -> Response:
        return unavailable_answer()

    @app.exception_handler(HTTPException)
    def explain_unknown(request: Request, error: Exception) -> Response:
        return explain(error)

    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _describe_headers(route: ApiRoute) -> list[dict[str, Any]]:
    """Return the headers that a request may have, as OpenAPI parameters."""
    named = []
    if route.method == "POST":
        named.append(("Idempotency-Key", "A repeat with the same key gets the same answer and does nothing.", 200))
    if route.is_versioned:
        named.append(("If-Match", "The ETag of what was read, in place of `version`.", 1_000))
    return [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string", "maxLength": most}}
        for name, text, most in named
    ]


def _describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, in which every refusal is answered by a problem."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document["components"]["schemas"]
        problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["ProblemDetails"] = problem
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["4XX"] = _PROBLEM
        app.openapi_schema = document
    return app.openapi_schema


def describe_team_api() -> dict[str, Any]:
    """Return the OpenAPI document without a newsroom, for the reference pages."""

    def no_runtime() -> Runtime:
        raise AssertionError("the description needs no newsroom")

    return create_team_api(no_runtime).openapi()
