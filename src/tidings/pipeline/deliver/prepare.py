"""The bytes of claimed deliveries: a reader's digest spliced from frozen fragments, a post's frozen body, a notice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parseaddr
from functools import lru_cache

from tidings.channels.base import Channel, Post
from tidings.config.adapters import SenderSettings
from tidings.config.settings import Newsroom
from tidings.model.delivery import Delivery
from tidings.pipeline.compose.mail import MailRenderer, load_frozen_document, make_message_id, message_id_local_part
from tidings.pipeline.deliver.context import OutgoingMessage
from tidings.render.mail.digest import MailLayout
from tidings.render.mail.dkim import DkimSigner, load_identities, verify
from tidings.render.mail.headers import MailHeaders
from tidings.render.mail.merge import MailMerge, MergedMail
from tidings.render.mail.mime import plain_message
from tidings.store.content import editions
from tidings.store.delivery import ledger, threads
from tidings.store.engine import Store


class MessagePreparer:
    """Callable by the deliverer; safe for several threads."""

    def __init__(
        self,
        store: Store,
        newsroom: Newsroom,
        mail: MailRenderer,
        channels: Mapping[str, Channel],
        sender: SenderSettings | None = None,
    ) -> None:
        """`sender`: by which the mail leaves; None: the first of each list's."""
        self._store = store
        self._newsroom = newsroom
        self._mail = mail
        self._channels = channels
        self._sender = sender
        dkim = getattr(sender, "dkim", None)
        self._signer = DkimSigner(load_identities(dkim)) if dkim is not None else None
        self._verified: set[tuple[int, str]] = set()
        """(mailing, list) of which a signed message was found to verify."""
        self._document = lru_cache(maxsize=24)(self._read_document)
        self._arrangement = lru_cache(maxsize=4096)(self._read_arrangement)
        self._moment = lru_cache(maxsize=256)(self._read_moment)
        # About 200 KB each.
        self._shared = lru_cache(maxsize=64)(self._make_shared)
        self._filling = threading.Lock()

    def __call__(self, deliveries: Sequence[Delivery]) -> dict[int, OutgoingMessage]:
        """By id of delivery."""
        # A stencil remembers what it joined: it serves one thread at a time.
        with self._filling:
            return {one.id: self._one(one) for one in deliveries}

    def _one(self, delivery: Delivery) -> OutgoingMessage:
        if delivery.channel:
            return self._post(delivery)
        if delivery.selection is None or delivery.rendition is None:
            return self._notice(delivery)
        stencil, (leave, choose), return_path = self._shared(
            delivery.rendition,
            delivery.selection,
            delivery.mailing,
            delivery.list,
            delivery.schedule,
            bool(delivery.name),
        )
        reader = delivery.subscriber or 0
        left = message_id_local_part(self._key(delivery))
        head, body = stencil.render_with_tokens(delivery.address, delivery.name, left, leave(reader), choose(reader))
        wire = [head, b"\r\n", *body]
        if self._signer is not None:
            wire.insert(0, self._signer.sign(head, body, int(self._moment(delivery.mailing).timestamp())))
            self._look(delivery, wire)
        return OutgoingMessage(b"", return_path(delivery.id), delivery.address, "", wire)

    def _look(self, delivery: Delivery, wire: Sequence[bytes]) -> None:
        """The first message of an edition that goes to a list is verified before any goes."""
        key = (delivery.mailing, delivery.list)
        if key in self._verified or self._signer is None:
            return
        if wrong := verify(b"".join(wire), self._signer.identities):
            raise ValueError(f"its DKIM signature would not hold: {wrong}")
        self._verified.add(key)

    def _make_shared(
        self, rendition: int, selection: int, mailing: int, list_name: str, schedule: str, named: bool
    ) -> tuple[MergedMail, tuple[Callable[[int], bytes], Callable[[int], bytes]], Callable[[int], str]]:
        """What the readers of a selection share: the mail, who signs their links, and the return path."""
        stencil = self._mail.prepare_merge(
            self._document(rendition),
            self._arrangement(selection),
            list_name=list_name,
            schedule=schedule,
            date=self._moment(mailing),
            named=named,
            sender=self._sender,
        )
        return stencil, self._mail.link_signers(list_name), self._return_path(list_name)

    def _post(self, delivery: Delivery) -> OutgoingMessage:
        made = self._body(delivery)
        made.delivery = delivery.id
        return made

    def _body(self, delivery: Delivery) -> OutgoingMessage:
        channel = self._channels[delivery.channel]
        if (amendment := delivery.post_change) is not None:
            extra = delivery.parsed_details
            key = f"{delivery.channel}:{delivery.story}:{delivery.purpose}:{delivery.part}"
            body = str(extra.get("body", "")).encode()
            return OutgoingMessage(body, key=key, amendment=amendment, receipt=str(extra["receipt"]))
        if delivery.rendition is None:
            return OutgoingMessage(
                channel.prepare(self._told(delivery)), key=f"{delivery.channel}:notice:{delivery.id}"
            )
        with self._store.read() as connection:
            body = editions.get_rendition(connection, delivery.rendition).raw
            answered = threads.parent_receipt(connection, delivery)
        what = delivery.story or f"edition-{delivery.edition}"
        key = f"{delivery.channel}:{what}:{delivery.purpose}:{delivery.part}"
        return OutgoingMessage(body, key=key, receipt=answered)

    def _told(self, delivery: Delivery) -> Post:
        site = self._newsroom.site
        return Post(
            title=str(delivery.parsed_details["subject"]),
            url=site.url,
            language=site.languages[0],
            items=(),
            edition="",
            site=site.title.get(site.languages[0]),
            at=self._moment(delivery.mailing),
            text=str(delivery.parsed_details["text"]),
        )

    def _notice(self, delivery: Delivery) -> OutgoingMessage:
        sender = self.notice_sender()
        headers = MailHeaders(
            sender=sender,
            to_address=delivery.address,
            date=self._moment(delivery.mailing),
            message_id=make_message_id(self._key(delivery), parseaddr(sender)[1].rpartition("@")[2]),
            subject=str(delivery.parsed_details["subject"]),
            language=delivery.language or self._newsroom.site.languages[0],
            bulk=False,
        )
        data = plain_message(headers, str(delivery.parsed_details["text"]), delivery.parsed_details.get("page"))
        if self._signer is not None:
            head, _, body = data.partition(b"\r\n\r\n")
            moment = int(self._moment(delivery.mailing).timestamp())
            data = self._signer.sign(head + b"\r\n", [body], moment) + data
            self._look(delivery, [data])
        return OutgoingMessage(data, sender=self._return_path("")(delivery.id), recipient=delivery.address)

    def notice_sender(self) -> str:
        """Whom notices are from: the sender of the first list, else the first who is told."""
        first = next(iter(self._newsroom.lists.values()), None)
        return first.from_ if first else self._newsroom.notify.to[0]

    def _return_path(self, list_name: str) -> Callable[[int], str]:
        """Of a delivery by its id: what comes back names it (VERP), unless the sender does without."""
        sender = self._sender or next(iter(self._newsroom.find_senders(list_name)), None)
        if sender is not None and sender.return_path:
            address = sender.return_path
            return (
                self._mail.keys.make_return_path_signer(address)
                if getattr(sender, "verp", False)
                else lambda delivery: address
            )
        settings = self._newsroom.lists.get(list_name)
        own = parseaddr(settings.from_ if settings else self.notice_sender())[1]
        return lambda delivery: own

    def _key(self, delivery: Delivery) -> str:
        """Stable over attempts: what the row is unique in."""
        return f"{delivery.mailing}|{delivery.target}|{delivery.story}|{delivery.purpose}|{delivery.part}"

    def _read_document(self, rendition: int) -> MailMerge:
        with self._store.read() as connection:
            return load_frozen_document(editions.get_rendition(connection, rendition).raw)

    def _read_arrangement(self, selection: int) -> MailLayout:
        with self._store.read() as connection:
            return MailLayout.from_json(editions.get_arrangements(connection, [selection])[selection])

    def _read_moment(self, mailing: int) -> datetime:
        with self._store.read() as connection:
            return ledger.mailing_time(connection, mailing)
