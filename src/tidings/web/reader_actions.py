"""Actions of readers by pages and the API: ask for a subscription, confirm it, change choices, unsubscribe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from tidings.config.settings import Newsroom
from tidings.model.tokens import TokenContents
from tidings.pipeline.members import preferences, subscribe
from tidings.pipeline.members.mails import lists_in_token
from tidings.runtime.newsroom import Runtime
from tidings.store.people import sign_ups, subscribers
from tidings.store.service.clock import real_now

BY_CLIENT, BY_ADDRESS, BY_DOMAIN = 20, 5, 500
"""Requests within `WINDOW` of one network, for one address, and for the addresses of one domain."""
WINDOW = timedelta(minutes=10)


def request_subscription(
    runtime: Runtime,
    address: str,
    lists: tuple[str, ...],
    *,
    languages: Sequence[str],
    topics: Collection[str],
    frequencies: Sequence[str],
    source: str,
    client: str,
    is_robot: bool = False,
) -> bool:
    """Store a request with the first language and frequency that exist. Returns False if its network asks too often.

    Requests beyond the other limits, or by a robot, are dropped silently.
    """
    newsroom = runtime.newsroom
    offered = preferences.list_frequencies(newsroom, lists)
    request = sign_ups.SignUpRequest(
        address=address,
        lists=lists,
        language=next((name for name in languages if name in newsroom.site.languages), newsroom.site.languages[0]),
        topics=tuple(topic for topic in newsroom.topics if topic in topics),
        frequency=next((name for name in frequencies if name in offered), ""),
        source=source,
        wording=subscribe.wording_version(),
        ip=client,
    )
    # Limits use real time: the newsroom's clock may be set to another time.
    now = real_now()
    with runtime.store.write() as connection:

        def count(scope: str, key: str) -> int:
            hidden = hashlib.sha256(f"{scope}:{key}".encode()).hexdigest()[:32]
            return sign_ups.count_request(connection, scope, hidden, WINDOW, now)

        if count("ip", request.ip) > BY_CLIENT:
            return False
        # Count both, even if the first is over its limit.
        counts = (
            count("address", address.casefold()) > BY_ADDRESS,
            count("domain", address.rpartition("@")[2]) > BY_DOMAIN,
        )
        if not any(counts) and not is_robot:
            sign_ups.add_request(connection, request, runtime.now())
    return True


def lists_to_confirm(newsroom: Newsroom, contents: TokenContents) -> list[str]:
    """Return the lists of a confirmation token that still exist."""
    return [name for name in lists_in_token(contents.list) if name in newsroom.lists]


def confirm(runtime: Runtime, contents: TokenContents, *, client: str, source: str) -> list[str]:
    """Confirm the subscriptions of a token. Returns the lists that the reader gets now. Can be repeated."""
    with runtime.store.write() as connection:
        return subscribe.confirm_subscriptions(
            connection,
            runtime.member_mails,
            contents.subscriber,
            lists_to_confirm(runtime.newsroom, contents),
            now=runtime.now(),
            ip=client,
            source=source,
        )


def save_preferences(
    runtime: Runtime,
    reader: preferences.SubscriberProfile,
    *,
    language: str,
    frequencies: Mapping[str, str],
    topics: Mapping[str, Sequence[str]],
    pause: Callable[[datetime, datetime | None], datetime | None],
) -> None:
    """Save a reader's choices for each list. A choice that is not offered changes nothing.

    `pause` gets the present time and the end of the present pause, and returns the new end.
    """
    newsroom, now = runtime.newsroom, runtime.now()
    choices: dict[str, tuple[tuple[str, ...], str]] = {}
    for subscription in reader.subscriptions:
        name = subscription.list
        if name not in newsroom.lists:
            continue
        chosen = topics.get(name, subscription.topics)
        frequency = frequencies.get(name, "")
        is_offered = frequency in preferences.list_frequencies(newsroom, [name])
        kept = tuple(topic for topic in newsroom.topics if topic in chosen)
        choices[name] = (kept, frequency if is_offered else subscription.frequency)
    with runtime.store.write() as connection:
        subscribe.save_preferences(
            connection,
            reader.person.id,
            language=language if language in newsroom.site.languages else reader.person.language,
            choices=choices,
            paused_until=pause(now, reader.paused_until),
        )


def lists_to_leave(newsroom: Newsroom, name: str) -> list[str]:
    """Return a list's name in an old mail and its present name: the store may not have the new one yet."""
    return list(dict.fromkeys([name, newsroom.current_list_name(name)]))


def unsubscribe(runtime: Runtime, contents: TokenContents, *, source: str) -> None:
    """Unsubscribe from the list of a token. The suppression is committed when this returns. Can be repeated."""
    with runtime.store.write() as connection:
        for name in lists_to_leave(runtime.newsroom, contents.list):
            subscribers.unsubscribe(connection, contents.subscriber, name, source=source, now=runtime.now())
