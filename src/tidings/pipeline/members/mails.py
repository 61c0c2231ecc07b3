"""Mails to one subscriber about their own subscription: confirmation, welcome, data and erasure requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.delivery import Purpose, list_target
from tidings.model.tokens import TokenKeys, TokenPurpose
from tidings.pipeline.publish.site_files import feed_links, site_view
from tidings.render.i18n import format_date
from tidings.render.pages.pages import PageContext, Pages
from tidings.store.content import edition_archive
from tidings.store.delivery import ledger
from tidings.store.people import consent
from tidings.store.people.data_export import export_subscriber
from tidings.store.people.subscribers import Subscriber

_SEPARATOR = ","
"""Separates the lists in one token. No list name contains it."""
MOST_CONFIRMATIONS = 10
"""Mails a day to one address about its sign-ups. Anybody can type an address into the form."""


def parse_confirmation(claim: str) -> tuple[int | None, list[str]]:
    """Return the contents of a confirmation token: the number of the newest consent before it, and its lists.

    Tokens of older versions have no number.
    """
    number, colon, names = claim.rpartition(":")
    return int(number) if colon and number.isdecimal() else None, [name for name in names.split(_SEPARATOR) if name]


def page_frame(newsroom: Newsroom, language: str) -> PageContext:
    """Return the frame of pages and mails in a language of the site, or else in the site's first language."""
    languages = newsroom.site.languages
    known = language if language in languages else languages[0]
    links = tuple(link for each in languages for link in feed_links(newsroom, each))
    return PageContext(site_view(newsroom, known, languages), links)


def list_titles(newsroom: Newsroom, names: Sequence[str], language: str) -> str:
    """Return the titles of lists as readers see them, separated by commas."""
    default = newsroom.site.languages[0]
    return ", ".join(newsroom.lists[name].name.get(language, default) for name in names if name in newsroom.lists)


