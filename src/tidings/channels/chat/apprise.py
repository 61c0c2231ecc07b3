"""A hundred further services through Apprise (github.com/caronc/apprise), an extra: `pip install "tidings[apprise]"`.

It tells neither why a service did not take a post nor where it stands, and goes out by itself: what `tidings.net`
guards is not guarded here. So it is said in `check` for what it is, and whatever did not succeed waits for a person.
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
from tidings.channels.wording import fit, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line
from tidings.model.delivery import Outcome, Verdict

_LONGEST = 60.0
"""Seconds for one post."""


class Settings(ChannelSettings):
    """`type: apprise`."""

    WARNING: ClassVar[tuple[str, str]] = (
        "Apprise posts at least once, text only, and is not kept from private addresses",
        "use a channel type of its own where there is one",
    )

    type: Line = Field(validate_default=True, description="Which kind of channel, such as `webhook` or `slack`.")
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
        """Its errors never show it."""
        if importlib.util.find_spec("apprise") is not None and _service(value.get_secret_value()) is None:
            raise ValueError("Apprise knows no service by this address; see its list of services for how to write it")
        return value


class AppriseChannel:
    """One service. Apprise repeats nothing by itself here: `retry` is 0, whatever the address says."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._service = _service(settings.url.get_secret_value())
        self.capabilities = Capabilities(max_length=int(self._service.body_maxlen), idempotency=Idempotency.NONE)

    def prepare(self, post: Post) -> bytes:
        """The text."""
        wording = fit(post, lambda tried: len(plain_text(tried)) <= self.capabilities.max_length)
        return json.dumps({"text": plain_text(wording)}, ensure_ascii=False).encode()

    def length(self, body: bytes) -> int:
        """Characters."""
        return len(json.loads(body)["text"])

    def text(self, body: bytes) -> str:
        """The text."""
        return str(json.loads(body)["text"])

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Hand it to Apprise, which says yes or no; a no may come after the service took it."""
        sender = _library().Apprise()
        sender.add(self._service)
        done = sender.notify(body=self.text(body), body_format="text", interpret_escapes=False, timeout=_LONGEST)
        if not done:
            return Outcome(Verdict.UNKNOWN, reason="Apprise did not succeed, and does not say how far it came")
        return Outcome(Verdict.ACCEPTED, via=self.name)


def _library() -> Any:
    # Its log quotes addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    return importlib.import_module("apprise")


def _service(url: str) -> Any:
    """Apprise's object for one address, or None."""
    with warnings.catch_warnings():
        # Its plugins are all loaded now, some by modules that Python is about to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        library = _library()
        asset = library.AppriseAsset(http_redirects=False, interpret_emojis=False, secure_logging=True)
        service = library.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is not None:
        service.retry = 0
        service.redirects = False
        # One message or a refusal, never several parts.
        service.overflow_mode = "upstream"
    return service


def make(name: str, settings: Settings) -> AppriseChannel:
    """The channel of one name."""
    return AppriseChannel(name, settings)
