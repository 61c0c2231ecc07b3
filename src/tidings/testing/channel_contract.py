"""The suite that every channel passes: built-in channels and those of third parties.

Subclass `ChannelContract` in a test module. Define how to make your channel for an address on loopback, what its
service answers to a post that it accepts, and which settings are secret.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime

from tidings.channels.base import (
    Attempt,
    CanEdit,
    CanFind,
    CanTakeDown,
    Channel,
    Idempotency,
    KnowsAddresses,
    Post,
    PostItem,
)
from tidings.model.delivery import Verdict
from tidings.testing.http_sink import HttpSink, Received, Step

_AT = datetime(2026, 11, 20, 4, tzinfo=UTC)


def sample_item(number: int = 1, **changes: object) -> PostItem:
    """A story with difficult characters."""
    item = PostItem(
        id=f"urn:uuid:00000000-0000-0000-0000-{number:012}",
        story=f"story-{number}",
        language="kk",
        kind="story",
        title=f"Ауыз су: «{number}» & <жаңа> құдықтар | #SDG6 @here",
        summary="Су құбыры 1 200 үйге жетті. " * 20,
        url=f"https://news.example.org/kk/story-{number}/",
        published=_AT,
        topics=("sdg-6",),
        image="https://news.example.org/media/0123456789abcdef/well.jpg",
        image_alt="A well",
    )
    return replace(item, **changes)  # type: ignore[arg-type]


def sample_post(count: int = 1) -> Post:
    """A post with `count` stories."""
    return Post(
        title="Weekly digest",
        url="https://news.example.org/kk/",
        language="kk",
        items=tuple(sample_item(number) for number in range(1, count + 1)),
        edition="weekly/7",
        site="Newsroom",
        at=_AT,
    )


class ChannelContract:
    """The behaviour of a channel that the ledger relies on."""

    success = Step(200, b"ok")
    """The service's answer to a post that it accepts."""
    secrets: tuple[str, ...] = ()
    """Settings that no outcome may show."""

    def make(self, url: str) -> Channel:
        """Make your channel for `url`, with private addresses allowed."""
        raise NotImplementedError

    def make_public(self, url: str) -> Channel:
        """Make your channel without `allow_private`."""
        raise NotImplementedError

    def _attempt(self) -> Attempt:
        return Attempt(key="team:story-1:story:0", at=datetime.now(UTC))

    def test_equal_posts_give_equal_bytes(self) -> None:
        channel = self.make("http://127.0.0.1:9/")
        assert channel.prepare(sample_post(3)) == channel.prepare(sample_post(3))

    def test_a_long_post_fits_and_keeps_its_links(self) -> None:
        channel = self.make("http://127.0.0.1:9/")
        for count in (1, 5, 12):
            body = channel.prepare(sample_post(count))
            assert channel.length(body) <= channel.capabilities.max_length
            text = channel.text(body)
            # Stories without room are behind the link to the whole post.
            if not all(item.url in text for item in sample_post(count).items):
                assert count > 1
                assert sample_post(count).url in text

    def test_a_notice_keeps_its_text(self) -> None:
        channel = self.make("http://127.0.0.1:9/")
        notice = replace(sample_post(0), title="Held", text="Look at weekly/7.")
        assert "Look at weekly/7." in channel.text(channel.prepare(notice))

    def test_the_editors_own_text_goes_with_the_link(self) -> None:
        channel = self.make("http://127.0.0.1:9/")
        item = sample_item(text="Су келді!")
        text = channel.text(channel.prepare(replace(sample_post(), items=(item,))))
        assert "Су келді!" in text
        assert item.url in text

    def test_a_word_too_long_for_any_line_fits_with_its_link(self) -> None:
        channel = self.make("http://127.0.0.1:9/")
        most = channel.capabilities.max_length
        for word in ("я" * (most + 100), "👩🏽\u200d🚒" * (most // 4 + 100), "& <b> _* " * (most // 8 + 20)):
            for item in (sample_item(title=word, summary=word), sample_item(text=word)):
                body = channel.prepare(replace(sample_post(), title=item.title, items=(item,)))
                assert channel.length(body) <= channel.capabilities.max_length
                assert item.url in channel.text(body)

    def test_success_is_accepted(self) -> None:
        with HttpSink([self.success]) as sink:
            channel = self.make(sink.url)
            outcome = channel.send(channel.prepare(sample_post()), self._attempt())
        assert outcome.verdict is Verdict.ACCEPTED
        assert len(sink.received) == 1

    def test_no_connection_is_deferred(self) -> None:
        channel = self.make("http://127.0.0.1:9/")
        assert channel.send(channel.prepare(sample_post()), self._attempt()).verdict is Verdict.DEFERRED

    def test_429_is_deferred_for_the_requested_time(self) -> None:
        with HttpSink([Step(429, headers={"Retry-After": "7"})]) as sink:
            channel = self.make(sink.url)
            outcome = channel.send(channel.prepare(sample_post()), self._attempt())
        assert (outcome.verdict, outcome.retry_after) == (Verdict.DEFERRED, 7.0)

    def test_a_definite_refusal_is_rejected(self) -> None:
        with HttpSink([Step(400, b"invalid_payload")]) as sink:
            channel = self.make(sink.url)
            outcome = channel.send(channel.prepare(sample_post()), self._attempt())
        assert outcome.verdict is Verdict.REJECTED
        assert "400" in outcome.reason

    def test_a_refused_login_stops_the_channel(self) -> None:
        """The post is not at fault, so it waits until a person has renewed the token or the webhook."""
        for status in (401, 403, 404):
            with HttpSink([Step(status, b"{}")]) as sink:
                channel = self.make(sink.url)
                outcome = channel.send(channel.prepare(sample_post()), self._attempt())
            assert outcome.verdict is Verdict.NOT_STARTED
            assert str(status) in outcome.reason

    def test_410_disables_the_channel(self) -> None:
        with HttpSink([Step(410)]) as sink:
            channel = self.make(sink.url)
            assert channel.send(channel.prepare(sample_post()), self._attempt()).disable

    def test_a_redirect_is_not_followed(self) -> None:
        with HttpSink() as inner, HttpSink([Step(302, headers={"Location": inner.url})]) as sink:
            channel = self.make(sink.url)
            outcome = channel.send(channel.prepare(sample_post()), self._attempt())
        assert outcome.verdict is Verdict.NOT_STARTED
        assert not inner.received

    def test_500_is_unknown(self) -> None:
        with HttpSink([Step(500)]) as sink:
            channel = self.make(sink.url)
            assert channel.send(channel.prepare(sample_post()), self._attempt()).verdict is Verdict.UNKNOWN

    def test_a_reset_after_the_request_is_unknown(self) -> None:
        with HttpSink([Step(reset="after")]) as sink:
            channel = self.make(sink.url)
            assert channel.send(channel.prepare(sample_post()), self._attempt()).verdict is Verdict.UNKNOWN
        assert len(sink.received) == 1

    def test_a_repeat_has_the_same_key_if_the_channel_claims_one(self) -> None:
        with HttpSink([Step(500), self.success]) as sink:
            channel = self.make(sink.url)
            body = channel.prepare(sample_post())
            channel.send(body, self._attempt())
            channel.send(body, self._attempt())
        first, second = sink.received
        assert first.body == second.body
        if channel.capabilities.idempotency is not Idempotency.NONE:
            same = {k for k in first.headers if first.headers[k] == second.headers.get(k)}
            assert same & {"webhook-id", "idempotency-key"}

    def test_no_outcome_shows_the_address(self) -> None:
        for plan in ([Step(500)], [Step(404)], [Step(302)], [Step(reset="before")], [Step(reset="after")]):
            with HttpSink(plan) as sink:
                channel = self.make(sink.url)
                outcome = channel.send(channel.prepare(sample_post()), self._attempt())
            assert "secret-part-of-the-path" not in repr(outcome)
            assert "secret-part-of-the-path" not in repr(channel)

    def test_a_quoted_refusal_shows_no_secret(self) -> None:
        turns = itertools.count()

        def echo(received: Received) -> Step:
            heard = [received.path, received.body.decode(), *received.headers.values()]
            return Step(403, json.dumps({"message": heard[next(turns) % len(heard)]}).encode())

        with HttpSink(answer=echo) as sink:
            channel = self.make(sink.url)
            outcomes = [channel.send(channel.prepare(sample_post()), self._attempt()) for _ in range(10)]
        assert not [secret for secret in self.secrets if secret in repr(outcomes)]

    def test_a_reply_differs_from_a_post(self) -> None:
        with HttpSink([self.success]) as sink:
            channel = self.make(sink.url)
            if not channel.capabilities.replies:
                return
            body = channel.prepare(sample_post())
            first = channel.send(body, self._attempt())
            own = sink.received[-1]
            channel.send(body, replace(self._attempt(), reply_to=first.receipt))
        assert first.receipt
        assert (sink.received[-1].path, sink.received[-1].body) != (own.path, own.body)

    def test_an_invalid_receipt_is_refused_without_a_request(self) -> None:
        with HttpSink() as sink:
            channel = self.make(sink.url)
            body = channel.prepare(sample_post())
            for receipt in ("", "../../x", "1?x=y", "a b", "1\r\nX: y"):
                if isinstance(channel, CanEdit):
                    assert channel.edit(receipt, body, self._attempt()).verdict is Verdict.REJECTED
                if isinstance(channel, CanTakeDown):
                    assert channel.take_down(receipt, self._attempt()).verdict is Verdict.REJECTED
        assert not sink.received

    def test_the_address_of_another_page_has_no_receipt(self) -> None:
        with HttpSink([Step(404)]) as sink:
            channel = self.make(sink.url)
            if isinstance(channel, KnowsAddresses):
                for url in ("", "x", "https://example.org/1", "http://[::1/1", "https://example.org/%00/$1"):
                    assert channel.receipt_at(url) == ""

    def test_an_unreadable_account_leaves_the_outcome_unknown(self) -> None:
        for plan in ([Step(500)], [Step(reset="after")], [Step(200, b"<html>")]):
            with HttpSink(plan) as sink:
                channel = self.make(sink.url)
                if isinstance(channel, CanFind):
                    outcome = channel.find(channel.prepare(sample_post()), self._attempt())
                    assert outcome.verdict is Verdict.UNKNOWN

    def test_a_private_address_is_refused_unless_allowed(self) -> None:
        with HttpSink([self.success]) as sink:
            channel = self.make_public(sink.url)
            outcome = channel.send(channel.prepare(sample_post()), self._attempt())
        assert outcome.verdict is Verdict.DEFERRED
        assert "allow_private" in outcome.reason
        assert not sink.received

    def test_a_huge_answer_is_cut(self) -> None:
        with HttpSink([Step(404, b"x" * 10_000_000)]) as sink:
            channel = self.make(sink.url)
            outcome = channel.send(channel.prepare(sample_post()), self._attempt())
        assert len(outcome.reason) < 500
