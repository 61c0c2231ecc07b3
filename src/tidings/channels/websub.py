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
    """The hub fetches a feed that has changed and passes it on to its subscribers. An extra ping does no harm."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.url = settings.url

    def ping(self, feed: str) -> Outcome:
        """Tell the hub that the feed at this address has changed."""
        # Hubs differ in the name of the address: the older ones ask for `url`, others for `topic`.
        body = urlencode({"hub.mode": "publish", "hub.url": feed, "hub.topic": feed}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.request(self.url, body, headers)
        return answer if isinstance(answer, Outcome) else self.accepted(via=self.url)


make = WebSubHub
