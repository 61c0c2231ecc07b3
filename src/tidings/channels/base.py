"""The port for channels: what a channel can carry, and how it sends one post."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from tidings.model.delivery import Outcome


class Idempotency(StrEnum):
    """What the service does with a second request that has the same key."""

    NATIVE = "native"
    """It stores our key: a repeat is safe at any time."""
    WINDOW = "window"
    """It remembers our key for a while: a repeat is safe within `Capabilities.window` seconds."""
    NONE = "none"
    """It does not recognise repeats: an unknown outcome is held for a person."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The abilities of a channel. `tidings check` refuses what it cannot do; nothing is dropped silently."""

    max_length: int
    """The longest text of a post, as `Channel.length` counts it."""
    idempotency: Idempotency
    window: float = 0.0
    """Seconds, for `Idempotency.WINDOW`."""
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
    """Hashtags with their #, in the item's language. None: made of `topics`."""


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
    """When it was composed. It is part of the frozen body, so that a retry has the same bytes."""
    text: str = ""
    """The text of a notice, which has no items."""


def no_picture(url: str, max_bytes: int) -> bytes | None:
    """The `Attempt.picture` of a newsroom that keeps no pictures."""


class Uploads(Protocol):
    """The uploads of earlier attempts of this delivery, so that a later one does not repeat them."""

    def get(self, key: str) -> str:
        """Return the service's id, or any other note; empty if there is none."""

    def put(self, key: str, remote: str) -> None:
        """Store the id so that it survives a crash; empty forgets it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `key` is the same for every retry: it is made of channel, story, purpose and part."""

    key: str
    at: datetime
    """Real time, not the newsroom's clock: services refuse a signature that is minutes off."""
    picture: Callable[[str, int], bytes | None] = no_picture
    """Returns our picture at an absolute URL as JPEG or PNG of at most so many bytes, the same for equal arguments.

    None if there is none: then the post goes without it. A picture never fails a post.
    """
    reply_to: str = ""
    """The receipt of our earlier post to which this one replies, or empty. Only for a channel that `replies`.

    It is known only once that post is published, so that it is not part of the frozen body.
    """
    uploads: Uploads | None = None


class Channel(Protocol):
    """A configured outlet. `prepare` is pure and its result is frozen; `send` sends exactly that, once."""

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
    """The link preview below a post. Without a title the network makes it of the page at `url`.

    Without a URL it is only a picture. `image` is an absolute URL, or empty.
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
        """Look for the post of a prepared body since `attempt.at`, the moment of the attempt in doubt.

        Returns ACCEPTED with its receipt, NOT_STARTED if it is certainly not there, else UNKNOWN.
        """


@runtime_checkable
class KnowsAddresses(Protocol):
    """A channel that knows the receipt of its post from the address that a person found in a browser."""

    def receipt_at(self, url: str) -> str:
        """Return the receipt as `send` gives it, or empty if the address leads to no post. May ask the service."""


class Hub(Protocol):
    """A WebSub hub. It is notified of changed feeds and gets no posts (`ChannelSettings.POSTS` is False)."""

    url: str

    def ping(self, feed: str) -> Outcome:
        """Tell the hub that the feed at this address has changed."""


class MailTransport(Protocol):
    """One mail sender, for one thread except for `abort`. Returns an Outcome for every expected failure.

    REJECTED is for this message or recipient. NOT_STARTED is for failures of the whole sender: it is stalled
    then, and another one may take over. UNKNOWN is for every message that the other side may have accepted.
    """

    def send(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Send one message to one recipient. `sender` is the return path; the lines of `data` end in CRLF."""

    def close(self) -> None:
        """Close the connection in the orderly way."""

    def abort(self) -> None:
        """End the current transfer at once, from another thread."""
