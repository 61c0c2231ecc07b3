"""The port for channels: what a channel can carry, and how it hands one post over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from tidings.model.delivery import Outcome


class Idempotency(StrEnum):
    """What the other side does with a second request of the same key."""

    NATIVE = "native"
    """It carries our key: a repeat is safe at any time."""
    WINDOW = "window"
    """It remembers our key for a while: a repeat is safe within `Capabilities.window` seconds."""
    NONE = "none"
    """It cannot tell: an unknown outcome is held for a person."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a channel can carry. What it cannot is refused in `tidings check`, never dropped quietly."""

    max_length: int
    """Of a post's text, as `Channel.length` counts it."""
    idempotency: Idempotency
    window: float = 0.0
    """Seconds, for `Idempotency.WINDOW`."""
    replies: bool = False
    """Whether a post may answer an earlier one (`Attempt.reply_to`)."""
    images: int = 0
    markup: str = "plain"


@dataclass(frozen=True, slots=True)
class PostItem:
    """One story inside a post, in the channel's language. `image` is an absolute URL or empty."""

    id: str
    story: str
    language: str
    kind: str
    title: str
    summary: str
    url: str
    published: datetime
    topics: tuple[str, ...] = ()
    image: str = ""
    image_alt: str = ""
    text: str = ""
    """What the editor wrote for this channel (`post:`); it stands instead of title and summary, the link is added."""
    correction: str = ""
    """What was wrong, where the item was corrected."""


@dataclass(frozen=True, slots=True)
class Post:
    """What a channel is asked to carry: one story, or an edition of several; `prepare` makes the frozen body of it."""

    title: str
    url: str
    language: str
    items: tuple[PostItem, ...]
    edition: str
    site: str
    at: datetime
    """When it was composed; part of the frozen body, so that a retry is the same bytes."""
    text: str = ""
    """For a notice: what it says; it has no items."""


def no_picture(url: str, most: int) -> bytes | None:
    """Where there is no store of pictures: none can be had."""


class Uploads(Protocol):
    """What earlier tries of this delivery uploaded, so that a later one does not upload it again."""

    def get(self, key: str) -> str:
        """What the service calls it, or whatever was noted; empty where nothing was."""

    def put(self, key: str, remote: str) -> None:
        """Note it, over crashes too; empty forgets it."""


class NoUploads:
    """Uploads of a try that has no memory."""

    def get(self, key: str) -> str:
        """Nothing."""
        return ""

    def put(self, key: str, remote: str) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. `key` is stable over retries and made of channel, story, purpose and part, never of text or date."""

    key: str
    at: datetime
    """Real time, not the newsroom's: receivers refuse a signature that is minutes off."""
    picture: Callable[[str, int], bytes | None] = no_picture
    """A picture of ours by its absolute URL as JPEG or PNG of at most so many bytes, equal for equal arguments; None
    where it cannot be had: the card goes without it, the post is never failed for it."""
    reply_to: str = ""
    """The receipt of our earlier post that this one answers; empty for a post of its own. Only where the channel
    `replies`: it is known no sooner than that post stands, so that it is no part of the frozen body."""
    uploads: Uploads = field(default_factory=NoUploads)
    """The memory of this delivery."""


class Channel(Protocol):
    """A configured outlet. `prepare` is pure and its result is frozen; `send` hands exactly that over, once."""

    name: str
    capabilities: Capabilities

    def prepare(self, post: Post) -> bytes:
        """The exact body that will be sent. Pure: equal posts give equal bytes."""

    def length(self, body: bytes) -> int:
        """The length of a prepared body as the service counts it."""

    def text(self, body: bytes) -> str:
        """A prepared body in words, for previews."""

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Hand over one prepared body. Raises only for a bug or bad configuration."""


@dataclass(frozen=True, slots=True)
class Card:
    """What stands below the text of a post. Without a title the network makes it of the page at `url`; without a URL
    it is a picture alone. `image` is an absolute URL, or empty."""

    url: str = ""
    title: str = ""
    description: str = ""
    image: str = ""
    alt: str = ""


@runtime_checkable
class HasCard(Protocol):
    """A channel whose posts carry a card, for previews."""

    def card(self, body: bytes) -> Card | None:
        """The card of a prepared body, as it will look; None where it has none."""


@runtime_checkable
class CanEdit(Protocol):
    """A channel that can change what it posted, in place. A repeat changes nothing more."""

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Put a prepared body where the post of this receipt stands. REJECTED where it is no longer there."""


@runtime_checkable
class CanTakeDown(Protocol):
    """A channel that can take back what it posted. A repeat changes nothing more."""

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Take the post of this receipt away. ACCEPTED, too, where it is gone already."""


@runtime_checkable
class CanFind(Protocol):
    """A channel that can read its own posts back, to settle an outcome that nobody knows."""

    def find(self, body: bytes, attempt: Attempt) -> Outcome:
        """Look for the post of a prepared body at or after `attempt.at`, the moment of the doubtful try: ACCEPTED with
        its receipt, NOT_STARTED where it is certainly not there, UNKNOWN where that cannot be told."""


@runtime_checkable
class KnowsAddresses(Protocol):
    """A channel that can tell a post of its own by its address, which a person found in a browser."""

    def receipt_at(self, url: str) -> str:
        """The receipt of the post that stands there, as `send` gives it; empty where the address does not lead to it.
        May ask the service."""


class Hub(Protocol):
    """What is told of changed feeds; no post goes there (`ChannelSettings.POSTS` False)."""

    url: str

    def ping(self, feed: str) -> Outcome:
        """The feed of this address has changed."""


class MailTransport(Protocol):
    """One way for mail to leave, for one thread but for `abort`. Gives an Outcome for every trouble that is foreseen.

    What is about this message or recipient is REJECTED, what meets every message alike is NOT_STARTED: the sender is
    stalled then and another may take over. UNKNOWN, whenever the other side may have taken it.
    """

    def send(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Hand one message over to one recipient. `sender` is the return path, `data` has lines that end in CRLF."""

    def close(self) -> None:
        """Say goodbye."""

    def abort(self) -> None:
        """From another thread: end what is on the wire."""
