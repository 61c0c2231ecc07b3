"""Hubs asked to tell of changes in the feeds that are read (WebSub), and what they tell.

What a hub sends is only ever a reason to ask the site at once: the feed itself is read where it stands.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

from tidings.sources.base import Source, WebSubSource
from tidings.store.content import websub
from tidings.store.content.websub import HubSubscription
from tidings.store.engine import Store

PATH = "websub/"
"""Below the site's address; the subscription's token follows."""
LEASE = timedelta(days=10)
"""What is asked for: the hub decides."""
_LONGEST = timedelta(days=30)
_ANSWERED = timedelta(hours=1)
"""So long after it was asked a hub may ask back."""
_LATEST = timedelta(days=1)
METHODS = frozenset({"sha1", "sha256", "sha384", "sha512"})
"""Of signatures (W3C WebSub §8.1)."""


def renew_subscriptions(store: Store, sources: Mapping[str, Source], *, url: str, now: datetime) -> int:
    """Ask each hub whose lease is new, ends soon, or came to nothing; returns how many. `url` is the site's."""
    naming = {name: one for name, one in sources.items() if isinstance(one, WebSubSource)}
    wanted = {name: named for name, one in naming.items() if (named := one.hub()) is not None}
    asked = 0
    with store.read() as connection:
        known = websub.load_subscriptions(connection)
    for name in known.keys() - wanted.keys():
        with store.write() as connection:
            websub.delete_subscription(connection, name)
    for name, (hub, topic) in wanted.items():
        one = known.get(name)
        if one is None or (one.hub, one.topic) != (hub, topic):
            one = websub.new_subscription(name, hub, topic)
            with store.write() as connection:
                websub.replace_subscription(connection, one)
        elif one.due is not None and one.due > now:
            continue
        # Said before it is asked: a hub may ask back before it answers.
        due = now + min(timedelta(minutes=5) * 2 ** min(one.tries, 12), _LATEST)
        with store.write() as connection:
            websub.update_subscription(connection, one.token, asked=now, tries=one.tries + 1, due=due)
        problem = naming[name].subscribe(hub, topic, f"{url}{PATH}{one.token}", one.secret, LEASE)
        if problem:
            with store.write() as connection:
                websub.update_subscription(connection, one.token, problem=problem)
        asked += 1
    return asked


def confirm_subscription(store: Store, token: str, topic: str, lease: int, now: datetime) -> bool:
    """A hub asks whether it was asked (§5.3); `lease` in seconds. True if so: from now on it tells of changes."""
    with store.write() as connection:
        one = websub.find_subscription(connection, token)
        if one is None or one.topic != topic or one.asked is None or now - one.asked > _ANSWERED:
            return False
        given = min(timedelta(seconds=lease) if lease > 0 else LEASE, _LONGEST)
        # Renewed well before its end, so that a hub which is down for a while is not lost.
        websub.update_subscription(connection, token, until=now + given, due=now + given * 0.8, tries=0, problem="")
    return True


def record_denial(store: Store, token: str, topic: str, reason: str, now: datetime) -> bool:
    """A hub refuses, or ends what it had granted (§5.2). False where it was never asked."""
    with store.write() as connection:
        one = websub.find_subscription(connection, token)
        if one is None or one.topic != topic:
            return False
        words = " ".join(reason.split())[:200]
        said = f"the hub refuses{f': {words}' if words else ''}"
        websub.update_subscription(connection, token, until=None, due=now + _LATEST, problem=said)
    return True


def find_active_subscription(store: Store, token: str, now: datetime) -> HubSubscription | None:
    """The subscription that a hub calls on, as long as its lease holds."""
    with store.read() as connection:
        one = websub.find_subscription(connection, token)
    return one if one is not None and one.until is not None and one.until > now else None


def start_signature_check(one: HubSubscription, written: str) -> tuple[hmac.HMAC, str] | None:
    """What is to be fed with the body, and what it must come to; None for a header that proves nothing."""
    method, _, digest = written.strip().partition("=")
    if method not in METHODS:
        return None
    return hmac.new(one.secret.encode(), digestmod=getattr(hashlib, method)), digest.lower()


def record_change(store: Store, one: HubSubscription, now: datetime) -> None:
    """Its feed has changed."""
    with store.write() as connection:
        websub.update_subscription(connection, one.token, called=now)
