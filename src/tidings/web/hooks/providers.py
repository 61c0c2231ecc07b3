"""`/hooks/PROVIDER`: what Amazon SES, Postmark, Mailgun and SendGrid report. Only what proves to be theirs acts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from tidings.config.settings import Newsroom
from tidings.net import ConnectionLostError, GuardedSession, NotSentError
from tidings.pipeline.track.providers import mailgun, postmark, sendgrid, ses
from tidings.pipeline.track.providers.base import (
    ProviderEvent,
    UnreadableWebhookError,
    UntrustedWebhookError,
    record_provider_events,
)
from tidings.store.engine import Store
from tidings.store.service.clock import real_now

MAX_BODY = 1 << 20
"""Bytes. SendGrid sends at most 768 KB at once."""
_HEADERS = {"Cache-Control": "no-store"}
log = logging.getLogger("tidings.bounces")


class _LaterError(Exception):
    """It cannot be said now whether it is to be believed."""


def fetch(url: str) -> bytes:
    """What stands at an address of SNS, by the guarded session."""
    session = GuardedSession(timeout=10)
    try:
        answer = session.get(url)
    except (NotSentError, ConnectionLostError) as error:
        raise _LaterError(f"SNS cannot be asked: {error}") from None
    finally:
        session.close()
    if answer.status != 200:
        raise _LaterError(f"SNS answered HTTP {answer.status}")
    return answer.text.encode()


def hooks_router(
    store: Store,
    newsroom: Callable[[], Newsroom],
    *,
    now: Callable[[], datetime] = real_now,
    clock: Callable[[], float] = time.time,
    fetch: ses.Fetch = fetch,
) -> APIRouter:
    """`now` is the newsroom's clock, `clock` real time in seconds since 1970."""
    router = APIRouter()
    sns = ses.SnsVerifier(fetch)

    def said(provider: str, headers: Mapping[str, str], body: bytes) -> list[ProviderEvent] | None:
        """None where this provider is not configured. Raises UntrustedWebhookError and UnreadableWebhookError."""
        bounces = newsroom().bounces
        if provider == "ses" and bounces.ses is not None:
            message = sns.verify(bounces.ses, body)
            if message["Type"] == "SubscriptionConfirmation":
                sns.confirm_subscription(message)
                log.info("the subscription to %s is confirmed", message["TopicArn"])
            return ses.parse_events(message) if message["Type"] == "Notification" else []
        if provider == "postmark" and bounces.postmark is not None:
            postmark.verify(bounces.postmark, headers, body)
            return postmark.parse_events(body)
        if provider == "mailgun" and bounces.mailgun is not None:
            mailgun.verify(bounces.mailgun, headers, body, now=clock())
            return mailgun.parse_events(body)
        if provider == "sendgrid" and bounces.sendgrid is not None:
            sendgrid.verify(bounces.sendgrid, headers, body, now=clock())
            return sendgrid.parse_events(body)
        return None

    def answered(provider: str, headers: Mapping[str, str], body: bytes) -> Response:
        try:
            found = said(provider, headers, body)
            if found is None:
                return _plain("There is nothing here.", 404)
            done = record_provider_events(store, found, soft_limit=newsroom().bounces.soft, via=provider, now=now())
        except UntrustedWebhookError as error:
            log.warning("a report to /hooks/%s is not believed: %s", provider, error)
            return _plain("This is not believed.", 403)
        except UnreadableWebhookError as error:
            log.warning("a report to /hooks/%s cannot be read: %s", provider, error)
            return _plain("This cannot be read.", 400)
        except (_LaterError, SQLAlchemyError) as error:
            words = str(error) if isinstance(error, _LaterError) else type(error).__name__
            log.error("a report to /hooks/%s could not be taken, it comes again: %s", provider, words)
            return _plain("Please try again in a minute.", 503)
        if done:
            log.info("heard by %s: %s", provider, ", ".join(sorted(done)[:20]))
        return _plain("ok", 200)

    @router.post("/hooks/{provider}")
    async def hear(provider: str, request: Request) -> Response:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    return _plain("This is too much at once.", 413)
        except ClientDisconnect:
            return _plain("The request was not complete.", 400)
        headers = {name.lower(): value for name, value in request.headers.items()}
        return await run_in_threadpool(answered, provider, headers, bytes(body))

    return router


def _plain(text: str, status: int) -> Response:
    return PlainTextResponse(text + "\n", status, headers=_HEADERS)
