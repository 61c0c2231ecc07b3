"""Make the messages of claimed deliveries: a digest merged from frozen parts, a frozen post, or a notice."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parseaddr
from functools import lru_cache

from tidings.channels.base import Channel, Post
from tidings.config.adapters import SenderSettings
from tidings.config.settings import Newsroom
from tidings.model.delivery import Delivery, Purpose
from tidings.pipeline.compose.mail import MailRenderer, load_frozen_document, make_message_id, message_id_local_part
from tidings.pipeline.deliver.context import OutgoingMessage
from tidings.render.mail.digest import MailLayout
from tidings.render.mail.dkim import SignatureTemplate, load_identities, verify
from tidings.render.mail.headers import MailHeaders
from tidings.render.mail.merge import MailMerge, MergedMail
from tidings.render.mail.mime import plain_message
from tidings.store.content import editions
from tidings.store.delivery import ledger, threads
from tidings.store.engine import Store

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class MessagePreparer:
    """Makes messages for the deliverer. Safe for several threads."""

    def __init__(
        self,
        store: Store,
        newsroom: Newsroom,
        mail: MailRenderer,
        channels: Mapping[str, Channel],
        sender: SenderSettings | None = None,
    ) -> None:
        """`sender` sends the mail; None means the first sender of each list."""
        self._store = store
        self._newsroom = newsroom
        self._mail = mail
        self._channels = channels
        self._sender = sender
        dkim = getattr(sender, "dkim", None)
        self._identities = load_identities(dkim) if dkim is not None else ()
        self._verified: set[tuple[int, str]] = set()
        """(mailing, list) pairs with a verified signature."""
        self._document = lru_cache(maxsize=24)(self._load_document)
        self._layout = lru_cache(maxsize=4096)(self._load_layout)
        self._mailing_time = lru_cache(maxsize=256)(self._load_mailing_time)
        # About 200 KB each.
        self._shared = lru_cache(maxsize=64)(self._prepare_shared)
        self._signers = ThreadPoolExecutor(_CORES, "sign") if self._identities and _CORES > 1 else None
        """RSA takes most of the time of a signed message, and it releases the interpreter lock."""

    def __call__(self, deliveries: Sequence[Delivery]) -> dict[int, OutgoingMessage]:
        """Return the messages by delivery id."""
        if self._signers is None or len(deliveries) < 2 * _CORES:
            return dict(self._make_all(deliveries))
        # The first one alone: it fills the caches, and its signature is verified.
        shares = [deliveries[:1], *(deliveries[1 + n :: _CORES] for n in range(_CORES))]
        first = self._make_all(shares[0])
        return dict(itertools.chain(first, *self._signers.map(self._make_all, shares[1:])))

    def _make_all(self, deliveries: Sequence[Delivery]) -> list[tuple[int, OutgoingMessage]]:
        return [(delivery.id, self._make(delivery)) for delivery in deliveries]

    def _make(self, delivery: Delivery) -> OutgoingMessage:
        if delivery.channel:
            message = self._make_post(delivery)
            message.delivery = delivery.id
            return message
        if delivery.selection is None or delivery.rendition is None:
            return self._make_notice_mail(delivery)
        merged, (sign_unsubscribe, sign_preferences), return_path = self._shared(
            delivery.rendition,
            delivery.selection,
            delivery.mailing,
            delivery.list,
            delivery.schedule,
            bool(delivery.name),
        )
        subscriber = delivery.subscriber or 0
        wire = merged.render(
            delivery.address,
            delivery.name,
            message_id_local_part(self._key(delivery)),
            sign_unsubscribe(subscriber),
            sign_preferences(subscriber),
        )
        self._verify_first(delivery, wire)
        return OutgoingMessage(b"", return_path(delivery.id), delivery.address, "", wire)

    def _verify_first(self, delivery: Delivery, wire: Sequence[bytes]) -> None:
        """Verify the DKIM signature of the first message of a mailing to a list, before any is sent."""
        key = (delivery.mailing, delivery.list)
        if key in self._verified or not self._identities:
            return
        if error := verify(b"".join(wire), self._identities):
            raise ValueError(f"the DKIM signature would not be valid: {error}")
        self._verified.add(key)

    def _prepare_shared(
        self, rendition: int, selection: int, mailing: int, list_name: str, schedule: str, named: bool
    ) -> tuple[MergedMail, tuple[Callable[[int], bytes], Callable[[int], bytes]], Callable[[int], str]]:
        """Return the shared parts of a selection: the mail, the signers of links, and the return path."""
        merged = self._mail.prepare_merge(
            self._document(rendition),
            self._layout(selection),
            list_name=list_name,
            schedule=schedule,
            date=self._mailing_time(mailing),
            named=named,
            sender=self._sender,
            identities=self._identities,
        )
        return merged, self._mail.link_signers(list_name), self._return_path(list_name)

    def _make_post(self, delivery: Delivery) -> OutgoingMessage:
        channel, details = delivery.channel, delivery.parsed_details
        if delivery.purpose == Purpose.EVENT:
            return OutgoingMessage(str(details["body"]).encode(), key=delivery.story)
        if delivery.post_change is None and delivery.rendition is None:
            body = self._channels[channel].prepare(self._notice_post(delivery))
            return OutgoingMessage(body, key=f"{channel}:notice:{delivery.id}")
        subject = delivery.story
        if delivery.post_change is None:
            subject = subject or f"edition-{delivery.edition}"
        key = f"{channel}:{subject}:{delivery.purpose}:{delivery.part}"
        if delivery.post_change is not None:
            body = str(details.get("body", "")).encode()
            return OutgoingMessage(body, key=key, change=delivery.post_change, receipt=str(details["receipt"]))
        assert delivery.rendition is not None
        with self._store.read() as connection:
            body = editions.get_rendition(connection, delivery.rendition).raw
            return OutgoingMessage(body, key=key, receipt=threads.parent_receipt(connection, delivery))

    def _notice_post(self, delivery: Delivery) -> Post:
        site = self._newsroom.site
        return Post(
            title=str(delivery.parsed_details["subject"]),
            url=site.url,
            language=site.languages[0],
            items=(),
            edition="",
            site=site.title.get(site.languages[0]),
            at=self._mailing_time(delivery.mailing),
            text=str(delivery.parsed_details["text"]),
        )

    def _make_notice_mail(self, delivery: Delivery) -> OutgoingMessage:
        details = delivery.parsed_details
        sender = self._notice_sender()
        date = self._mailing_time(delivery.mailing)
        headers = MailHeaders(
            sender=sender,
            to_address=delivery.address,
            date=date,
            message_id=make_message_id(self._key(delivery), parseaddr(sender)[1].rpartition("@")[2]),
            subject=str(details["subject"]),
            language=delivery.language or self._newsroom.site.languages[0],
            bulk=False,
        )
        data = plain_message(headers, str(details["text"]), details.get("page"))
        if self._identities:
            head, _, body = data.partition(b"\r\n\r\n")
            data = SignatureTemplate(self._identities, head + b"\r\n", int(date.timestamp())).sign([body]) + data
            self._verify_first(delivery, [data])
        return OutgoingMessage(data, sender=self._return_path("")(delivery.id), recipient=delivery.address)

    def _notice_sender(self) -> str:
        """Return the sender of the first list, or else the first address of `notify`."""
        first = next(iter(self._newsroom.lists.values()), None)
        return first.from_ if first else self._newsroom.notify.to[0]

    def _return_path(self, list_name: str) -> Callable[[int], str]:
        """Return a function that maps a delivery id to its return path, with the id in it (VERP) unless that is off."""
        sender = self._sender or next(iter(self._newsroom.find_senders(list_name)), None)
        if sender is not None and sender.return_path:
            address = sender.return_path
            if getattr(sender, "verp", False):
                return self._mail.keys.make_return_path_signer(address)
        else:
            settings = self._newsroom.lists.get(list_name)
            address = parseaddr(settings.from_ if settings else self._notice_sender())[1]
        return lambda delivery: address

    def _key(self, delivery: Delivery) -> str:
        """Return the unique key of the row. It is the same for each attempt."""
        return f"{delivery.mailing}|{delivery.target}|{delivery.story}|{delivery.purpose}|{delivery.part}"

    def _load_document(self, rendition: int) -> MailMerge:
        with self._store.read() as connection:
            return load_frozen_document(editions.get_rendition(connection, rendition).raw)

    def _load_layout(self, selection: int) -> MailLayout:
        with self._store.read() as connection:
            return MailLayout.from_json(editions.get_arrangements(connection, [selection])[selection])

    def _load_mailing_time(self, mailing: int) -> datetime:
        with self._store.read() as connection:
            return ledger.mailing_time(connection, mailing)
