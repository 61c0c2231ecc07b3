"""A Rocket.Chat room, by its incoming integration (docs.rocket.chat, "Integrations")."""

from __future__ import annotations

import json

from tidings.channels.base import Capabilities, Idempotency
from tidings.channels.chat import mattermost

MAX_TEXT = 5_000
"""Characters: `Message_MaxAllowedSize`, as a server is set when it is installed."""


class Settings(mattermost.Settings):
    """`type: rocketchat`."""


class RocketChatChannel(mattermost.MattermostChannel):
    """The same Markdown; it answers `success: true`."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, markup="markdown")

    def _is_success(self, text: str) -> bool:
        try:
            return json.loads(text)["success"] is True
        except (ValueError, TypeError, LookupError):
            return False


def make(name: str, settings: Settings) -> RocketChatChannel:
    """The channel of one name."""
    return RocketChatChannel(name, settings)
