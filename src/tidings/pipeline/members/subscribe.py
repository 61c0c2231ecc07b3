"""Joining a list: who asked is sent a mail, and only their own word from there puts them on it (double opt-in).

Whoever asks gets the same answer at once, known or not; requests are looked at afterwards, off the page. An address
gets at most one such mail a day, however often somebody types it, with nothing in it that they typed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.delivery import Purpose, list_target
from tidings.model.tokens import TokenKeys, TokenPurpose
from tidings.pipeline.publish.site_files import feed_links, site_view
from tidings.render.i18n import format_date
from tidings.render.pages.pages import PageContext, Pages
from tidings.store.content import edition_archive
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.people import consent, sign_ups, subscribers
from tidings.store.people.sign_ups import SignUpRequest

WORDING = "I want to get these mails. I can leave at any time by the link in each of them."
"""What a reader agrees to; its version stands in the record of their consent."""
_JOIN = ","
"""Between the lists of one token: no name of a list has it."""
_NOT_LIFTED = frozenset({"hard", "blocked", "erased"})
"""Suppressions that stay, whoever asks: the mailbox is not there, or the person is not to be known here."""


@cache
def wording_version() -> str:
    """Other for other words."""
    return hashlib.sha256(WORDING.encode()).hexdigest()[:12]


def answer_requests(store: Store, newsroom: Newsroom, keys: TokenKeys, pages: Pages, now: datetime) -> int:
    """Look at who asked since: each gets a mail, unless there was one today; returns how many were looked at."""
    done = 0
    while True:
        with store.read() as connection:
            found = sign_ups.open_requests(connection)
        if not found:
            return done
        for number, request in found:
            with store.write() as connection:
                if sign_ups.delete_requests(connection, [number]):
                    _answer(connection, newsroom, keys, pages, request, now)
                    done += 1


def _answer(
    connection: Connection, newsroom: Newsroom, keys: TokenKeys, pages: Pages, request: SignUpRequest, now: datetime
) -> None:
    digest = consent.address_hash(request.address)
    names = [name for name in request.lists if name in newsroom.lists and newsroom.lists[name].public]
    if not names or consent.suppression(connection, digest, "") is not None:
        return
    for name in names:
        reason = consent.suppression(connection, digest, name)
        if reason in _NOT_LIFTED:
            continue
        subscribers.add(
            connection,
            request.address,
            name,
            language=request.language,
            frequency=request.frequency or newsroom.lists[name].default_frequency,
            now=now,
            topics=request.topics,
            source=request.source,
            bring_back=True,
        )
    subscriber = subscribers.find_id(connection, request.address)
    if subscriber is None:
        return
    states = subscribers.subscription_states(connection, subscriber, names)
    waiting = [name for name in names if states.get(name) == subscribers.PENDING]
    key = f"confirmation:{digest}:{now.date()}"
    mailing = ledger.get_or_create_mailing(connection, key, str(Purpose.CONFIRMATION), now=now, open=True)
    if waiting:
        details = make_confirmation_mail(newsroom, keys, pages, subscriber, waiting, request.language)
    elif any(state == subscribers.CONFIRMED for state in states.values()):
        details = make_already_subscribed_mail(newsroom, keys, pages, subscriber, names, request.language)
    else:
        return
    _queue(connection, mailing, Purpose.CONFIRMATION, names[0], subscriber, digest, details, now)


def confirm_subscriptions(
    connection: Connection,
    newsroom: Newsroom,
    keys: TokenKeys,
    pages: Pages,
    subscriber: int,
    names: Sequence[str],
    *,
    now: datetime,
    ip: str,
    source: str,
) -> list[str]:
    """Their own word: the lists that they are on by it, those they were on before included. Twice is fine.

    Who is new on a list is welcomed, if the list says so.
    """
    reader = subscribers.find_by_id(connection, subscriber)
    if reader is None or consent.suppression(connection, reader.address_hash, "") is not None:
        return []
    states = subscribers.subscription_states(connection, subscriber, names)
    found = []
    for name in names:
        if states.get(name) == subscribers.CONFIRMED:
            found.append(name)
        reason = consent.suppression(connection, reader.address_hash, name)
        if states.get(name) != subscribers.PENDING or reason in _NOT_LIFTED:
            continue
        if reason is not None:
            consent.lift(connection, reader.address_hash, name)
        new = subscribers.confirm(connection, subscriber, name, now=now)
        if not new:
            subscribers.renew_confirmation(connection, subscriber, name, now)
        consent.record(
            connection,
            reader.address_hash,
            name,
            subscribers.CONFIRMED,
            source,
            now,
            wording=wording_version(),
            ip=ip,
        )
        if new:
            _welcome(connection, newsroom, keys, pages, subscriber, name, reader.language, reader.address_hash, now)
        found.append(name)
    return found


def _welcome(
    connection: Connection,
    newsroom: Newsroom,
    keys: TokenKeys,
    pages: Pages,
    subscriber: int,
    name: str,
    language: str,
    digest: str,
    now: datetime,
) -> None:
    settings = newsroom.lists[name].welcome
    if settings is None:
        return
    frame = page_frame(newsroom, language)
    gettext, spoken, default = frame.words.gettext, frame.site.language, newsroom.site.languages[0]
    preferences = f"{newsroom.site.url}preferences/{keys.sign(TokenPurpose.PREFERENCES, subscriber, name)}"
    latest = _latest(connection, newsroom, name, spoken) if settings.latest else ""
    details = make_mail(
        pages,
        frame,
        subject=settings.subject.get(spoken, default),
        texts=[settings.text.get(spoken, default)],
        link=latest or preferences,
        label=gettext("The latest edition") if latest else gettext("Your preferences"),
        last=gettext("In each mail are links to change what you get, and to leave."),
    )
    mailing = ledger.get_or_create_mailing(
        connection, f"welcome:{name}:{digest}:{now.date()}", "welcome", now=now, open=True
    )
    _queue(connection, mailing, Purpose.WELCOME, name, subscriber, digest, details, now)


def _latest(connection: Connection, newsroom: Newsroom, name: str, language: str) -> str:
    """Address of the newest edition of a public list in a language; empty where there is none."""
    if not newsroom.lists[name].public:
        return ""
    for one in edition_archive.sent_mails(connection, [name]):
        if one.language == language and not one.part:
            return f"{newsroom.site.url}archive/{name}/{one.number}/{language}"
    return ""


def request_reconfirmation(
    connection: Connection,
    newsroom: Newsroom,
    keys: TokenKeys,
    pages: Pages,
    name: str,
    since: datetime,
    until: datetime,
    now: datetime,
) -> int:
    """Ask some on a list once more; who has not said yes by then is no longer mailed. Returns how many are asked."""
    mailing = ledger.get_or_create_mailing(
        connection, f"again:{name}:{until:%Y-%m-%d}", "confirmation", now=now, open=True
    )
    found = subscribers.start_reconfirmation(connection, name, since, until, now)
    for subscriber, digest, language in found:
        frame = page_frame(newsroom, language)
        gettext, site = frame.words.gettext, newsroom.site
        title = list_titles(newsroom, [name], frame.site.language)
        day = format_date(until, frame.site.language, site.timezone)
        details = make_mail(
            pages,
            frame,
            subject=gettext("Do you still want to get %(list)s?") % {"list": title},
            texts=[
                gettext("We ask everybody on this list once more. Press the button, and all stays as it is."),
                gettext("Without your word you get no more of these mails after %(date)s.") % {"date": day},
            ],
            link=f"{site.url}confirm/{confirm_token(keys, subscriber, [name])}",
            label=gettext("Confirm"),
            last=gettext("You do not want them any more? Then do nothing."),
        )
        _queue(connection, mailing, Purpose.CONFIRMATION, name, subscriber, digest, details, now)
    return len(found)


def _queue(
    connection: Connection,
    mailing: int,
    purpose: Purpose,
    name: str,
    subscriber: int,
    digest: str,
    details: dict[str, str],
    now: datetime,
) -> None:
    row = {
        "mailing": mailing,
        "target": list_target(name, subscriber),
        "list": name,
        "subscriber": subscriber,
        "address_hash": digest,
        "purpose": str(purpose),
        "at": now,
        "details": details,
    }
    ledger.add_deliveries(connection, [row])


def confirm_token(keys: TokenKeys, subscriber: int, names: Sequence[str]) -> str:
    """For the link in the mail: it may say yes to these lists for this person, as long as they wait for it."""
    return keys.sign(TokenPurpose.CONFIRM, subscriber, _JOIN.join(names))


def lists_in_token(claim: str) -> list[str]:
    """The lists that a token names."""
    return [name for name in claim.split(_JOIN) if name]


def page_frame(newsroom: Newsroom, language: str) -> PageContext:
    """The frame of pages and letters in a language of the site; its first one where it has no such."""
    languages = newsroom.site.languages
    chosen = language if language in languages else languages[0]
    links = tuple(link for each in languages for link in feed_links(newsroom, each))
    return PageContext(site_view(newsroom, chosen, languages), links)


def list_titles(newsroom: Newsroom, names: Sequence[str], language: str) -> str:
    """Names of lists as readers see them."""
    default = newsroom.site.languages[0]
    return ", ".join(newsroom.lists[name].name.get(language, default) for name in names if name in newsroom.lists)


def make_confirmation_mail(
    newsroom: Newsroom, keys: TokenKeys, pages: Pages, subscriber: int, names: Sequence[str], language: str
) -> dict[str, str]:
    """The mail that asks for their word, as the details of a delivery."""
    frame = page_frame(newsroom, language)
    words = frame.words
    title = list_titles(newsroom, names, frame.site.language)
    return make_mail(
        pages,
        frame,
        subject=words.gettext("Please confirm: %(list)s") % {"list": title},
        texts=[
            words.gettext("Somebody, we hope you, asked to get %(list)s at this address.") % {"list": title},
            words.gettext("Press the button to confirm it. Until then nothing is sent to you."),
        ],
        link=f"{newsroom.site.url}confirm/{confirm_token(keys, subscriber, names)}",
        label=words.gettext("Confirm"),
        last=words.gettext("It was not you? Then do nothing: without your word nothing happens."),
    )


def make_already_subscribed_mail(
    newsroom: Newsroom, keys: TokenKeys, pages: Pages, subscriber: int, names: Sequence[str], language: str
) -> dict[str, str]:
    """The mail to who asked though they are on it."""
    frame = page_frame(newsroom, language)
    words = frame.words
    title = list_titles(newsroom, names, frame.site.language)
    return make_mail(
        pages,
        frame,
        subject=words.gettext("You already get %(list)s") % {"list": title},
        texts=[words.gettext("You are on the list already. Here you change topics, language or frequency.")],
        link=f"{newsroom.site.url}preferences/{keys.sign(TokenPurpose.PREFERENCES, subscriber, names[0])}",
        label=words.gettext("Your preferences"),
        last=words.gettext("It was not you? Then do nothing: without your word nothing happens."),
    )


def make_mail(
    pages: Pages, frame: PageContext, *, subject: str, texts: Sequence[str], link: str, label: str, last: str
) -> dict[str, str]:
    """A mail that asks for one thing, as the details of a delivery."""
    plain = "\n\n".join([*texts, f"{label}:\n{link}", last, f"{frame.site.title}\n{frame.site.address}".strip()])
    page = pages.letter(frame, subject, {"texts": list(texts), "link": link, "label": label, "last": last})
    return {"subject": subject, "text": plain + "\n", "page": page.decode(), "language": frame.site.language}


def save_preferences(
    connection: Connection,
    subscriber: int,
    *,
    language: str,
    choices: dict[str, tuple[tuple[str, ...], str]],
    paused_until: datetime | None,
) -> None:
    """What a reader chose on their page: for each list its topics and frequency; a pause holds for all of them."""
    subscribers.change(connection, subscriber, language=language)
    for name, (topics, frequency) in choices.items():
        subscribers.change(connection, subscriber, list_name=name, topics=topics, frequency=frequency)
    subscribers.pause_mail(connection, subscriber, list(choices), paused_until)
