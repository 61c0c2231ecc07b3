"""Actions of readers on pages and in the API: request a subscription, confirm it, change choices, unsubscribe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.tokens import TokenContents
from tidings.pipeline import notices
from tidings.pipeline.members import preferences, subscribe
from tidings.pipeline.members.mails import parse_confirmation
from tidings.runtime.newsroom import Runtime
from tidings.store.people import consent, sign_ups, subscribers
from tidings.store.service.clock import real_now
from tidings.web.requests import site_of

BY_CLIENT, BY_SITE, BY_MAILBOX, BY_DOMAIN = 20, 60, 5, 500
"""Most requests within `WINDOW` from one network, from one site (the /48 of an IPv6 network), for one mailbox
(`name+tag@` is the mailbox `name@`), and for all addresses of one domain."""
MAILBOX_A_DAY = 20
WINDOW, DAY = timedelta(minutes=10), timedelta(days=1)


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
    """Store a request with the first known language and frequency. Returns False if there are too many requests.

    When a domain is over its limit, each network may still request one of its addresses. Otherwise a few networks could
    lock out all readers of a large provider. Requests by robots are dropped.
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

        def count(scope: str, value: str, window: timedelta = WINDOW) -> int:
            return sign_ups.count_request(connection, scope, value, window, now)

        if count("ip", client) > BY_CLIENT or count("site", site_of(client)) > BY_SITE:
            return False
        mailbox = sign_ups.mailbox_of(address)
        domain = mailbox.rpartition("@")[2]
        # Every limit counts the request, even if another one is exceeded.
        by_mailbox, a_day = count("mailbox", mailbox), count("day", mailbox, DAY)
        by_domain, of_client = count("domain", domain), count("client at domain", f"{client} {domain}")
        if by_mailbox > BY_MAILBOX or a_day > MAILBOX_A_DAY or (by_domain > BY_DOMAIN and of_client > 1):
            return False
        if not is_robot:
            sign_ups.add_request(connection, request, runtime.now())
    return True


def name_odd_character(text: str, address: str) -> str:
    """Add to a message about an invalid address the character that nobody sees, by its Unicode name."""
    odd = consent.find_odd_character(address)
    return f"{text} ({odd})" if odd else text


def read_confirmation(
    connection: Connection, newsroom: Newsroom, contents: TokenContents
) -> tuple[int | None, list[str]]:
    """Return the number in a confirmation token, and those of its lists that still exist, by their present names."""
    number, names = parse_confirmation(contents.list)
    present = {name: [name] if name in newsroom.lists else subscribers.list_names(connection, name) for name in names}
    every = [newsroom.current_list_name(each) for name in names for each in present[name]]
    return number, [name for name in dict.fromkeys(every) if name in newsroom.lists]


def confirm(runtime: Runtime, contents: TokenContents, *, client: str, source: str) -> list[str]:
    """Confirm the subscriptions of a token. Returns the lists that the reader is on now. Can be repeated."""
    with runtime.store.write() as connection:
        number, names = read_confirmation(connection, runtime.newsroom, contents)
        return subscribe.confirm_subscriptions(
            connection,
            runtime.member_mails,
            contents.subscriber,
            names,
            number,
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
    lists: Collection[str] | None = None,
) -> None:
    """Save a reader's choices for these lists (None: all). A choice that is not named or not offered stays as it is.

    `pause` gets the present time and the end of the present pause, and returns the new end.
    """
    newsroom, now = runtime.newsroom, runtime.now()
    choices: dict[str, tuple[tuple[str, ...], str]] = {}
    for subscription in reader.subscriptions:
        name = subscription.list
        if name not in newsroom.lists or (lists is not None and name not in lists):
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


def lists_to_leave(connection: Connection, newsroom: Newsroom, contents: TokenContents) -> list[str]:
    """Return the names of a token's list, the present one last.

    The store keeps all former names. tidings.yaml may have a newer name that the store does not have yet.
    """
    names = subscribers.names_to_leave(connection, contents.subscriber, contents.list, by_link=True)
    return list(dict.fromkeys([*names, *(newsroom.current_list_name(name) for name in names)]))


def unsubscribe(runtime: Runtime, contents: TokenContents, *, source: str) -> bool:
    """Unsubscribe from the list of a token. Returns whether the store now records that the person is off the list.

    If not, the list is unknown, and the team gets a notice. The change is committed when this returns. Can be repeated.
    """
    newsroom, now = runtime.newsroom, runtime.now()
    with runtime.store.write() as connection:
        names = lists_to_leave(connection, newsroom, contents)
        is_known = any(name in newsroom.lists for name in names) or subscribers.may_be_list_of(
            connection, contents.subscriber, names
        )
        if is_known:
            for name in names:
                subscribers.unsubscribe(connection, contents.subscriber, name, source=source, now=now)
            return not subscribers.is_on_any(connection, contents.subscriber, names)
        text = (
            f"A reader wants to leave the list {contents.list}, but no list has this name, and they stay on others. "
            f"If it was renamed, write `was: {contents.list}` at the list. Subscriber number: {contents.subscriber}."
        )
        notices.add(connection, f"unknown-list:{contents.list}:{contents.subscriber}", "failed", text, now)
        return False
