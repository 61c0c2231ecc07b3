"""LinkedIn, Facebook and X: the details of each."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from oauthlib.oauth1 import Client
from pydantic import ValidationError

from tests.channels.registry import SAMPLES, room, served
from tidings.channels.base import Attempt, CanEdit, CanTakeDown
from tidings.channels.social import facebook, linkedin, x
from tidings.model.delivery import Outcome, Verdict
from tidings.testing.channel_contract import sample_item, sample_post
from tidings.testing.http_sink import HttpSink, Received, Step

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
TRY = Attempt("k", AT)


def _json(status: int, body: Any) -> Step:
    return Step(status, json.dumps(body).encode())


def _sent(kind: str, answer: Step) -> Outcome:
    with HttpSink([answer]) as sink:
        channel = room(kind, sink.url)
        return channel.send(channel.prepare(sample_post()), TRY)


def _taken_down(kind: str, answer: Step, receipt: str) -> Outcome:
    with HttpSink([answer]) as sink:
        channel = room(kind, sink.url)
        assert isinstance(channel, CanTakeDown)
        return channel.take_down(receipt, TRY)


def _edited(kind: str, sink: HttpSink, receipt: str) -> Outcome:
    channel = room(kind, sink.url)
    assert isinstance(channel, CanEdit)
    return channel.edit(receipt, channel.prepare(sample_post()), TRY)


# -- LinkedIn ---------------------------------------------------------------------------------------------------------


def test_linkedin_posts_for_the_page_with_a_card_in_our_words() -> None:
    with served("linkedin") as sink:
        channel = room("linkedin", sink.url)
        outcome = channel.send(channel.prepare(sample_post()), TRY)
    (post,) = sink.received
    message = json.loads(post.body)
    assert post.path.endswith("/rest/posts")
    assert (post.headers["linkedin-version"], post.headers["x-restli-protocol-version"]) == ("202610", "2.0.0")
    assert message["author"] == "urn:li:organization:2414183" and message["lifecycleState"] == "PUBLISHED"
    assert message["content"]["article"]["source"] == sample_item().url
    assert message["content"]["article"]["title"] == sample_item().title
    assert outcome.receipt == "urn:li:share:7012"
    assert outcome.via == "https://www.linkedin.com/feed/update/urn:li:share:7012/"


IMAGE = "urn:li:image:C4E10AQFoyyAjHPMQuQ"
PHOTO = b"\xff\xd8\xff picture"


class LinkedIn:
    """The API as "Images API" and "Posts API" describe it; `refuse` sets the status of single calls."""

    def __init__(self, place: str = "", **refuse: int) -> None:
        self.place, self.refuse = place, refuse
        self.calls: list[str] = []
        self.uploaded = b""
        self.posts: list[dict[str, Any]] = []

    def __call__(self, received: Received) -> Step:
        assert received.headers["authorization"] == "Bearer AQX-a-token-of-ours"
        name = "upload" if received.method == "PUT" else "init" if "/rest/images" in received.path else "post"
        self.calls.append(name)
        if name != "upload":
            assert received.headers["linkedin-version"] == "202610"
            assert received.headers["x-restli-protocol-version"] == "2.0.0"
        if name == "post" and "post" in self.refuse and len(self.posts) == 1:
            del self.refuse["post"]
        if name in self.refuse:
            self.posts += [json.loads(received.body)] if name == "post" else []
            return _json(self.refuse[name], {"message": "no"})
        if name == "init":
            assert received.path.endswith("/rest/images?action=initializeUpload")
            asked = json.loads(received.body)
            assert asked == {"initializeUploadRequest": {"owner": "urn:li:organization:2414183"}}
            base = f"http://{received.headers['host']}"
            return _json(
                200, {"value": {"uploadUrl": self.place or f"{base}/dms-uploads/C4E10/0?ca=v&cn=u", "image": IMAGE}}
            )
        if name == "upload":
            assert received.path == "/dms-uploads/C4E10/0?ca=v&cn=u"
            self.uploaded = received.body
            return Step(201, b"")
        self.posts.append(json.loads(received.body))
        return Step(201, b"", {"x-restli-id": "urn:li:share:7012"})


def _posted_with_picture(api: LinkedIn, picture: bytes | None = PHOTO) -> Outcome:
    with HttpSink(answer=api) as sink:
        channel = room("linkedin", sink.url)
        return channel.send(channel.prepare(sample_post()), replace(TRY, picture=lambda url, most: picture))


def test_linkedins_card_has_its_picture() -> None:
    api = LinkedIn()
    assert _posted_with_picture(api).receipt == "urn:li:share:7012"
    assert api.calls == ["init", "upload", "post"] and api.uploaded == PHOTO
    article = api.posts[0]["content"]["article"]
    assert (article["thumbnail"], article["thumbnailAltText"]) == (IMAGE, "A well")


@pytest.mark.parametrize(
    ("api", "calls"),
    [
        (LinkedIn(init=403), ["init", "post"]),
        (LinkedIn(init=500), ["init", "post"]),
        (LinkedIn(upload=400), ["init", "upload", "post"]),
        (LinkedIn(upload=503), ["init", "upload", "post"]),
        # The token is sent to LinkedIn only, whatever address the API returns.
        (LinkedIn("http://127.0.0.1:9/upload"), ["init", "post"]),
        (LinkedIn("https://linkedin.com.example.org/upload"), ["init", "post"]),
        (LinkedIn("https://[/"), ["init", "post"]),
        (LinkedIn(post=400), ["init", "upload", "post", "post"]),
    ],
)
def test_a_failed_picture_never_fails_the_post(api: LinkedIn, calls: list[str]) -> None:
    outcome = _posted_with_picture(api)
    assert (outcome.verdict, outcome.receipt) == (Verdict.ACCEPTED, "urn:li:share:7012")
    assert api.calls == calls
    article = api.posts[-1]["content"]["article"]
    assert "thumbnail" not in article and "thumbnailAltText" not in article and article["source"] == sample_item().url


def test_an_unknown_outcome_with_a_picture_is_not_posted_again() -> None:
    api = LinkedIn(post=500)
    assert _posted_with_picture(api).verdict is Verdict.UNKNOWN
    assert api.calls == ["init", "upload", "post"]


def test_no_upload_without_a_picture() -> None:
    api = LinkedIn()
    assert _posted_with_picture(api, None).verdict is Verdict.ACCEPTED and api.calls == ["post"]


def test_little_text_is_escaped_except_our_hashtags() -> None:
    channel = room("linkedin")
    item = sample_item(title="@[Evil](urn:li:person:1) #a_b {c} *d* ~e~ <f> | g\\", summary="")
    body = channel.prepare(replace(sample_post(), items=(item,)))
    commentary = json.loads(body)["commentary"]
    assert commentary.startswith(
        r"\@\[Evil\]\(urn:li:person:1\) \#a\_b \{c\} \*d\* \~e\~ \<f\> \| g" + "\\\\\n\n{hashtag|\\#|SDG6}"
    )
    assert channel.text(body).startswith("@[Evil](urn:li:person:1) #a_b {c} *d* ~e~ <f> | g\\\n\n#SDG6")


def test_a_duplicate_on_linkedin_is_the_first_post() -> None:
    answer = {"status": 422, "code": "DUPLICATE_POST", "message": "Content is a duplicate of urn:li:share:7009"}
    assert _sent("linkedin", _json(422, answer)).receipt == "urn:li:share:7009"
    assert _sent("linkedin", _json(422, answer)).verdict is Verdict.ACCEPTED
    other = _sent("linkedin", _json(422, {"code": "INVALID_VALUE", "message": "urn:li:share:7009 is no author"}))
    assert other.verdict is Verdict.REJECTED and "INVALID_VALUE" in other.reason


def test_an_ended_version_of_linkedin_says_what_to_set() -> None:
    outcome = _sent("linkedin", _json(426, {"code": "NONEXISTENT_VERSION", "message": "not active"}))
    assert outcome.verdict is Verdict.NOT_STARTED
    assert "set `version`" in outcome.reason and "202610" in outcome.reason


def test_linkedin_edits_and_deletes_by_the_urn() -> None:
    urn = "urn:li:share:7012"
    with HttpSink([Step(204, b"")]) as sink:
        assert _edited("linkedin", sink, urn).verdict is Verdict.ACCEPTED
    (patch,) = sink.received
    assert patch.path.endswith("/rest/posts/urn%3Ali%3Ashare%3A7012")
    assert patch.headers["x-restli-method"] == "PARTIAL_UPDATE"
    assert set(json.loads(patch.body)["patch"]["$set"]) == {"commentary"}
    with HttpSink([Step(404, b"{}")]) as sink:
        assert _edited("linkedin", sink, urn).verdict is Verdict.REJECTED
    for answer in (Step(204, b""), Step(404, b"{}")):
        assert _taken_down("linkedin", answer, urn).verdict is Verdict.ACCEPTED
    assert _taken_down("linkedin", Step(500), urn).verdict is Verdict.UNKNOWN


# -- Facebook ---------------------------------------------------------------------------------------------------------


def test_facebook_gets_message_and_link_and_no_token_in_the_url() -> None:
    with served("facebook") as sink:
        channel = room("facebook", sink.url)
        outcome = channel.send(channel.prepare(sample_post()), TRY)
    (post,) = sink.received
    assert post.path.endswith("/v25.0/10158/feed")
    assert json.loads(post.body)["link"] == sample_item().url
    assert post.headers["authorization"] == "Bearer EAA-a-token-of-ours"
    assert (outcome.receipt, outcome.via) == ("10158_77", "https://www.facebook.com/10158_77")


@pytest.mark.parametrize(
    ("status", "error", "verdict", "words"),
    [
        (400, {"code": 190, "message": "Session has expired"}, Verdict.NOT_STARTED, "make a new one"),
        (400, {"code": 32, "message": "Page request limit reached"}, Verdict.DEFERRED, "limit"),
        (403, {"code": 4, "message": "Application request limit reached"}, Verdict.DEFERRED, "limit"),
        (
            400,
            {"code": 506, "message": "Duplicate status message"},
            Verdict.REJECTED,
            "already has a post with the same text",
        ),
        (400, {"code": 2, "message": "Service temporarily unavailable"}, Verdict.UNKNOWN, "unavailable"),
        (400, {"code": 1, "is_transient": True, "message": "Please retry"}, Verdict.UNKNOWN, "retry"),
        (403, {"code": 200, "message": "pages_manage_posts is missing"}, Verdict.NOT_STARTED, "pages_manage_posts"),
        (400, "what?", Verdict.REJECTED, "400"),
        (500, {"code": 1}, Verdict.UNKNOWN, "500"),
    ],
)
def test_facebooks_own_codes_decide_the_verdict(status: int, error: Any, verdict: Verdict, words: str) -> None:
    outcome = _sent("facebook", _json(status, {"error": error}))
    assert outcome.verdict is verdict and words in outcome.reason


def test_facebook_edits_and_deletes() -> None:
    with HttpSink([_json(200, {"success": True})]) as sink:
        assert _edited("facebook", sink, "10158_77").verdict is Verdict.ACCEPTED
    assert sink.received[0].path.endswith("/v25.0/10158_77")
    assert set(json.loads(sink.received[0].body)) == {"message"}
    assert _taken_down("facebook", _json(200, {"success": True}), "10158_77").verdict is Verdict.ACCEPTED
    gone = {"error": {"code": 100, "error_subcode": 33, "message": "Object does not exist"}}
    outcome = _taken_down("facebook", _json(400, gone), "10158_77")
    assert outcome.verdict is Verdict.REJECTED and "may not see it" in outcome.reason


# -- X ----------------------------------------------------------------------------------------------------------------


def test_x_signs_each_request_and_shows_no_key() -> None:
    with served("x") as sink:
        channel = room("x", sink.url)
        outcomes = [channel.send(channel.prepare(sample_post()), TRY) for _ in range(2)]
    first, second = (request.headers["authorization"] for request in sink.received)
    assert first != second
    fields = dict(re.findall(r'oauth_(\w+)="([^"]*)"', first))
    keys = [SAMPLES["x"].settings[name] for name in ("api_key", "api_secret", "access_token", "access_secret")]
    theirs = Client(*keys, nonce=fields["nonce"], timestamp=fields["timestamp"])
    signed = theirs.sign(f"{channel._settings.server}2/tweets", "POST")[1]["Authorization"]
    assert sorted(first[6:].split(", ")) == sorted(signed[6:].split(", ")), "oauthlib signs the same"
    assert outcomes[0].receipt == "1845" and outcomes[0].via == "https://x.com/i/web/status/1845"
    assert not [secret for secret in SAMPLES["x"].secrets if secret in repr((channel, outcomes))]


def test_x_deletes() -> None:
    assert _taken_down("x", _json(200, {"data": {"deleted": True}}), "1845").verdict is Verdict.ACCEPTED
    assert _taken_down("x", _json(200, {"data": {"deleted": False}}), "1845").verdict is Verdict.UNKNOWN
    twice = _sent("x", _json(403, {"detail": "You are not allowed to create a Tweet with duplicate content."}))
    assert twice.verdict is Verdict.REJECTED and "duplicate" in twice.reason


def test_x_is_refused_until_its_price_is_accepted() -> None:
    for more in ({}, {"confirm_cost": "false"}):
        keys = dict.fromkeys(("api_key", "api_secret", "access_token", "access_secret"), "s3cret-of-ours")
        with pytest.raises(ValidationError, match=r"\$0\.200 a post with a link") as caught:
            x.Settings.model_validate({"type": "x", **keys, **more})
        assert "s3cret-of-ours" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "values", "words"),
    [
        (linkedin.Settings, {"type": "linkedin", "organization": "steppe", "token": "t"}, "write its number"),
        (linkedin.Settings, {"type": "linkedin", "organization": "1", "token": "t", "version": "2026"}, "202610"),
        (facebook.Settings, {"type": "facebook", "page": "steppe", "token": "t"}, "write its number"),
        (facebook.Settings, {"type": "facebook", "page": "1", "token": "t", "version": "25"}, r"v25\.0"),
    ],
)
def test_invalid_settings_are_refused_with_an_example(model: Any, values: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        model.model_validate(values)
