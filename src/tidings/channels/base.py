"""The port for channels: what a channel can carry, and how it sends one post."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from tidings.model.delivery import Outcome


class Idempotency(StrEnum):
    """How the service handles a second request with the same key."""

    NATIVE = "native"
    """It stores our key, so a repeat is safe at any time."""
    WINDOW = "window"
    """It remembers our key for a while, so a repeat is safe within `Capabilities.window` seconds."""
    NONE = "none"
    """It does not recognise repeats, so an unknown outcome waits for a person."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The abilities of a channel. `tidings check` refuses settings beyond them, so that nothing is dropped silently."""

    max_length: int
    """The longest text of a post, as `Channel.length` counts it."""
    idempotency: Idempotency
    window: float = 0.0
    """How many seconds the service remembers our key, for `Idempotency.WINDOW`."""
    replies: bool = False
    """Whether a post may reply to an earlier one (`Attempt.reply_to`)."""


@dataclass(frozen=True, slots=True)
class PostItem:
    """One story in a post, in the channel's language. `image` is an absolute URL or empty."""

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
    """The editor's own text for this channel (`post:`). It replaces title and summary; the link is added."""
    correction: str = ""
    """The text of the correction, if the item was corrected."""
    tags: tuple[str, ...] | None = None
    """Hashtags with their #, in the item's language. None: they are made from `topics`."""


@dataclass(frozen=True, slots=True)
class Post:
    """One story, or an edition of several. `Channel.prepare` makes its frozen body."""

    title: str
    url: str
    language: str
    items: tuple[PostItem, ...]
    edition: str
    site: str
    at: datetime
    """The moment of composing. It is part of the frozen body, so that a retry has the same bytes."""
    text: str = ""
    """The text of a notice, which has no items."""


def no_picture(url: str, max_bytes: int) -> bytes | None:
    """The `Attempt.picture` of a newsroom that keeps no pictures."""


class Uploads(Protocol):
    """The uploads of earlier attempts of this delivery, so that a later one does not repeat them."""

    def get(self, key: str) -> str:
        """Return the service's id, or another stored note, or ''."""

    def put(self, key: str, remote: str) -> None:
        """Store the id so that it survives a crash. '' deletes it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `key` is made from channel, story, purpose and part, so it is the same for every retry."""

    key: str
    at: datetime
    """Real time, not the newsroom's clock, because services refuse a signature that is minutes off."""
    picture: Callable[[str, int], bytes | None] = no_picture
    """Returns our picture at an absolute URL as JPEG or PNG within a limit of bytes. Equal arguments give equal bytes.

    Returns None if there is no picture. The post is then sent without it: a picture never makes a post fail.
    """
    reply_to: str = ""
    """The receipt of our earlier post to which this one replies, or empty. Only for a channel that `replies`.

    It is not part of the frozen body, because it is known only after that post is published.
    """
    uploads: Uploads | None = None


class Channel(Protocol):
    """A configured outlet. `prepare` is pure, and its result is frozen. `send` sends exactly this result, once."""

    name: str
    capabilities: Capabilities

    def prepare(self, post: Post) -> bytes:
        """Return the exact body to send. Pure: equal posts give equal bytes."""

    def length(self, body: bytes) -> int:
        """Return the length of a prepared body as the service counts it."""

    def text(self, body: bytes) -> str:
        """Return the text of a prepared body as people read it, for previews."""

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Send a prepared body. Raises only for a bug or bad configuration."""


@dataclass(frozen=True, slots=True)
class Card:
    """The link preview below a post. Without a title, the network makes it from the page at `url`.

    Without a URL, it is only a picture. `image` is an absolute URL, or empty.
    """

    url: str = ""
    title: str = ""
    description: str = ""
    image: str = ""
    alt: str = ""


@runtime_checkable
class HasCard(Protocol):
    """A channel whose posts have a card, for previews."""

    def card(self, body: bytes) -> Card | None:
        """Return the card of a prepared body as it will look, or None."""


@runtime_checkable
class CanEdit(Protocol):
    """A channel that can change its posts in place. A repeat changes nothing more."""

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Replace the post of this receipt with a prepared body. REJECTED if the post is gone."""


@runtime_checkable
class CanTakeDown(Protocol):
    """A channel that can delete its posts. A repeat changes nothing more."""

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete the post of this receipt. ACCEPTED also if it is gone already."""


@runtime_checkable
class CanFind(Protocol):
    """A channel that can read its own posts, to resolve an unknown outcome."""

    def find(self, body: bytes, attempt: Attempt) -> Outcome:
        """Look for the post of a prepared body, published since `attempt.at`, the moment of the attempt in doubt.

        Returns ACCEPTED with its receipt, NOT_STARTED if it certainly does not exist, else UNKNOWN.
        """


@runtime_checkable
class KnowsAddresses(Protocol):
    """A channel that can derive the receipt of a post from the URL in a browser."""

    def receipt_at(self, url: str) -> str:
        """Return the receipt in the form of `send`, or '' if the URL is not a post. May ask the service."""


class Hub(Protocol):
    """A WebSub hub. It is notified of changed feeds and gets no posts (`ChannelSettings.POSTS` is False)."""

    url: str

    def ping(self, feed: str) -> Outcome:
        """Tell the hub that the feed at this address has changed."""


class MailTransport(Protocol):
    """A mail sender. Use it in one thread, except for `abort`. Returns an Outcome for every expected failure.

    REJECTED is for this message or recipient. NOT_STARTED is for failures of the whole sender: it then stops, and
    another one may take over. UNKNOWN is for every message that the other side may have accepted.
    """

    def send(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Send one message to one recipient. `sender` is the return path; the lines of `data` end in CRLF."""

    def close(self) -> None:
        """Close the connection properly."""

    def abort(self) -> None:
        """End the current transfer at once, from another thread."""
