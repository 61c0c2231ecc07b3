"""A service that fails in every possible way, for every channel: no post is doubled or lost, and no secret is shown."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.channels.registry import SAMPLES, settings_of
from tests.cli.conftest import Run, run_in
from tests.fixtures.newsroom import DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.channels.base import Idempotency
from tidings.net import GuardedSession
from tidings.testing.http_sink import HttpSink, Received, Step

__all__ = ["run_in"]


def _soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


REFUSED: dict[str, Callable[[], Step]] = {
    "seconds": lambda: Step(429, headers={"Retry-After": "1"}),
    "date": lambda: Step(429, headers={"Retry-After": format_datetime(_soon(), usegmt=True)}),
    "json": lambda: Step(429, b'{"message": "You are being rate limited.", "retry_after": 0.3}'),
    "milliseconds": lambda: Step(429, b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 300}'),
    "parameters": lambda: Step(429, b'{"ok": false, "parameters": {"retry_after": 1}}'),
    "iso": lambda: Step(429, headers={"X-RateLimit-Reset": _soon().isoformat()}),
    "epoch": lambda: Step(429, headers={"x-rate-limit-reset": str(int(_soon().timestamp()))}),
}
"""Failures before the service accepted the post: it is sent again."""
TAKEN: dict[str, Callable[[], Step]] = {
    "failed": lambda: Step(500, b"Internal Server Error"),
    "reset": lambda: Step(reset="after"),
    "late": lambda: Step(stall=2.5),
    "dripping": lambda: Step(200, b"{" + b" " * 100, drip=2.5),
    "huge": lambda: Step(200, b"x" * 10_000_000),
}
"""Failures after the service accepted the post, with an answer that does not say so."""


class Services:
    """Every type of channel with one sink. The first post of each type gets the fault."""

    def __init__(self, fault: Callable[[], Step], *, taken: bool) -> None:
        self._fault = fault
        self._taken = taken
        self.tried: Counter[str] = Counter()
        self.published: list[tuple[str, str]] = []
        """Type and key; a number instead of the key if the service recognises no repeats."""

    def __call__(self, received: Received) -> Step:
        kind = received.path.split("/")[1]
        sample = SAMPLES[kind]
        usual = sample.answer if isinstance(sample.answer, Step) else sample.answer(received)
        if not sample.posts(received):
            return usual
        self.tried[kind] += 1
        first = self.tried[kind] == 1
        if self._taken or not first:
            self.published.append((kind, sample.key(received) or str(self.tried[kind])))
        return self._fault() if first else usual


def _open(newsroom: RunningNewsroom, base: str) -> None:
    """Create a newsroom with every kind of channel, and a schedule that posts to them all."""
    path = newsroom.folder.root / "tidings.yaml"
    lines = []
    for kind in SAMPLES:
        written = settings_of(kind, f"{base}/{kind}/secret-part-of-the-path")
        newsroom.folder.env.update({_variable(kind, name): value for name, value in written.items()})
        parts = [f"{name}: {{env: {_variable(kind, name)}}}" for name in written if name != "type"]
        lines.append(f"  a-{kind}: {{type: {kind}, allow_private: true, {', '.join(parts)}}}\n")
    path.write_text(path.read_text().replace("channels:\n", "channels:\n" + "".join(lines)), encoding="utf-8")
    deliver = "".join(f"  - {{channel: a-{kind}, per: item}}\n" for kind in SAMPLES)
    newsroom.schedule("posts", f'cadence: {{daily: "09:00"}}\ndeliver:\n{deliver}')


def _variable(kind: str, name: str) -> str:
    return f"{kind}_{name}".upper()


def _posted(
    root: Path, services: Callable[[Received], Step], *, dead: bool = False
) -> tuple[RunningNewsroom, dict[str, tuple[str, str]]]:
    """Return state and reason for each type of channel, after attempts over several days."""
    with HttpSink(answer=services) as sink, open_newsroom(root, "sqlite:///tidings.db") as newsroom:
        _open(newsroom, "http://127.0.0.1:9" if dead else sink.url.removesuffix("/hook/secret-part-of-the-path"))
        newsroom.tick(MONDAY - HOUR)
        newsroom.item("one")
        for wait in (0 * HOUR, HOUR / 30, HOUR / 5, HOUR, DAY):
            newsroom.tick(MONDAY + wait)
        # Retry-After counts in real time.
        for minute in range(200):
            if not any(entry.state == "deferred" for entry in newsroom.entries()) or dead:
                break
            time.sleep(0.1)
            newsroom.tick(MONDAY + DAY + minute * HOUR / 60)
        outcomes = {entry.channel.removeprefix("a-"): (str(entry.state), entry.reason) for entry in newsroom.entries()}
        return newsroom, outcomes


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_deferred_post_is_sent_again_and_published_once(name: str, tmp_path: Path) -> None:
    services = Services(REFUSED[name], taken=False)
    _, outcomes = _posted(tmp_path / "n", services)
    seeing = sorted(kind for kind, sample in SAMPLES.items() if not sample.blind)
    assert {kind: outcomes[kind] for kind in seeing} == dict.fromkeys(seeing, ("accepted", ""))
    assert sorted(kind for kind, _ in services.published) == seeing
    assert {kind: services.tried[kind] for kind in seeing} == dict.fromkeys(seeing, 2)
    assert all(outcomes[kind][0] == "in_doubt" for kind in SAMPLES if kind not in seeing)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_an_unknown_outcome_is_never_doubled_and_never_lost(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ("late", "dripping"):
        monkeypatch.setitem(GuardedSession.__init__.__kwdefaults__, "timeout", 1.0)
    services = Services(TAKEN[name], taken=True)
    newsroom, outcomes = _posted(tmp_path / "n", services)
    stands = Counter(kind for kind, _ in set(services.published))
    assert stands == dict.fromkeys(SAMPLES, 1)
    assert set(outcomes) == set(SAMPLES)
    for kind, (state, reason) in outcomes.items():
        if state != "accepted":
            assert state == "in_doubt" and reason, kind
    keyed = {
        kind
        for kind in SAMPLES
        if newsroom.runtime.channels[f"a-{kind}"].capabilities.idempotency is not Idempotency.NONE
    }
    assert all(outcomes[kind][0] == "accepted" for kind in keyed)


@pytest.mark.slow
def test_a_redirect_leads_nowhere_and_the_post_waits(tmp_path: Path) -> None:
    with HttpSink() as elsewhere:
        services = Services(lambda: Step(307, headers={"Location": elsewhere.url}), taken=False)
        _, outcomes = _posted(tmp_path / "n", services)
        assert elsewhere.received == []
    for kind, (state, reason) in outcomes.items():
        if SAMPLES[kind].blind:
            assert state == "in_doubt"
        else:
            assert state == "accepted", reason
    assert sorted(kind for kind, _ in services.published) == sorted(kind for kind in SAMPLES if not SAMPLES[kind].blind)


SLOWLY = [pytest.param(what, marks=pytest.mark.slow) for what in ("failed", "headers", "body", "reset", "closed")]


@pytest.mark.parametrize("what", ["path", *SLOWLY])
def test_no_secret_is_shown_when_a_channel_fails(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, run_in: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(received: Received) -> Step:
        parts = {
            "path": received.path,
            "headers": " ".join(value for name, value in received.headers.items() if name != "user-agent"),
            "body": received.body.decode(),
        }
        if what in parts:
            # Some services give the reason in JSON, some in plain text.
            words = parts[what]
            return Step(403, json.dumps({"error": words, "description": words, "message": words}).encode())
        return Step(500) if what == "failed" else Step(reset="after")

    root = tmp_path / "n"
    with caplog.at_level(logging.DEBUG):
        newsroom, outcomes = _posted(root, answer, dead=what == "closed")
    assert not {"accepted"} & {state for state, _ in outcomes.values()}, outcomes
    for name, value in newsroom.folder.env.items():
        monkeypatch.setenv(name, value)
    outputs = {"the log": caplog.text, "mails": "\n".join(mail.text for mail in newsroom.folder.mails.received)}
    for command in (["ledger", "--json"], ["status"], ["check"], ["plan"], ["explain", "comms@example.org"]):
        ran = run_in(root, *command)
        outputs[" ".join(command)] = ran.out + ran.err
    for path in root.rglob("*"):
        if path.is_file():
            outputs[str(path.relative_to(root))] = path.read_bytes().decode("utf-8", "replace")
    if what == "failed":
        assert "resolve DELIVERY" in outputs["status"]
    leaks = {
        (where, kind, secret)
        for where, text in outputs.items()
        for kind, sample in SAMPLES.items()
        for secret in sample.hidden
        if secret in text
    }
    assert not leaks