class MemberMails:
    """Makes these mails and queues them for delivery.

    The same mail is sent at most once a day to one address. An answer to a sign-up counts as another mail if it differs
    (other lists, another language, a new sign-up after leaving).
    """

    def __init__(self, newsroom: Newsroom, keys: TokenKeys, pages: Pages) -> None:
        self.newsroom = newsroom
        self._keys = keys
        self._pages = pages

    def queue_confirmation(
        self, connection: Connection, reader: Subscriber, names: Sequence[str], now: datetime
    ) -> None:
        """Ask to confirm subscriptions (double opt-in)."""
        frame = page_frame(self.newsroom, reader.language)
        gettext = frame.words.gettext
        title = list_titles(self.newsroom, names, frame.site.language)
        details = self._make(
            frame,
            subject=gettext("Please confirm: %(list)s") % {"list": title},
            texts=[
                gettext("Somebody, we hope you, asked to get %(list)s at this address.") % {"list": title},
                gettext("Press the button to confirm it. Until then nothing is sent to you."),
            ],
            link=self._confirm_link(connection, reader, names),
            label=gettext("Confirm"),
            last=gettext("If it was not you, do nothing: nothing happens until you confirm."),
        )
        self._queue_answer(connection, reader, names, details, now)

    def queue_already_subscribed(
        self, connection: Connection, reader: Subscriber, names: Sequence[str], now: datetime
    ) -> None:
        """Tell an existing subscriber that they are already subscribed."""
        frame = page_frame(self.newsroom, reader.language)
        gettext = frame.words.gettext
        title = list_titles(self.newsroom, names, frame.site.language)
        details = self._make(
            frame,
            subject=gettext("You already get %(list)s") % {"list": title},
            texts=[gettext("You are already subscribed. Here you can change topics, language or frequency.")],
            link=self._link("preferences", TokenPurpose.PREFERENCES, reader, names[0]),
            label=gettext("Your preferences"),
            last=gettext("If it was not you, do nothing: nothing happens until you confirm."),
        )
        self._queue_answer(connection, reader, names, details, now)

    def queue_reconfirmation(
        self, connection: Connection, reader: Subscriber, name: str, until: datetime, now: datetime
    ) -> None:
        """Ask a subscriber to confirm again until a day."""
        frame = page_frame(self.newsroom, reader.language)
        gettext, language = frame.words.gettext, frame.site.language
        day = format_date(until, language, self.newsroom.site.timezone)
        details = self._make(
            frame,
            subject=gettext("Do you still want to get %(list)s?")
            % {"list": list_titles(self.newsroom, [name], language)},
            texts=[
                gettext("We ask everybody on this list to confirm again. Press the button to stay subscribed."),
                gettext("If you do not confirm, you get no more of these mails after %(date)s.") % {"date": day},
            ],
            link=self._confirm_link(connection, reader, [name]),
            label=gettext("Confirm"),
            last=gettext("If you do not want them any more, do nothing."),
        )
        key = f"again:{name}:{until:%Y-%m-%d}"
        self._queue(connection, key, Purpose.CONFIRMATION, reader, name, details, now, daily=False)

    def queue_welcome(self, connection: Connection, reader: Subscriber, name: str, now: datetime) -> None:
        """Welcome a new subscriber of a list, if the list has a welcome mail."""
        settings = self.newsroom.lists[name].welcome
        if settings is None:
            return
        frame = page_frame(self.newsroom, reader.language)
        gettext, language, default = frame.words.gettext, frame.site.language, self.newsroom.site.languages[0]
        latest = self._latest_edition_url(connection, name, language) if settings.latest else ""
        details = self._make(
            frame,
            subject=settings.subject.get(language, default),
            texts=[settings.text.get(language, default)],
            link=latest or self._link("preferences", TokenPurpose.PREFERENCES, reader, name),
            label=gettext("The latest edition") if latest else gettext("Your preferences"),
            last=gettext("Each mail has links to change your preferences and to unsubscribe."),
        )
        self._queue(connection, f"welcome:{name}", Purpose.WELCOME, reader, name, details, now)

    def queue_data(self, connection: Connection, reader: Subscriber, now: datetime) -> None:
        """Send a subscriber everything that is stored about them."""
        gettext = page_frame(self.newsroom, reader.language).words.gettext
        stored = json.dumps(export_subscriber(connection, reader.id), ensure_ascii=False, indent=2)
        details = {
            "subject": gettext("The data that we have about you"),
            "text": f"{gettext('You asked for all the data that we have about you. Here it is:')}\n\n{stored}\n",
            "language": reader.language,
        }
        self._queue(connection, "data", Purpose.CONFIRMATION, reader, "", details, now)

    def queue_erasure(self, connection: Connection, reader: Subscriber, now: datetime) -> None:
        """Ask a subscriber to confirm the erasure of all their data."""
        frame = page_frame(self.newsroom, reader.language)
        gettext = frame.words.gettext
        details = self._make(
            frame,
            subject=gettext("Erase all your data?"),
            texts=[gettext("We erase your address, your name and your preferences. You get no more mail from us.")],
            link=self._link("erase", TokenPurpose.ERASE, reader, ""),
            label=gettext("Erase my data"),
            last=gettext("If it was not you, do nothing: nothing happens until you confirm."),
        )
        self._queue(connection, "erase", Purpose.CONFIRMATION, reader, "", details, now)

    def _link(self, page: str, purpose: TokenPurpose, reader: Subscriber, claim: str) -> str:
        return f"{self.newsroom.site.url}{page}/{self._keys.sign(purpose, reader.id, claim)}"

    def _confirm_link(self, connection: Connection, reader: Subscriber, names: Sequence[str]) -> str:
        """Return a link that stops working if the person leaves and signs up again."""
        number = consent.newest_number(connection, reader.address_hash)
        return self._link("confirm", TokenPurpose.CONFIRM, reader, f"{number}:{_SEPARATOR.join(names)}")

    def _queue_answer(
        self, connection: Connection, reader: Subscriber, names: Sequence[str], details: dict[str, str], now: datetime
    ) -> None:
        """Queue the answer to a sign-up. Each different answer has its own mailing."""
        today = f"confirmation:{reader.address_hash}:{now.date()}"
        if ledger.count_mailings(connection, today) < MOST_CONFIRMATIONS:
            key = f"{today}:{hashlib.sha256(details['text'].encode()).hexdigest()[:16]}"
            self._queue(connection, key, Purpose.CONFIRMATION, reader, names[0], details, now, daily=False)

    def _latest_edition_url(self, connection: Connection, name: str, language: str) -> str:
        """Return the address of the newest archived edition of a list in a language, or ''."""
        if self.newsroom.lists[name].public:
            for edition in edition_archive.sent_mails(connection, [name]):
                if edition.language == language and not edition.part:
                    return f"{self.newsroom.site.url}archive/{name}/{edition.number}/{language}"
        return ""

    def _make(
        self, frame: PageContext, *, subject: str, texts: Sequence[str], link: str, label: str, last: str
    ) -> dict[str, str]:
        """Return a mail with one button, as the details of a delivery."""
        site = frame.site
        plain = "\n\n".join([*texts, f"{label}:\n{link}", last, f"{site.title}\n{site.address}".strip()])
        page = self._pages.letter(frame, subject, {"texts": list(texts), "link": link, "label": label, "last": last})
        return {"subject": subject, "text": plain + "\n", "page": page.decode(), "language": site.language}

    def _queue(
        self,
        connection: Connection,
        key: str,
        purpose: Purpose,
        reader: Subscriber,
        name: str,
        details: dict[str, str],
        now: datetime,
        *,
        daily: bool = True,
    ) -> None:
        """Queue a mail in the mailing `key`. `daily`: in a new mailing each day."""
        key = f"{key}:{reader.address_hash}:{now.date()}" if daily else key
        row = {
            "mailing": ledger.get_or_create_mailing(connection, key, str(purpose), now=now, open=True),
            "target": list_target(name, reader.id),
            "list": name,
            "subscriber": reader.id,
            "address_hash": reader.address_hash,
            "purpose": str(purpose),
            "at": now,
            "details": details,
        }
        ledger.add_deliveries(connection, [row])
