"""`/hooks/PROVIDER`: reports of Amazon SES, Postmark, Mailgun and SendGrid. Only verified reports have an effect."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidings.config.settings import Newsroom
from tidings.net import ConnectionLostError, GuardedSession, NotSentError
from tidings.pipeline.track.providers import mailgun, postmark, sendgrid, ses
from tidings.pipeline.track.providers.base import (
    ProviderEvent,
    UnreadableWebhookError,
    UntrustedWebhookError,
    record_provider_events,
)
from tidings.store.engine import Store, describe_fault
from tidings.web.requests import NO_STORE, read_body, text_response

MAX_BODY = 1 << 20
"""Largest report in bytes. SendGrid sends at most 768 KB at once."""
log = logging.getLogger("tidings.bounces")


class _CannotVerifyError(Exception):
    """The report cannot be verified now. The text is the reason."""


def fetch(url: str) -> bytes:
    """Fetch a URL of SNS with the guarded session."""
    session = GuardedSession(timeout=10)
    try:
        answer = session.get(url)
    except (NotSentError, ConnectionLostError) as error:
        raise _CannotVerifyError(f"SNS cannot be reached: {error}") from None
    finally:
        session.close()
    if answer.status != 200:
        raise _CannotVerifyError(f"SNS answered HTTP {answer.status}")
    return answer.text.encode()


def hooks_router(
    store: Store,
    newsroom: Callable[[], Newsroom],
    *,
    now: Callable[[], datetime],
    clock: Callable[[], float] = time.time,
    fetch: ses.Fetch = fetch,
) -> APIRouter:
    """Make the router. `now` is the newsroom's clock, `clock` is real time in seconds since 1970."""
    router = APIRouter()
    sns = ses.SnsVerifier(fetch)

    def verify_and_parse(provider: str, headers: Mapping[str, str], body: bytes) -> list[ProviderEvent] | None:
        """Return a report's events; None for an unset provider. Raises UntrustedWebhookError or
        UnreadableWebhookError."""
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

    def handle(provider: str, headers: Mapping[str, str], body: bytes) -> Response:
        try:
            events = verify_and_parse(provider, headers, body)
            if events is None:
                return text_response("There is nothing here.", 404, NO_STORE)
            counts = record_provider_events(store, events, rules=newsroom().bounces, via=provider, now=now())
        except UntrustedWebhookError as error:
            log.warning("a report to /hooks/%s is not verified and has no effect: %s", provider, error)
            return text_response("This report cannot be verified.", 403, NO_STORE)
        except UnreadableWebhookError as error:
            log.warning("a report to /hooks/%s cannot be read: %s", provider, error)
            return text_response("This report cannot be read.", 400, NO_STORE)
        except (_CannotVerifyError, SQLAlchemyError) as error:
            reason = str(error) if isinstance(error, _CannotVerifyError) else describe_fault(error)
            log.error("a report to /hooks/%s is refused; the provider will send it again: %s", provider, reason)
            return text_response("Please try again in a minute.", 503, NO_STORE)
        if counts:
            log.info("%s reported: %s", provider, ", ".join(sorted(counts)[:20]))
        return text_response("ok", 200, NO_STORE)

    @router.post("/hooks/{provider}")
    async def receive(provider: str, request: Request) -> Response:
        body = await read_body(request, MAX_BODY, headers=NO_STORE)
        if isinstance(body, Response):
            return body
        headers = {name.lower(): value for name, value in request.headers.items()}
        return await run_in_threadpool(handle, provider, headers, body)

    return router
