"""The breaker: if a mailing has implausibly many refusals or hard bounces, suppress nobody and hold the edition.

A relay with a wrong name or a broken directory refuses everybody. Then a person decides: `tidings release` ignores the
refusals and continues, `tidings resolve EDITION --believe` accepts them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.bounces import Bounces, Breaker
from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.refusal import Effect, Refusal, RefusalKind, classify
from tidings.pipeline import notices
from tidings.pipeline.track.events import FeedbackEvent
from tidings.store.content import editions
from tidings.store.delivery import ledger, refusals
from tidings.store.delivery.refusals import RefusedMail
from tidings.store.delivery.settling import hide_addresses
from tidings.store.people import doubted

SESSION_REPLY = re.compile(r"[45]\d\d[ -].*\((?P<step>MAIL|RCPT|DATA|end of message)\)", re.DOTALL)
"""The stored reason of a mail that a relay refused."""
_API_REPLY = re.compile(r"[^:\n]{1,200}: HTTP 4\d\d[^:\n]{0,100}: (?P<words>.+)", re.DOTALL)
"""The stored reason of a mail that a provider's API refused."""
_ABOUT_SYNTAX = re.compile(r"valid|pars|syntax|format|parameter|character", re.IGNORECASE)
"""Words of an API about a request that it does not understand. The request itself may be wrong."""


@dataclass(frozen=True, slots=True)
class JudgedMail:
    """A refused mail, and the cause of the refusal: the recipient or us."""

    mail: RefusedMail
    refusal: Refusal
    stage: str

    @property
    def is_about_us_alone(self) -> bool:
        """Whether the refusal is about us, not about this recipient, and is permanent."""
        return self.refusal.kind.waits and self.stage != "MAIL" and self.refusal.kind is not RefusalKind.QUOTA


@dataclass(frozen=True, slots=True)
class Trip:
    """Too many refusals by one sender, perhaps of one domain only."""

    scope: str
    refused: Sequence[JudgedMail]
    accepted: int

    @property
    def detail(self) -> str:
        """The reason for people, with the relay's words."""
        sender, _, domain = self.scope.partition("/")
        where = f"at {domain} " if domain else ""
        return _detail(len(self.refused), len(self.refused) + self.accepted, where, sender, self.refused[0].mail.reason)


def _detail(refused: int, tried: int, where: str, sender: str, words: str) -> str:
    by = f" by {sender}" if sender else ""
    quoted = " ".join(hide_addresses(words).split())[:200]
    return f"{refused} of {tried} mails {where}were refused or returned{by}, so nobody was removed: {quoted}"


def judge(mail: RefusedMail) -> JudgedMail | None:
    """Return the cause of a relay's or API's reply, or None for other reasons."""
    reply = SESSION_REPLY.fullmatch(mail.reason)
    if reply is None:
        api = _API_REPLY.fullmatch(mail.reason)
        if api is None:
            return None
        refusal = classify(api["words"], recipient=mail.recipient.address)
        if refusal.effect is Effect.HARD and _ABOUT_SYNTAX.search(api["words"]):
            refusal = replace(refusal, kind=RefusalKind.UNKNOWN)
        return JudgedMail(mail, refusal, "RCPT")
    refusal = classify(mail.reason, stage=reply["step"], recipient=mail.recipient.address)
    return JudgedMail(mail, refusal, reply["step"])


def find_trips(breaker: Breaker, mails: Iterable[JudgedMail], count_accepted: Callable[[str, str], int]) -> list[Trip]:
    """Return the senders with too many refusals in one mailing, else the domains at a sender.

    `count_accepted` counts accepted mails by sender ('' for all) and domain ('' for all).
    """
    trips = []
    by_sender: dict[str, list[JudgedMail]] = {}
    for judged in mails:
        if judged.refusal.effect is not Effect.SOFT:
            by_sender.setdefault(judged.mail.sender, []).append(judged)
    for sender, refused in sorted(by_sender.items()):
        accepted = count_accepted(sender, "")
        # All of the first mails were refused because of us. This counts even with fewer than ten readers.
        is_about_us = all(judged.is_about_us_alone for judged in refused) and not count_accepted("", "")
        if is_about_us or breaker.is_too_much(len(refused), accepted):
            trips.append(Trip(sender, refused, accepted))
            continue
        by_domain: dict[str, list[JudgedMail]] = {}
        for judged in refused:
            by_domain.setdefault(judged.mail.domain, []).append(judged)
        for domain, group in sorted(by_domain.items()):
            if domain and len(group) >= min(breaker.alike, breaker.least):
                accepted = count_accepted(sender, domain)
                if breaker.is_too_much(len(group), accepted):
                    trips.append(Trip(f"{sender}/{domain}", group, accepted))
    return trips


def hold(connection: Connection, edition: Edition, details: Sequence[str], now: datetime) -> None:
    """Hold an edition until a person decides, and notify the team."""
    ledger.close_edition(connection, edition.id)
    holds = [*(old for old in edition.holds if old.reason is not HoldReason.BREAKER)]
    holds += [Hold(HoldReason.BREAKER, detail) for detail in details[:3]]
    event = f"held: {details[0]}"
    changed = editions.set_state(connection, edition, EditionState.HELD, now=now, what=event, holds=holds)
    notices.add_held(connection, changed, now)


def doubt_bounce(connection: Connection, event: FeedbackEvent, rules: Bounces) -> bool:
    """Whether a hard bounce that arrived after the session is implausible. Holds its edition at the first of them."""
    delivery = event.target.delivery
    sent = refusals.find_sent(connection, delivery) if delivery is not None else None
    if sent is None or sent.edition is None or doubted.is_believed(connection, sent.edition):
        return False
    domain = event.target.address.rpartition("@")[2].casefold()
    breaker = rules.breaker
    is_doubted = False
    for scope in (sent.sender, *([f"{sent.sender}/{domain}"] if domain else [])):
        if doubted.has_tripped(connection, sent.mailing, scope):
            return True
        bounced = doubted.count_bounce(connection, sent.mailing, scope)
        # Counting accepted mails is slow in a large mailing.
        if bounced < breaker.alike or (bounced % breaker.alike and bounced % breaker.least):
            continue
        accepted = refusals.count_accepted(connection, sent.mailing, sent.sender, scope.partition("/")[2])
        is_most = bounced >= breaker.alike and 2 * bounced > accepted
        if is_most or (bounced >= breaker.least and bounced > breaker.fraction * accepted):
            is_doubted = True
            doubted.doubt(connection, sent.mailing, scope, event.at)
            where = f"at {domain} " if "/" in scope else ""
            detail = _detail(bounced, accepted, where, sent.sender, event.summary or event.code)
            hold(connection, editions.get_edition(connection, sent.edition), [detail], event.at)
            break
    return is_doubted


def find_gone(mails: Collection[RefusedMail]) -> list[JudgedMail]:
    """Return the mails that were refused because the mailbox does not exist."""
    judged = [judge(mail) for mail in mails]
    return [one for one in judged if one is not None and one.refusal.effect is Effect.HARD]
