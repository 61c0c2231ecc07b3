"""A WebSub hub, which is notified of changed feeds (W3C WebSub; the ping is PubSubHubbub 0.4 §7.1)."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlencode

from pydantic import Field

from tidings.channels.http import HttpChannel
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Url
from tidings.model.delivery import Outcome


class Settings(ChannelSettings):
    """`type: websub`. It gets no posts: each feed names the hub, and each change of a feed is reported to it."""

    POSTS: ClassVar[bool] = False

    url: Url = Field(description="The hub, such as https://pubsubhubbub.appspot.com/.")


class WebSubHub(HttpChannel[Settings]):
    """A WebSub hub. It fetches a changed feed and distributes it to its subscribers. An extra ping is harmless."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.url = settings.url

    def ping(self, feed: str) -> Outcome:
        """Tell the hub that the feed at this address has changed."""
        # Hubs use different names for the feed's URL: older ones `url`, others `topic`.
        body = urlencode({"hub.mode": "publish", "hub.url": feed, "hub.topic": feed}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.request(self.url, body, headers)
        return answer if isinstance(answer, Outcome) else self.accepted(via=self.url)


make = WebSubHub
