"""More than a hundred other services through Apprise (github.com/caronc/apprise): pip install "tidings[apprise]".

Apprise reports neither why a service refused a post nor where the post is. It opens its own connections, without the
guards of `tidings.net`. `tidings check` warns about this, and every failure waits for a person.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import warnings
from typing import Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.wording import PlainTextBody, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line
from tidings.model.delivery import Outcome, Verdict

_TIMEOUT = 60.0
"""Most seconds for one post."""


class Settings(ChannelSettings):
    """`type: apprise`."""

    WARNING: ClassVar[tuple[str, str]] = (
        "Apprise posts at least once, text only, and may connect to private addresses",
        "use a channel type of its own where there is one",
    )

    type: Line = Field(validate_default=True, description="Kind of channel, such as `webhook` or `slack`.")
    url: SecretStr = Field(description="Apprise's address of one service, a secret: {env: NAME} or {file: PATH}.")

    @field_validator("type")
    @classmethod
    def _is_installed(cls, value: str) -> str:
        if importlib.util.find_spec("apprise") is None:
            raise ValueError("Apprise is not installed; run: pip install 'tidings[apprise]'")
        return value

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: SecretStr) -> SecretStr:
        """Refuse a URL that Apprise does not know. The error must not show it."""
        if importlib.util.find_spec("apprise") is not None and _service(value.get_secret_value()) is None:
            raise ValueError("Apprise knows no service at this address; its list of services shows how to write one")
        return value


class AppriseChannel(PlainTextBody):
    """One service. Apprise must not repeat a post, so `retry` is 0, even if the URL sets it."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._service = _service(settings.url.get_secret_value())
        self.capabilities = Capabilities(max_length=int(self._service.body_maxlen), idempotency=Idempotency.NONE)

    def prepare(self, post: Post) -> bytes:
        return json.dumps({"text": plain_text(self.fit(post))}, ensure_ascii=False).encode()

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post with Apprise, which only returns True or False. Even after False, the service may have the post."""
        sender = _library().Apprise()
        sender.add(self._service)
        if not sender.notify(body=self.text(body), body_format="text", interpret_escapes=False, timeout=_TIMEOUT):
            return Outcome(Verdict.UNKNOWN, reason="Apprise failed and does not say whether the post was published")
        return Outcome(Verdict.ACCEPTED, via=self.name)


def _library() -> Any:
    # Its log messages quote URLs.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    return importlib.import_module("apprise")


def _service(url: str) -> Any:
    """Return Apprise's object for one URL, or None."""
    with warnings.catch_warnings():
        # This imports all its plugins, some of which use modules that Python will remove.
        warnings.simplefilter("ignore", DeprecationWarning)
        library = _library()
        asset = library.AppriseAsset(http_redirects=False, interpret_emojis=False, secure_logging=True)
        service = library.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is not None:
        service.retry = 0
        service.redirects = False
        # Send one message or refuse it, but never split it.
        service.overflow_mode = "upstream"
    return service


make = AppriseChannel
