"""An expired token, a deleted webhook or a suspended account stops the channel, and no post is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.channels.registry import SAMPLES, room, settings_of
from tests.fixtures.newsroom import HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.channels.base import Attempt
from tidings.model.delivery import Verdict
from tidings.runtime.monitoring.status import status
from tidings.store import schema as t
from tidings.testing.channel_contract import sample_post
from tidings.testing.http_sink import HttpSink, Received, Step

SEEING = sorted(kind for kind, sample in SAMPLES.items() if not sample.blind)


def _json(status: int, value: Any) -> Step:
    return Step(status, json.dumps(value).encode())


ABOUT_THE_ACCOUNT = [
    ("webhook", Step(401, b"bad signature")),
    ("webhook", Step(410)),
    ("webhook", Step(403)),
    ("webhook", Step(404, b"Not Found")),
    ("mastodon", _json(403, {"error": "This action is not allowed"})),
    ("x", _json(403, {"detail": "You are not permitted to perform this action."})),
    ("slack", Step(403, b"invalid_token")),
    ("slack", Step(404, b"no_service")),
    ("slack", Step(410, b"channel_is_archived")),
    ("slack", Step(400, b"user_not_found")),
    ("teams", _json(404, {"error": {"code": "WorkflowNotFound", "message": "The workflow could not be found."}})),
    ("teams", _json(400, {"error": {"code": "WorkflowTriggerIsNotEnabled", "message": "state 'Disabled'"}})),
    ("teams", _json(401, {"error": {"code": "DirectApiAuthorizationRequired"}})),
    ("discord", _json(401, {"code": 50027, "message": "Invalid Webhook Token"})),
    ("discord", _json(404, {"code": 10015, "message": "Unknown Webhook"})),
    ("mattermost", _json(400, {"id": "web.incoming_webhook.invalid.app_error", "message": "Invalid webhook."})),
    ("mattermost", _json(501, {"id": "web.incoming_webhook.disabled.app_error", "message": "Disabled by the admin."})),
    ("mattermost", _json(404, {"message": "Couldn't find the channel."})),
    ("rocketchat", _json(404, {"success": False, "error": "Invalid integration id or token provided."})),
    ("rocketchat", _json(400, {"success": False, "error": "invalid-channel"})),
    ("telegram", _json(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})),
    ("telegram", _json(403, {"ok": False, "description": "Forbidden: bot was kicked from the channel chat"})),
    ("telegram", _json(400, {"ok": False, "description": "Bad Request: chat not found"})),
    ("telegram", _json(400, {"ok": False, "description": "Bad Request: not enough rights to send text messages"})),
    ("matrix", _json(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Token is not active"})),
    ("matrix", _json(403, {"errcode": "M_FORBIDDEN", "error": "User not in room"})),
    ("matrix", _json(403, {"errcode": "M_USER_DEACTIVATED", "error": "This account has been deactivated"})),
    ("ntfy", _json(401, {"code": 40101, "error": "unauthorized"})),
    ("ntfy", _json(403, {"code": 40301, "error": "forbidden"})),
    ("mastodon", _json(401, {"error": "The access token was revoked"})),
    ("mastodon", _json(403, {"error": "Your login is currently disabled"})),
    ("mastodon", _json(422, {"error": "This account is suspended"})),
    ("bluesky", _json(401, {"error": "AuthMissing", "message": "Authentication Required"})),
    ("bluesky", _json(400, {"error": "AccountTakedown", "message": "Account has been taken down"})),
    ("bluesky", _json(400, {"error": "RepoDeactivated", "message": "Repo is deactivated"})),
    ("linkedin", _json(401, {"code": "EXPIRED_ACCESS_TOKEN", "message": "The token has expired"})),
    ("linkedin", _json(403, {"code": "ACCESS_DENIED", "message": "Not enough permissions"})),
    ("linkedin", _json(426, {"code": "NONEXISTENT_VERSION"})),
    ("facebook", _json(400, {"error": {"code": 190, "message": "The session has been invalidated"}})),
    ("facebook", _json(400, {"error": {"code": 100, "error_subcode": 33, "message": "Object does not exist"}})),
    ("facebook", _json(403, {"error": {"code": 200, "message": "(#200) missing permissions"}})),
    ("x", _json(401, {"title": "Unauthorized"})),
    ("x", _json(402, {"title": "CreditsDepleted"})),
    ("x", _json(403, {"detail": "Your account is suspended and is not permitted to access this feature."})),
    ("x", _json(429, {"title": "UsageCapExceeded", "detail": "Usage cap exceeded: Monthly product cap"})),
]
ABOUT_THE_POST = [
    ("slack", Step(400, b"invalid_payload")),
    ("discord", _json(400, {"code": 50035, "message": "Invalid Form Body"})),
    ("telegram", _json(400, {"ok": False, "description": "Bad Request: message is too long"})),
    ("mattermost", _json(400, {"id": "web.incoming_webhook.text.app_error", "message": "No text specified."})),
    ("mastodon", _json(422, {"error": "Validation failed: Text character limit of 500 exceeded"})),
    ("matrix", _json(413, {"errcode": "M_TOO_LARGE", "error": "event too large"})),
    ("bluesky", _json(400, {"error": "InvalidRequest", "message": "Record/text must not be longer"})),
    ("linkedin", _json(422, {"code": "INVALID_VALUE", "message": "commentary is too long"})),
    ("facebook", _json(400, {"error": {"code": 506, "message": "Duplicate status message"}})),
    ("x", _json(403, {"detail": "You are not allowed to create a Tweet with duplicate content."})),
    ("x", _json(403, {"detail": "You attempted to reply to a Tweet that is deleted or not visible to you."})),
    ("mastodon", _json(404, {"error": "The post you are trying to reply to does not appear to exist."})),
    ("mastodon", _json(403, {"error": "This link is not allowed on this server"})),
    ("linkedin", _json(403, {"code": "ACCESS_DENIED", "message": "Content is a duplicate of urn:li:share:1"})),
    ("matrix", _json(403, {"errcode": "M_UNKNOWN", "error": "This message has been rejected as probable spam"})),
    ("webhook", Step(403, b"The URL in this post is blocked")),
    ("ntfy", _json(403, {"code": 40399, "error": "message contains a blocked word"})),
]


def _sent(kind: str, step: Step) -> Any:
    sample = SAMPLES[kind]

    def answer(received: Received) -> Step:
        if sample.posts(received):
            return step
        return sample.answer if isinstance(sample.answer, Step) else sample.answer(received)

    with HttpSink(answer=answer) as sink:
        channel = room(kind, sink.url)
        return channel.send(channel.prepare(sample_post()), Attempt("a:b:c:0", datetime.now(UTC)))


@pytest.mark.parametrize(("kind", "step"), ABOUT_THE_ACCOUNT)
def test_a_refused_account_stops_the_channel(kind: str, step: Step) -> None:
    outcome = _sent(kind, step)
    assert outcome.verdict is Verdict.NOT_STARTED
    assert str(step.status) in outcome.reason


@pytest.mark.parametrize(("kind", "step"), ABOUT_THE_POST)
def test_a_refused_post_stops_no_channel(kind: str, step: Step) -> None:
    assert _sent(kind, step).verdict is Verdict.REJECTED


def test_a_refused_login_of_bluesky_stops_the_channel() -> None:
    for error, words in (("AuthenticationRequired", "app password is wrong"), ("AccountTakedown", "AccountTakedown")):
        with HttpSink([_json(401, {"error": error})]) as sink:
            channel = room("bluesky", sink.url)
            outcome = channel.send(channel.prepare(sample_post()), Attempt("a:b:c:0", datetime.now(UTC)))
        assert outcome.verdict is Verdict.NOT_STARTED and words in outcome.reason


class _Networks:
    """Every network with one sink. While `is_ended`, each network refuses posts."""

    def __init__(self) -> None:
        self.is_ended = False
        self.refused: list[str] = []
        self.published: list[str] = []

    def __call__(self, received: Received) -> Step:
        kind = received.path.split("/")[1]
        sample = SAMPLES[kind]
        if not sample.posts(received):
            return sample.answer if isinstance(sample.answer, Step) else sample.answer(received)
        (self.refused if self.is_ended else self.published).append(kind)
        if self.is_ended:
            return Step(401, b"{}")
        return sample.answer if isinstance(sample.answer, Step) else sample.answer(received)


def _write_channels(newsroom: RunningNewsroom, base: str) -> None:
    path = newsroom.folder.root / "tidings.yaml"
    lines = []
    for kind in SEEING:
        written = settings_of(kind, f"{base}/{kind}/secret-part-of-the-path")
        newsroom.folder.env.update({f"{kind}_{name}".upper(): value for name, value in written.items()})
        parts = [f"{name}: {{env: {f'{kind}_{name}'.upper()}}}" for name in written if name != "type"]
        lines.append(f"  a-{kind}: {{type: {kind}, allow_private: true, {', '.join(parts)}}}\n")
    path.write_text(path.read_text().replace("channels:\n", "channels:\n" + "".join(lines)), encoding="utf-8")
    deliver = "".join(f"  - {{channel: a-{kind}, per: item}}\n" for kind in SEEING)
    newsroom.schedule("posts", f'cadence: {{daily: "09:00"}}\ndeliver:\n{deliver}')


def test_posts_wait_for_a_new_token_and_go_out_once(tmp_path: Path) -> None:
    networks = _Networks()
    with (
        HttpSink(answer=networks) as sink,
        open_newsroom(tmp_path / "n", "sqlite:///tidings.db", public=False) as newsroom,
    ):
        _write_channels(newsroom, sink.url.removesuffix("/hook/secret-part-of-the-path"))
        newsroom.tick(MONDAY - HOUR)
        newsroom.item("one")
        newsroom.item("two")
        networks.is_ended = True
        for hours in (0, 1, 30):
            newsroom.tick(MONDAY + hours * HOUR)
        # One request for each channel shows that it is stopped.
        assert sorted(networks.refused) == sorted(SEEING * 3)
        assert {str(entry.state) for entry in newsroom.entries() if entry.purpose == "story"} == {"pending"}
        wrong = status(newsroom.runtime, newsroom.now)["wrong"]
        stalled = [finding["text"] for finding in wrong if finding["what"] == "stalled"]
        assert len(stalled) == len(SEEING) and all("401" in text for text in stalled)
        with newsroom.runtime.store.read() as connection:
            keys = connection.execute(select(t.notices.c.key).where(t.notices.c.key.startswith("stalled:"))).scalars()
            assert sorted(keys) == [f"stalled:a-{kind}" for kind in SEEING]
        networks.is_ended = False
        newsroom.tick(MONDAY + 31 * HOUR)
        assert sorted(networks.published) == sorted(SEEING * 2)
        assert {str(entry.state) for entry in newsroom.entries() if entry.purpose == "story"} == {"accepted"}
        assert not [
            finding for finding in status(newsroom.runtime, newsroom.now)["wrong"] if finding["what"] == "stalled"
        ]
