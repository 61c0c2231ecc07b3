"""`/hooks/PROVIDER`: what Amazon SES, Postmark, Mailgun and SendGrid report. Only what proves to be theirs acts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from tidings.config.settings import Newsroom
from tidings.net import ConnectionLostError, GuardedSession, NotSentError
from tidings.pipeline.track.event import SoftBounceLimit
from tidings.pipeline.track.providers import mailgun, postmark, sendgrid, ses
from tidings.pipeline.track.providers.events import NotBelievedError, Said, UnreadableError, act
from tidings.store.engine import Store

MAX_BODY = 1 << 20
"""Bytes. SendGrid sends at most 768 KB at once."""
_HEADERS = {"Cache-Control": "no-store"}
log = logging.getLogger("tidings.bounces")


class _LaterError(Exception):
    """It cannot be said now whether it is to be believed."""


def _real_now() -> datetime:
    return datetime.now(UTC)


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
    now: Callable[[], datetime] = _real_now,
    clock: Callable[[], float] = time.time,
    fetch: ses.Fetch = fetch,
) -> APIRouter:
    """`now` is the newsroom's clock, `clock` real time in seconds since 1970."""
    router = APIRouter()
    envelope = ses.Envelope(fetch)

    def said(provider: str, headers: Mapping[str, str], body: bytes) -> list[Said] | None:
        """None where this provider is not configured. Raises NotBelievedError and UnreadableError."""
        bounces = newsroom().bounces
        if provider == "ses" and bounces.ses is not None:
            message = envelope.open(bounces.ses, body)
            if message["Type"] == "SubscriptionConfirmation":
                envelope.confirm(message)
                log.info("the subscription to %s is confirmed", message["TopicArn"])
            return ses.read(message) if message["Type"] == "Notification" else []
        if provider == "postmark" and bounces.postmark is not None:
            postmark.authentic(bounces.postmark, headers, body)
            return postmark.read(body)
        if provider == "mailgun" and bounces.mailgun is not None:
            mailgun.authentic(bounces.mailgun, headers, body, now=clock())
            return mailgun.read(body)
        if provider == "sendgrid" and bounces.sendgrid is not None:
            sendgrid.authentic(bounces.sendgrid, headers, body, now=clock())
            return sendgrid.read(body)
        return None

    def answered(provider: str, headers: Mapping[str, str], body: bytes) -> Response:
        try:
            found = said(provider, headers, body)
            if found is None:
                return _plain("There is nothing here.", 404)
            soft = newsroom().bounces.soft
            done = act(store, found, patience=SoftBounceLimit(soft.days, soft.within), via=provider, now=now())
        except NotBelievedError as error:
            log.warning("a report to /hooks/%s is not believed: %s", provider, error)
            return _plain("This is not believed.", 403)
        except UnreadableError as error:
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
