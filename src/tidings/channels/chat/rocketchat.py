"""A Rocket.Chat room, through its incoming integration (docs.rocket.chat, "Integrations")."""

from __future__ import annotations

import json

from tidings.channels.base import Capabilities, Idempotency
from tidings.channels.chat import mattermost

MAX_TEXT = 5_000
"""Most characters of a message: a server's default for `Message_MaxAllowedSize`."""


class Settings(mattermost.Settings):
    """`type: rocketchat`."""


class RocketChatChannel(mattermost.MattermostChannel):
    """A Rocket.Chat room. It takes the same Markdown as Mattermost. Success is `success: true`."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)
    ACCOUNT_WORDS = r"invalid integration id or token|invalid-(?:channel|room|user)|error-(?:not-allowed|room-archived)"

    def is_success(self, answer: str) -> bool:
        try:
            return json.loads(answer)["success"] is True
        except (ValueError, TypeError, LookupError):
            return False


make = RocketChatChannel
