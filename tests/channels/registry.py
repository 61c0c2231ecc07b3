"""One sample of each channel that ships, with its settings and its service, for the tests of all channels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from tidings import plugins
from tidings.channels.base import Channel
from tidings.testing.http_sink import HttpSink, Received, Step

TOKEN = "123456789:AAEhBOweik6ad9r-QXuP2ecExampleKey"
PATH = "secret-part-of-the-path"
"""A part of every sink's address."""


@dataclass(frozen=True)
class Sample:
    """`settings` as in YAML, with `{url}` for the sink's address. `answer` is the service's answer to a good post."""

    settings: dict[str, str]
    answer: Step | Callable[[Received], Step]
    secrets: tuple[str, ...] = ()
    """Text that may not appear in any output. The sink's address is secret too if `url` is a setting."""
    posts: Callable[[Received], bool] = field(default=lambda received: received.method in ("POST", "PUT"))
    """Whether a request publishes the post."""
    key: Callable[[Received], str] = field(default=lambda received: "")
    """The request field by which the service recognises a repeat; empty if it recognises none."""

    blind: bool = False
    """Whether the channel cannot know why a post failed."""

    @property
    def hidden(self) -> tuple[str, ...]:
        return (*self.secrets, PATH) if "url" in self.settings else self.secrets


SAMPLES: dict[str, Sample] = {
    "webhook": Sample(
        {"url": "{url}", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        Step(204, b""),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
        key=lambda received: received.headers["webhook-id"],
    ),
    "slack": Sample({"url": "{url}"}, Step(200, b"ok")),
    "teams": Sample({"url": "{url}?sig=q8G1Xs-sT2oO4P"}, Step(202, b""), ("q8G1Xs-sT2oO4P",)),
    "discord": Sample({"url": "{url}"}, Step(200, b'{"id": "991"}')),
    "mattermost": Sample({"url": "{url}"}, Step(200, b"ok")),
    "rocketchat": Sample({"url": "{url}"}, Step(200, b'{"success": true}')),
    "telegram": Sample(
        {"token": TOKEN, "chat": "@steppe_news", "server": "{url}"},
        Step(200, b'{"ok": true, "result": {"message_id": 17}}'),
        (TOKEN.partition(":")[2],),
    ),
    "mastodon": Sample(
        {"server": "{url}", "token": "a-token-of-ours"},
        Step(200, b'{"id": "103", "url": "https://social.example/@steppe/103"}'),
        ("a-token-of-ours",),
        key=lambda received: received.headers["idempotency-key"],
    ),
    "ntfy": Sample(
        {"server": "{url}", "topic": "steppe-topic-7", "token": "tk_a-token-of-ours"},
        Step(200, b'{"id": "sPs71M8A2T"}'),
        ("steppe-topic-7", "tk_a-token-of-ours"),
    ),
    "linkedin": Sample(
        {"server": "{url}", "organization": "2414183", "token": "AQX-a-token-of-ours"},
        Step(201, b"", {"x-restli-id": "urn:li:share:7012"}),
        ("AQX-a-token-of-ours",),
    ),
    "facebook": Sample(
        {"server": "{url}", "page": "10158", "token": "EAA-a-token-of-ours"},
        Step(200, b'{"id": "10158_77"}'),
        ("EAA-a-token-of-ours",),
    ),
    "x": Sample(
        {
            "server": "{url}",
            "api_key": "xvz1evFS4wEEPTGEFPHBog",
            "api_secret": "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            "access_token": "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            "access_secret": "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
            "confirm_cost": "true",
        },
        Step(201, b'{"data": {"id": "1845", "text": "x"}}'),
        (
            "xvz1evFS4wEEPTGEFPHBog",
            "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
        ),
    ),
}


def _bluesky(received: Received) -> Step:
    wanted = json.loads(received.body) if received.body.startswith(b"{") else {}
    if received.path.endswith("createSession"):
        answer = {
            "did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
            "accessJwt": "a.jwt.of-ours",
            "handle": wanted["identifier"],
        }
    elif received.path.endswith("uploadBlob"):
        answer = {"blob": {"$type": "blob", "mimeType": received.headers["content-type"], "size": len(received.body)}}
    else:
        uri = f"at://{wanted['repo']}/{wanted['collection']}/{wanted['rkey']}"
        answer = {"uri": uri, "cid": "bafyreihd6fgr5kobx7jbpzrt6yzvp3glb44vvjbf7rzhh5yawhtdvmnxqm"}
    return Step(200, json.dumps(answer).encode())


SAMPLES["bluesky"] = Sample(
    {"server": "{url}", "handle": "steppe.example.org", "password": "abcd-efgh-ijkl-mnop"},
    _bluesky,
    ("abcd-efgh-ijkl-mnop", "a.jwt.of-ours"),
    posts=lambda received: received.path.endswith("putRecord"),
    key=lambda received: str(json.loads(received.body)["rkey"]),
)


def _matrix(received: Received) -> Step:
    if received.path.endswith("/state/m.room.encryption"):
        return Step(404, b'{"errcode": "M_NOT_FOUND", "error": "Event not found."}')
    if received.method == "GET":
        return Step(200, b'{"event_id": "$one", "content": {"body": "x"}}')
    return Step(200, b'{"event_id": "$3y9GZXcW1Xl5vRmXyGAxTaFqUBLbWXbBmzNBJ2rVFkQ"}')


SAMPLES["matrix"] = Sample(
    {"server": "{url}", "room": "!QtykxKocfZaZOUrTwp:example.org", "token": "syt_a-token-of-ours"},
    _matrix,
    ("syt_a-token-of-ours",),
    posts=lambda received: "/send/m.room.message/" in received.path,
    key=lambda received: received.path.rpartition("/")[2],
)
SAMPLES["apprise"] = Sample({"url": "{json}"}, Step(200, b"ok"), blind=True)


def answer_of(kind: str) -> Step:
    """Return the service's answer to a post, if it is always the same."""
    answer = SAMPLES[kind].answer
    assert isinstance(answer, Step)
    return answer


def served(kind: str) -> HttpSink:
    """Start the service."""
    answer = SAMPLES[kind].answer
    return HttpSink([answer]) if isinstance(answer, Step) else HttpSink(answer=answer)


def settings_of(kind: str, url: str) -> dict[str, str]:
    """Return the settings as in YAML, for a sink at `url`."""
    return {"type": kind} | {
        key: value.format(url=url, json=url.replace("http:", "json:")) for key, value in SAMPLES[kind].settings.items()
    }


def room(kind: str, url: str = "http://127.0.0.1:9/", *, private: bool = True) -> Channel:
    """Make a channel of this kind for `url`."""
    module: Any = import_module(plugins.CHANNELS[kind])
    written = settings_of(kind, url) | {"allow_private": private}
    made: Channel = module.make("x", module.Settings.model_validate(written))
    return made
