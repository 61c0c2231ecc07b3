"""`/websub/TOKEN`: a hub verifies a subscription, and reports that a feed has changed (W3C WebSub §5.3, §7, §8)."""

from __future__ import annotations

import hmac

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tidings.pipeline.collect import websub
from tidings.runtime.newsroom import Runtime
from tidings.web.requests import NO_STORE, read_body

MAX_BODY = 15_000_000
"""Largest body in bytes: a hub sends the whole feed. Its content is not kept."""


def websub_router(runtime: Runtime) -> APIRouter:
    """Make the router for `/websub/TOKEN`. Each subscription has its own token."""
    router = APIRouter()
    store = runtime.store

    @router.get(f"/{websub.PATH}{{token}}")
    def verify(token: str, request: Request) -> Response:
        """Return the hub's challenge if we asked for the subscription."""
        query = request.query_params
        mode, topic, now = query.get("hub.mode"), query.get("hub.topic", ""), runtime.now()
        if mode == "denied" and websub.record_denial(store, token, topic, query.get("hub.reason", ""), now):
            return _answer("ok", 200)
        lease = query.get("hub.lease_seconds", "")
        seconds = int(lease) if lease.isascii() and lease.isdigit() and len(lease) < 10 else 0
        if mode == "subscribe" and websub.confirm_subscription(store, token, topic, seconds, now):
            return _answer(query.get("hub.challenge", ""), 200)
        return _answer("We did not ask for this subscription.", 404)

    @router.post(f"/{websub.PATH}{{token}}")
    async def receive(token: str, request: Request) -> Response:
        """Check the signature and discard the content: Tidings fetches the feed from its site."""
        subscription = await run_in_threadpool(websub.find_active_subscription, store, token, runtime.now())
        if subscription is None:
            return _answer("There is no such subscription.", 410)
        signature = websub.start_signature_check(subscription, request.headers.get("x-hub-signature", ""))
        consume = signature[0].update if signature is not None else lambda chunk: None
        body = await read_body(request, MAX_BODY, consume, NO_STORE)
        if isinstance(body, Response):
            return body
        # A wrong signature gets the same answer as a right one, and has no effect (§8.2).
        if signature is not None and hmac.compare_digest(signature[0].hexdigest().encode(), signature[1].encode()):
            await run_in_threadpool(websub.record_change, store, subscription, runtime.now())
        return _answer("ok", 202)

    return router


def _answer(text: str, status: int) -> Response:
    # No line end: the challenge must be returned unchanged.
    return PlainTextResponse(text, status, NO_STORE)
