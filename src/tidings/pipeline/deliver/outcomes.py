"""Compute the new values of a delivery's row after an attempt. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tidings.channels.base import Capabilities, Idempotency
from tidings.model.delivery import Delivery, DeliveryState, Outcome, PostChange, Verdict
from tidings.model.refusal import Refusal, RefusalKind, classify
from tidings.store.delivery.settling import requeued

BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720, 1440))
"""How long to wait after the first, second, ... temporary refusal: about two days in all."""
_FEW = 3
_MANY = 10
"""Refusals in a row after which a lane stops: few if each message must be refused too, many if the relay may refuse
only some recipients."""
_FINAL_REPLY = re.compile(r"5\d\d[ -].*\((?P<step>MAIL|RCPT|DATA|end of message)\)", re.DOTALL)
_MAX_CRASHES = 3
"""A delivery whose preparation crashed this many times is quarantined, because it may cause the crashes."""
_MAX_RETRY_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class ResendPolicies:
    """Rules for resending after an unknown outcome: mail once (same Message-ID), a post only by its key."""

    never: frozenset[str] = frozenset()
    """Lists with `resend_in_doubt: never`."""
    channels: Mapping[str, Capabilities] = field(default_factory=dict)
    findable: frozenset[str] = frozenset()
    """Channels that can search for their own posts."""

    def resend_at(self, delivery: Delivery, now: datetime, real_now: datetime) -> datetime | None:
        """Return when to send again after an attempt in doubt, or None if a person decides."""
        if not delivery.channel:
            return now if delivery.doubts == 0 and delivery.list not in self.never else None
        if delivery.attempts >= len(BACKOFF):
            return None
        if delivery.channel not in self.findable and not self.key_holds(delivery, real_now):
            return None
        return now + BACKOFF[delivery.attempts]

    def key_holds(self, delivery: Delivery, real_now: datetime) -> bool:
        """Whether a resend makes no duplicate: the service still knows the key, or the delivery changes a post."""
        if delivery.post_change in (PostChange.EDIT, PostChange.TAKE_DOWN):
            return True
        capabilities = self.channels.get(delivery.channel)
        if capabilities is None or capabilities.idempotency is Idempotency.NONE:
            return False
        if capabilities.idempotency is Idempotency.NATIVE or delivery.handed_at is None:
            return True
        return real_now - delivery.handed_at < timedelta(seconds=capabilities.window)


def values_after_attempt(
    delivery: Delivery, outcome: Outcome, policies: ResendPolicies, *, now: datetime, real_now: datetime
) -> dict[str, Any]:
    """Return the row's values after an attempt. A message that may have arrived stays in doubt if refused later."""
    values: dict[str, Any] = {
        "attempts": delivery.attempts + 1,
        "reason": outcome.reason,
        "next_at": None,
        "not_before": None,
        "at": now,
    }
    verdict = outcome.verdict
    if verdict is Verdict.REJECTED and find_refusal_of_us(delivery, outcome) is not None:
        # Not the reader's fault: it waits for the mend.
        verdict = Verdict.DEFERRED
    match verdict:
        case Verdict.NOT_STARTED:
            return requeued(delivery)
        case Verdict.ACCEPTED:
            return values | {
                "state": DeliveryState.ACCEPTED,
                "reason": "",
                "receipt": outcome.receipt,
                "via": outcome.via,
            }
        case Verdict.UNKNOWN:
            return values | {
                "state": DeliveryState.IN_DOUBT,
                "doubts": delivery.doubts + 1,
                "via": outcome.via,
                "next_at": policies.resend_at(delivery, now, real_now),
            }
        case Verdict.DEFERRED if delivery.attempts < len(BACKOFF):
            wait: dict[str, Any] = {"next_at": now + BACKOFF[delivery.attempts]}
            if outcome.retry_after is not None:
                asked = min(timedelta(seconds=max(outcome.retry_after, 0.0)), _MAX_RETRY_AFTER)
                wait = {"next_at": now, "not_before": real_now + asked}
            return values | wait | {"state": DeliveryState.DEFERRED, "via": outcome.via}
    if delivery.doubts:
        reason = f"may have arrived at the first attempt; a later one was refused: {outcome.reason}"
        return values | {"state": DeliveryState.IN_DOUBT, "reason": reason}
    state = DeliveryState.REJECTED if verdict is Verdict.REJECTED else DeliveryState.QUARANTINED
    return values | {"state": state, "via": outcome.via}


def find_refusal_of_us(delivery: Delivery, outcome: Outcome) -> Refusal | None:
    """Return the refusal if a relay refuses us and not only this reader, else None."""
    if delivery.channel or outcome.verdict not in (Verdict.REJECTED, Verdict.DEFERRED):
        return None
    reply = _FINAL_REPLY.fullmatch(outcome.reason)
    if reply is None:
        return None
    refusal = classify(outcome.reason, stage=reply["step"], recipient=delivery.address)
    # Nothing of the reader is known at MAIL, so that another kind is about us too.
    is_about_sender = reply["step"] == "MAIL" and refusal.kind in (RefusalKind.UNKNOWN, RefusalKind.POLICY)
    return refusal if refusal.kind.waits or is_about_sender else None


def must_stall(refusals: Sequence[tuple[Refusal, str]], *, is_over: bool, has_accepted: bool) -> bool:
    """Whether a lane cannot send at all, after these refusals of us in a row, each with its reason.

    `is_over`: there is no further mail in this run.
    """
    if not refusals:
        return False
    last, reason = refusals[-1]
    if last.kind.is_about_account or reason.endswith("(MAIL)"):
        return len(refusals) >= _FEW or (is_over and not has_accepted)
    return len(refusals) >= (_FEW if is_over and has_accepted else 1 if is_over else _MANY)


def values_after_search(
    delivery: Delivery, outcome: Outcome, policies: ResendPolicies, now: datetime, real_now: datetime
) -> dict[str, Any]:
    """Return the row's values after a search for a post in doubt: it was found, or the search proved nothing."""
    values = values_after_attempt(delivery, outcome, policies, now=now, real_now=real_now)
    if outcome.verdict is Verdict.ACCEPTED:
        return values | {"attempts": delivery.attempts}
    next_at = values["next_at"] if delivery.channel in policies.findable else None
    return values | {"state": DeliveryState.IN_DOUBT, "doubts": delivery.doubts, "next_at": next_at, "not_before": None}


def values_after_crash(
    delivery: Delivery, reason: str, now: datetime, *, retry: timedelta | None = None
) -> dict[str, Any]:
    """Return the row's values if preparing the message failed or the process died meanwhile. Nothing was sent."""
    crashes = delivery.crashes + 1
    values: dict[str, Any] = {"crashes": crashes, "next_at": None, "at": now}
    if crashes >= _MAX_CRASHES:
        state = DeliveryState.IN_DOUBT if delivery.doubts else DeliveryState.QUARANTINED
        return values | {"state": state, "reason": reason}
    if retry is None:
        return values | {"state": DeliveryState.PENDING}
    return values | {"state": DeliveryState.DEFERRED, "reason": reason, "next_at": now + retry}
