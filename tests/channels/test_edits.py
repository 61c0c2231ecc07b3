"""Published posts are edited, deleted, replied to and found again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.channels.registry import SAMPLES, TOKEN, answer_of, room, served
from tidings.channels.base import Attempt, CanEdit, CanFind, CanTakeDown, KnowsAddresses
from tidings.model.delivery import Outcome, Verdict
from tidings.testing.channel_contract import sample_item, sample_post
from tidings.testing.http_sink import HttpSink, Received, Step

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
TRY = Attempt("team:story-1:story:0", AT)


def _json(status: int, body: Any) -> Step:
    return Step(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _edit(kind: str, sink: HttpSink, receipt: str = "103") -> Outcome:
    channel = room(kind, sink.url)
    assert isinstance(channel, CanEdit)
    return channel.edit(receipt, channel.prepare(sample_post()), TRY)


def _take_down(kind: str, sink: HttpSink, receipt: str = "103") -> Outcome:
    channel = room(kind, sink.url)
    assert isinstance(channel, CanTakeDown)
    return channel.take_down(receipt, TRY)


# -- Mastodon: docs.joinmastodon.org/methods/statuses -----------------------------------------------------------------


def test_mastodon_replaces_the_text() -> None:
    with HttpSink([answer_of("mastodon")]) as sink:
        outcome = _edit("mastodon", sink)
    (put,) = sink.received
    assert (put.method, put.path) == ("PUT", "/hook/secret-part-of-the-path/api/v1/statuses/103")
    assert set(json.loads(put.body)) == {"status", "language"}
    assert outcome == Outcome(Verdict.ACCEPTED, receipt="103", via="https://social.example/@steppe/103")


def test_mastodon_deletes_a_post_also_if_it_is_gone() -> None:
    with HttpSink([_json(200, {"id": "103", "text": "x"}), _json(404, {"error": "Record not found"})]) as sink:
        outcomes = [_take_down("mastodon", sink) for _ in range(2)]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * 2
    assert [(request.method, request.path.rpartition("/")[2]) for request in sink.received] == [("DELETE", "103")] * 2


def test_a_reply_names_its_post() -> None:
    bodies = {}
    for kind in ("mastodon", "telegram", "x"):
        with served(kind) as sink:
            channel = room(kind, sink.url)
            channel.send(channel.prepare(sample_post()), replace(TRY, reply_to="103"))
        bodies[kind] = json.loads(sink.received[0].body)
    assert bodies["mastodon"]["in_reply_to_id"] == "103"
    assert bodies["telegram"]["reply_parameters"] == {"message_id": 103, "allow_sending_without_reply": True}
    assert bodies["x"]["reply"] == {"in_reply_to_tweet_id": "103"}


# -- Discord: discord.com/developers/docs/resources/webhook -----------------------------------------------------------


def test_discord_patches_below_the_webhook_and_keeps_its_thread() -> None:
    with HttpSink([_json(200, {"id": "991"})] * 2) as sink:
        url = f"{sink.url}?thread_id=7"
        thread = room("discord", url)
        assert isinstance(thread, CanEdit) and isinstance(thread, CanTakeDown)
        assert thread.edit("991", thread.prepare(sample_post()), TRY).receipt == "991"
        assert thread.take_down("991", TRY).verdict is Verdict.ACCEPTED
    patch, delete = sink.received
    assert patch.path == delete.path == "/hook/secret-part-of-the-path/messages/991?thread_id=7"
    assert (patch.method, delete.method) == ("PATCH", "DELETE")
    assert json.loads(patch.body)["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Step(204, b""), Verdict.ACCEPTED),
        (_json(404, {"code": 10008, "message": "Unknown Message"}), Verdict.ACCEPTED),
        (_json(404, {"code": 10015, "message": "Unknown Webhook"}), Verdict.NOT_STARTED),
        (_json(429, {"retry_after": 1.5}), Verdict.DEFERRED),
        (Step(502), Verdict.UNKNOWN),
    ],
)
def test_discord_deletes_a_post(answer: Step, verdict: Verdict) -> None:
    with HttpSink([answer]) as sink:
        assert _take_down("discord", sink).verdict is verdict


# -- Telegram: core.telegram.org/bots/api -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "edited", "deleted"),
    [
        (_json(200, {"ok": True, "result": True}), Verdict.ACCEPTED, Verdict.ACCEPTED),
        (
            _json(400, {"ok": False, "description": "Bad Request: message is not modified: specified new content"}),
            Verdict.ACCEPTED,
            Verdict.REJECTED,
        ),
        (
            _json(400, {"ok": False, "description": "Bad Request: message to delete not found"}),
            Verdict.REJECTED,
            Verdict.ACCEPTED,
        ),
        (_json(400, {"ok": False, "description": "Bad Request: message can't be deleted"}), *[Verdict.REJECTED] * 2),
        (_json(403, {"ok": False, "description": "Forbidden: bot was kicked"}), *[Verdict.NOT_STARTED] * 2),
        (_json(200, ["what?"]), *[Verdict.UNKNOWN] * 2),
    ],
)
def test_telegram_accepts_a_repeated_edit_or_deletion(answer: Step, edited: Verdict, deleted: Verdict) -> None:
    with HttpSink([answer]) as sink:
        assert _edit("telegram", sink).verdict is edited
        assert _take_down("telegram", sink).verdict is deleted
    edit, delete = (json.loads(request.body) for request in sink.received)
    assert edit["message_id"] == delete["message_id"] == 103
    assert [request.path.rpartition("/")[2] for request in sink.received] == ["editMessageText", "deleteMessage"]
    assert all(TOKEN in request.path for request in sink.received)


# -- finding a post on Mastodon ---------------------------------------------------------------------------------------

LINK = sample_item().url
BODY = room("mastodon").prepare(sample_post())


def _as_html(text: str) -> str:
    """Return the text as Mastodon writes it: escaped, links in three spans, hashtags as links of the server."""
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    anchor = (
        f'<a href="{LINK}" target="_blank" rel="nofollow noopener"><span class="invisible">https://</span>'
        f'<span class="ellipsis">{LINK[8:30]}</span><span class="invisible">{LINK[30:]}</span></a>'
    )
    tag = '<a href="https://s.example/tags/SDG6" class="mention hashtag" rel="tag">#<span>SDG6</span></a>'
    shown = shown.replace(LINK, anchor).replace("\n\n#SDG6", f"</p><p>{tag}").replace("\n", "<br />")
    return f"<p>{shown}</p>"


def _status(number: int, minutes: float, content: str) -> dict[str, Any]:
    moment = (AT + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
    return {"id": str(number), "created_at": moment, "content": content, "url": f"https://s.example/@a/{number}"}


def _account(statuses: list[dict[str, Any]]) -> HttpSink:
    def answer(received: Received) -> Step:
        assert received.method == "GET" and received.headers["authorization"] == "Bearer a-token-of-ours"
        if received.path.endswith("/verify_credentials"):
            return _json(200, {"id": "7", "username": "steppe"})
        path, _, query = received.path.partition("?")
        assert path.endswith("/api/v1/accounts/7/statuses")
        asked = dict(part.split("=") for part in query.split("&"))
        older = [status for status in statuses if int(status["id"]) < int(asked.get("max_id", 10**9))]
        return _json(200, older[: int(asked["limit"])])

    return HttpSink(answer=answer)


def _find(sink: HttpSink) -> Outcome:
    channel = room("mastodon", sink.url)
    assert isinstance(channel, CanFind)
    return channel.find(BODY, TRY)


TEXT = json.loads(BODY)["status"]
OTHER = '<p>Another story <a href="https://news.example.org/kk/other/">x</a></p>'


@pytest.mark.parametrize(
    ("statuses", "receipt"),
    [
        ([_status(9, 3, OTHER), _status(8, 0, _as_html(TEXT)), _status(7, -600, OTHER)], "8"),
        # Somebody has corrected a word since: the link identifies the post.
        ([_status(9, 3, _as_html(TEXT).replace("1 200", "1 300"))], "9"),
        # An exact text wins over a later post with the same link.
        ([_status(9, 9, f'<p>More: <a href="{LINK}">x</a></p>'), _status(8, 0, _as_html(TEXT))], "8"),
        # The post is far down, so several pages are read.
        ([_status(200 - n, 60 - n, OTHER) for n in range(55)] + [_status(3, 0.5, _as_html(TEXT))], "3"),
        # A post from before the attempt is another post.
        ([_status(9, 3, OTHER), _status(8, -60, _as_html(TEXT))], None),
        ([], None),
    ],
)
def test_mastodon_is_read_back_to_find_the_post(statuses: list[dict[str, Any]], receipt: str | None) -> None:
    with _account(statuses) as sink:
        outcome = _find(sink)
    if receipt is None:
        assert outcome.verdict is Verdict.NOT_STARTED
    else:
        assert outcome == Outcome(Verdict.ACCEPTED, receipt=receipt, via=f"https://s.example/@a/{receipt}")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ([Step(403, b"{}")], "read:accounts"),
        ([Step(503)], "503"),
        ([Step(reset="after")], "lost"),
        ([Step(200, b"<html>")], "cannot be read"),
        ([_json(200, {"id": "../../x"})], "cannot be read"),
        ([_json(200, {"id": "7"}), _json(200, {"error": "x"})], "cannot be read"),
        ([_json(200, {"id": "7"}), _json(200, [{"id": "1"}])], "cannot be read"),
        ([_json(200, {"id": "7"}), Step(200, b"[" * 3_000_000)], "cannot be read"),
    ],
)
def test_an_unreadable_account_leaves_the_outcome_unknown(plan: list[Step], words: str) -> None:
    with HttpSink(plan) as sink:
        outcome = _find(sink)
    assert outcome.verdict is Verdict.UNKNOWN
    assert words in outcome.reason


# -- every channel that can edit --------------------------------------------------------------------------------------


_KEY, _CID = "3lbkq7xt3x22a", "bafyreihd6fgr5kobx7jbpzrt6yzvp3glb44vvjbf7rzhh5yawhtdvmnxqm"
_MINE = f"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/{_KEY} {_CID}"
_ROOM, _EVENT = "!QtykxKocfZaZOUrTwp:example.org", "$3y9GZXcW1Xl5vRmXyGAxTaFqUBLbWXbBmzNBJ2rVFkQ"


@pytest.mark.parametrize(
    ("kind", "url", "receipt"),
    [
        ("mastodon", "{server}/@steppe/103", "103"),
        ("mastodon", "{server}/users/steppe/statuses/103/", "103"),
        ("mastodon", "https://elsewhere.example/@steppe/103", ""),
        ("mastodon", "{server}/@steppe/", ""),
        ("bluesky", f"https://bsky.app/profile/steppe.example.org/post/{_KEY}", _MINE),
        ("bluesky", f"https://bsky.app/profile/did:plc:ewvi7nxzyoun6zhxrhs64oiz/post/{_KEY}", _MINE),
        ("bluesky", f"https://bsky.app/profile/another.example.org/post/{_KEY}", ""),
        ("bluesky", "https://bsky.app/profile/steppe.example.org", ""),
        ("matrix", f"https://matrix.to/#/{_ROOM}/{_EVENT}", _EVENT),
        ("matrix", f"https://matrix.to/#/{_ROOM}/%243y9GZXcW1Xl5vRmXyGAxTaFqUBLbWXbBmzNBJ2rVFkQ?via=b.org", _EVENT),
        ("matrix", f"https://matrix.to/#/!another:example.org/{_EVENT}", ""),
        ("telegram", "https://t.me/steppe_news/17?single", "17"),
        ("telegram", "https://t.me/another/17", ""),
        ("x", "https://x.com/steppe/status/1845", "1845"),
        ("x", "https://twitter.com/i/web/status/1845?s=20", "1845"),
        ("x", "https://example.org/x.com/steppe/status/1845", ""),
    ],
)
def test_the_address_of_a_post_gives_its_receipt(kind: str, url: str, receipt: str) -> None:
    def answer(received: Received) -> Step:
        if kind == "matrix":
            return Step(404)
        if received.path.endswith("createSession"):
            return _json(200, {"did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "accessJwt": "a.jwt.of-ours"})
        assert received.path.endswith(f"collection=app.bsky.feed.post&rkey={_KEY}")
        return _json(200, {"uri": _MINE.partition(" ")[0], "cid": _CID, "value": {}})

    with HttpSink(answer=answer) as sink:
        channel = room(kind, sink.url)
        assert isinstance(channel, KnowsAddresses)
        assert channel.receipt_at(url.format(server=sink.url.partition("/hook/")[0])) == receipt


@pytest.mark.parametrize("receipt", ["", "../../x", "1/../2", "1?x=y", "rehearsed!", "1\r\nX: y"])
def test_an_invalid_receipt_reaches_no_server(receipt: str) -> None:
    with HttpSink() as sink:
        for kind in ("mastodon", "discord", "telegram"):
            assert _edit(kind, sink, receipt).verdict is Verdict.REJECTED
            assert _take_down(kind, sink, receipt).verdict is Verdict.REJECTED
        assert sink.received == []


def test_the_editors_own_text_gets_the_link_once() -> None:
    own = "Су келді! *Жаңа* құдықтар_мен"
    for text in (own, f"{own} {LINK}", f"{LINK}. {own}", "слово " * 2000, f"{'слово ' * 2000}{LINK}"):
        post = replace(sample_post(), items=(sample_item(text=text, correction="1 300, not 1 200"),))
        for kind in SAMPLES:
            if kind == "webhook":
                continue
            body = room(kind).prepare(post)
            shown = room(kind).text(body)
            # A card of ours also has the title and link of the page.
            has_card = kind in ("linkedin", "bluesky")
            assert shown.count(LINK) == 1 or (has_card and shown.endswith(LINK)), (kind, shown)
            words = shown.rpartition(sample_item().title)[0] if has_card else shown
            assert sample_item().title not in words
            assert "Су құбыры" not in words and "SDG6" not in words
            assert "1 300, not 1 200" in shown.replace("\\", "")
            assert room(kind).length(body) <= room(kind).capabilities.max_length
