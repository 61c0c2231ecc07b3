"""Subscribe to lists with double opt-in: a person signs up, gets a mail, and confirms by the link in it.

Sign-ups are handled later, so the page gives the same answer for known and unknown addresses. An address gets the same
mail at most once a day, and nothing in it comes from the form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache

from sqlalchemy import Connection

from tidings.pipeline.members.mails import MemberMails
from tidings.store.engine import Store
from tidings.store.people import consent, sign_ups, subscribers
from tidings.store.people.sign_ups import SignUpRequest
from tidings.store.people.subscribers import Subscriber

WORDING = "I want to get these mails. I can leave at any time by the link in each of them."
"""The text of a reader's consent. Its version is stored with the consent."""
_PERMANENT = frozenset({"hard", "blocked", "erased"})
"""Reasons of suppressions that a new sign-up does not lift."""


@cache
def wording_version() -> str:
    """Return a hash of the wording."""
    return hashlib.sha256(WORDING.encode()).hexdigest()[:12]


def answer_requests(store: Store, mails: MemberMails, now: datetime) -> int:
    """Handle all waiting sign-ups. Returns their number."""
    handled = 0
    while True:
        with store.read() as connection:
            waiting = sign_ups.open_requests(connection)
        if not waiting:
            return handled
        for number, request in waiting:
            with store.write() as connection:
                if sign_ups.delete_requests(connection, [number]):
                    _answer(connection, mails, request, now)
                    handled += 1


def _answer(connection: Connection, mails: MemberMails, request: SignUpRequest, now: datetime) -> None:
    lists = mails.newsroom.lists
    address_hash = consent.address_hash(request.address)
    present = dict.fromkeys(mails.newsroom.current_list_name(name) for name in request.lists)
    names = [name for name in present if name in lists and lists[name].public]
    if not names or consent.suppression(connection, address_hash, "") is not None:
        return
    for name in names:
        if consent.suppression(connection, address_hash, name) in _PERMANENT:
            continue
        subscribers.add(
            connection,
            request.address,
            name,
            language=request.language,
            frequency=request.frequency or lists[name].default_frequency,
            now=now,
            topics=request.topics,
            source=request.source,
            bring_back=True,
        )
    number = subscribers.find_id(connection, request.address)
    subscriber = None if number is None else subscribers.find_by_id(connection, number)
    if subscriber is None:
        return
    reader = replace(subscriber, language=request.language)
    states = subscribers.subscription_states(connection, reader.id, names)
    if not subscribers.has_confirmed(connection, reader.id):
        # This changes no choices of the subscriber: a stranger may have typed the address.
        subscribers.change(connection, reader.id, language=request.language)
    pending = [name for name in names if states.get(name) == subscribers.PENDING]
    if pending:
        mails.queue_confirmation(connection, reader, pending, now)
    elif subscribers.CONFIRMED in states.values():
        mails.queue_already_subscribed(connection, reader, names, now)


def confirm_subscriptions(
    connection: Connection,
    mails: MemberMails,
    subscriber: int,
    names: Sequence[str],
    number: int | None,
    *,
    now: datetime,
    ip: str,
    source: str,
) -> list[str]:
    """Confirm pending subscriptions and send the welcome mails. A second call is harmless.

    `number` comes from the link (see `find_confirmable`). Returns the lists that the person is on now, including those
    confirmed earlier.
    """
    reader = subscribers.find_by_id(connection, subscriber)
    if reader is None:
        return []
    confirmable, confirmed = find_confirmable(connection, reader, names, number)
    for name in confirmable:
        if consent.suppression(connection, reader.address_hash, name) is not None:
            consent.lift(connection, reader.address_hash, name)
        is_new = subscribers.confirm(connection, subscriber, name, now=now)
        if not is_new:
            subscribers.renew_confirmation(connection, subscriber, name, now)
        wording, state = wording_version(), subscribers.CONFIRMED
        consent.record(connection, reader.address_hash, name, state, source, now, wording=wording, ip=ip)
        if is_new:
            mails.queue_welcome(connection, reader, name, now)
    return [name for name in names if name in confirmable or name in confirmed]


def find_confirmable(
    connection: Connection, reader: Subscriber, names: Sequence[str], number: int | None
) -> tuple[list[str], list[str]]:
    """Return the lists that a link can confirm, and those that the person is on already.

    A link from before the person left confirms nothing, even if somebody else has signed them up again.
    """
    if consent.suppression(connection, reader.address_hash, "") is not None:
        return [], []
    states = subscribers.subscription_states(connection, reader.id, names)
    reasons = {name: consent.suppression(connection, reader.address_hash, name) for name in names}
    confirmable = [
        name
        for name in names
        if states.get(name) == subscribers.PENDING
        and reasons[name] not in _PERMANENT
        and consent.is_newest_request(connection, reader.address_hash, name, number)
    ]
    on = [name for name in names if states.get(name) == subscribers.CONFIRMED and reasons[name] is None]
    return confirmable, on


def request_reconfirmation(
    connection: Connection, mails: MemberMails, name: str, since: datetime, until: datetime, now: datetime
) -> int:
    """Ask some subscribers of a list to confirm again by a day. Those who do not answer get no more mail after it.

    Returns how many subscribers are asked.
    """
    asked = subscribers.start_reconfirmation(connection, name, since, until, now)
    for number, address_hash, language in asked:
        reader = Subscriber(number, "", address_hash, "", language)
        mails.queue_reconfirmation(connection, reader, name, until, now)
    return len(asked)


def save_preferences(
    connection: Connection,
    subscriber: int,
    *,
    language: str,
    choices: dict[str, tuple[tuple[str, ...], str]],
    paused_until: datetime | None,
) -> None:
    """Store a reader's preferences: (topics, frequency) for each list, and one pause for all lists."""
    subscribers.change(connection, subscriber, language=language)
    for name, (topics, frequency) in choices.items():
        subscribers.change(connection, subscriber, list_name=name, topics=topics, frequency=frequency)
    subscribers.pause_mail(connection, subscriber, list(choices), paused_until)
