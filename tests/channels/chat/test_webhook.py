"""The webhook: the common contract, and Standard Webhooks by its own library."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook

from tidings.channels.base import Attempt
from tidings.channels.chat.webhook import MAX_BODY, Settings, WebhookChannel
from tidings.model.delivery import Outcome
from tidings.testing.channel_contract import sample_post
from tidings.testing.http_sink import HttpSink

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def channel(url: str, *, allow_private: bool = True) -> WebhookChannel:
    return WebhookChannel(
        "desk",
        Settings(type="webhook", url=SecretStr(url), secret=SecretStr(SECRET), allow_private=allow_private),
    )


def send(url: str, key: str = "desk:story-1:story:0") -> Outcome:
    hook = channel(url)
    return hook.send(hook.prepare(sample_post()), Attempt(key, datetime.now(UTC)))


def test_the_reference_library_accepts_the_signature() -> None:
    with HttpSink() as sink:
        send(sink.url)
    (received,) = sink.received
    data = Webhook(SECRET).verify(received.body, received.headers)
    assert data["type"] == "item.published"
    assert data["data"]["items"][0]["story"] == "story-1"


def test_webhook_id_is_the_same_for_retries_only() -> None:
    with HttpSink() as sink:
        for key in ("desk:a:story:0", "desk:a:story:0", "desk:b:story:0"):
            send(sink.url, key)
    ids = [received.headers["webhook-id"] for received in sink.received]
    assert ids[0] == ids[1] != ids[2]


def test_a_body_stays_under_20_kilobytes_with_every_item() -> None:
    hook = channel("http://127.0.0.1:9/")
    body = hook.prepare(sample_post(40))
    assert len(body) <= MAX_BODY
    assert len(json.loads(body)["data"]["items"]) == 40


@pytest.mark.parametrize("secret", ["short", "whsec_", "whsec_!!!", "whsec_" + "A" * 200])
def test_a_weak_secret_is_refused_with_a_command_to_make_one(secret: str) -> None:
    with pytest.raises(ValidationError, match="urandom"):
        Settings(type="webhook", url=SecretStr("https://example.org"), secret=SecretStr(secret))
