"""`/websub/TOKEN`: a hub asks whether it was asked, and tells that a feed has changed (W3C WebSub §5.3, §7, §8)."""

from __future__ import annotations

import hmac

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from tidings.pipeline.collect import websub
from tidings.runtime.newsroom import Runtime

MAX_BODY = 15_000_000
"""Bytes: a hub sends the feed itself, of which nothing is kept."""
_HEADERS = {"Cache-Control": "no-store"}


def websub_router(runtime: Runtime) -> APIRouter:
    """The address that ends with the token of a subscription."""
    router = APIRouter()
    store = runtime.store

    @router.get(f"/{websub.PATH}{{token}}")
    def asked_back(token: str, request: Request) -> Response:
        """Its challenge is given back if it was asked."""
        said = request.query_params
        mode, topic, now = said.get("hub.mode"), said.get("hub.topic", ""), runtime.now()
        if mode == "denied" and websub.record_denial(store, token, topic, said.get("hub.reason", ""), now):
            return _plain("ok", 200)
        lease = said.get("hub.lease_seconds", "")
        seconds = int(lease) if lease.isascii() and lease.isdigit() and len(lease) < 10 else 0
        if mode == "subscribe" and websub.confirm_subscription(store, token, topic, seconds, now):
            return _plain(said.get("hub.challenge", ""), 200)
        return _plain("Nobody here asked for this.", 404)

    @router.post(f"/{websub.PATH}{{token}}")
    async def told(token: str, request: Request) -> Response:
        """Its words are measured against the signature, and thrown away: the feed is read where it stands."""
        one = await run_in_threadpool(websub.find_active_subscription, store, token, runtime.now())
        if one is None:
            return _plain("There is no such subscription.", 410)
        signed = websub.start_signature_check(one, request.headers.get("x-hub-signature", ""))
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_BODY:
                    return _plain("This is too much at once.", 413)
                if signed is not None:
                    signed[0].update(chunk)
        except ClientDisconnect:
            return _plain("The request was not complete.", 400)
        # A wrong signature is answered as a right one is, and does nothing (§8.2).
        if signed is not None and hmac.compare_digest(signed[0].hexdigest().encode(), signed[1].encode()):
            await run_in_threadpool(websub.record_change, store, one, runtime.now())
        return _plain("ok", 202)

    return router


def _plain(text: str, status: int) -> Response:
    return PlainTextResponse(text, status, _HEADERS)
