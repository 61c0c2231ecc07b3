"""What Prometheus reads: `/metrics` and nothing else, on an address of its own."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidings.runtime.monitoring.metrics import Metrics


def metrics_app(metrics: Metrics) -> Starlette:
    """The application that `tidings run` serves on `web.metrics`."""

    def answer(request: Request) -> Response:
        content, kind = metrics.exposition(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    return Starlette(routes=[Route("/metrics", answer, methods=["GET"])])
