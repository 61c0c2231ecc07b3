"""Subscribe at WebSub hubs to changes of the feeds that we read, and handle messages from hubs.

A message from a hub only starts a fetch: the feed is always read from its site.
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
"""Callback path below the site's address, followed by the token of the subscription."""
LEASE = timedelta(days=10)
"""The lease that we request. The hub may grant another."""
_MAX_LEASE = timedelta(days=30)
_VERIFICATION_TIME = timedelta(hours=1)
"""Time in which a hub may verify our request."""
_MAX_WAIT = timedelta(days=1)
METHODS = frozenset({"sha1", "sha256", "sha384", "sha512"})
"""Hash methods of signatures (W3C WebSub §8.1)."""


def renew_subscriptions(store: Store, sources: Mapping[str, Source], *, url: str, now: datetime) -> int:
    """Subscribe at hubs that are new or failed, or with a lease that ends soon. Returns the number of requests.

    `url`: the address of the site.
    """
    websub_sources = {name: source for name, source in sources.items() if isinstance(source, WebSubSource)}
    wanted = {name: named for name, source in websub_sources.items() if (named := source.hub()) is not None}
    asked = 0
    with store.read() as connection:
        known = websub.load_subscriptions(connection)
    for name in known.keys() - wanted.keys():
        with store.write() as connection:
            websub.delete_subscription(connection, name)
    for name, (hub, topic) in wanted.items():
        subscription = known.get(name)
        if subscription is None or (subscription.hub, subscription.topic) != (hub, topic):
            subscription = websub.new_subscription(name, hub, topic)
            with store.write() as connection:
                websub.replace_subscription(connection, subscription)
        elif subscription.due is not None and subscription.due > now:
            continue
        # Stored before the request, because a hub may verify the subscription before it answers.
        due = now + min(timedelta(minutes=5) * 2 ** min(subscription.tries, 12), _MAX_WAIT)
        with store.write() as connection:
            websub.update_subscription(connection, subscription.token, asked=now, tries=subscription.tries + 1, due=due)
        problem = websub_sources[name].subscribe(
            hub, topic, f"{url}{PATH}{subscription.token}", subscription.secret, LEASE
        )
        if problem:
            with store.write() as connection:
                websub.update_subscription(connection, subscription.token, problem=problem)
        asked += 1
    return asked


def confirm_subscription(store: Store, token: str, topic: str, lease: int, now: datetime) -> bool:
    """Answer a hub that verifies our request (§5.3). `lease` in seconds. Returns whether we made the request."""
    with store.write() as connection:
        subscription = websub.find_subscription(connection, token)
        if (
            subscription is None
            or subscription.topic != topic
            or subscription.asked is None
            or now - subscription.asked > _VERIFICATION_TIME
        ):
            return False
        granted = min(timedelta(seconds=lease) if lease > 0 else LEASE, _MAX_LEASE)
        # Renew well before the end, in case the hub is down for a while.
        websub.update_subscription(connection, token, until=now + granted, due=now + granted * 0.8, tries=0, problem="")
    return True


def record_denial(store: Store, token: str, topic: str, reason: str, now: datetime) -> bool:
    """Record that a hub refuses or ends a subscription (§5.2). Returns False if there is no such subscription."""
    with store.write() as connection:
        subscription = websub.find_subscription(connection, token)
        if subscription is None or subscription.topic != topic:
            return False
        words = " ".join(reason.split())[:200]
        problem = f"the hub refuses{f': {words}' if words else ''}"
        websub.update_subscription(connection, token, until=None, due=now + _MAX_WAIT, problem=problem)
    return True


def find_active_subscription(store: Store, token: str, now: datetime) -> HubSubscription | None:
    """Return the subscription of a token while its lease is valid."""
    with store.read() as connection:
        subscription = websub.find_subscription(connection, token)
    return (
        subscription
        if subscription is not None and subscription.until is not None and subscription.until > now
        else None
    )


def start_signature_check(subscription: HubSubscription, header: str) -> tuple[hmac.HMAC, str] | None:
    """Return the HMAC to feed with the body, and the expected digest. None if the header is unusable."""
    method, _, digest = header.strip().partition("=")
    if method not in METHODS:
        return None
    return hmac.new(subscription.secret.encode(), digestmod=getattr(hashlib, method)), digest.lower()


def record_change(store: Store, subscription: HubSubscription, now: datetime) -> None:
    """Record that the feed of a subscription has changed."""
    with store.write() as connection:
        websub.update_subscription(connection, subscription.token, called=now)
