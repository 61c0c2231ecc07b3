"""A WebSub hub, told which feeds have changed (W3C Recommendation WebSub; the ping itself is PubSubHubbub 0.4 §7.1)."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlencode

from pydantic import Field

from tidings.channels.http import send_request
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Url
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession


class Settings(ChannelSettings):
    """`type: websub`. It carries no posts: each feed names it, and it is told when one of them has changed."""

    POSTS: ClassVar[bool] = False

    url: Url = Field(description="The hub, such as https://pubsubhubbub.appspot.com/.")


class WebSubHub:
    """Fetches a feed that has changed, and passes it on to who subscribed. A ping too many does no harm."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url
        self._session = GuardedSession(allow_private=settings.allow_private)

    def ping(self, feed: str) -> Outcome:
        """Tell it that the feed of this address has changed."""
        # Hubs differ in the name of the address: the older ones ask for `url`, others for `topic`.
        body = urlencode({"hub.mode": "publish", "hub.url": feed, "hub.topic": feed}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = send_request(self._session, self.url, body, headers)
        return answer if isinstance(answer, Outcome) else Outcome(Verdict.ACCEPTED, via=self.url)


def make(name: str, settings: Settings) -> WebSubHub:
    """The hub of one name."""
    return WebSubHub(settings)
