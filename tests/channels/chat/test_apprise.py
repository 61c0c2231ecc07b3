"""Apprise: `check` warns about it, and every failure waits for a person."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.channels.registry import PATH, room
from tests.cli.conftest import Ran, Run, run_in
from tests.fixtures.newsroom_folder import make_newsroom_folder
from tidings.channels.base import Attempt
from tidings.channels.chat.apprise import Settings
from tidings.model.delivery import Outcome, Verdict
from tidings.testing.channel_contract import sample_item, sample_post
from tidings.testing.http_sink import HttpSink, Step

__all__ = ["run_in"]

TRY = Attempt("k", datetime(2026, 11, 23, 9, tzinfo=UTC))


def _sent(sink: HttpSink, more: str = "") -> Outcome:
    channel = room("apprise", sink.url + more)
    return channel.send(channel.prepare(sample_post()), TRY)


def test_a_post_goes_as_text_with_its_link() -> None:
    with HttpSink() as sink:
        outcome = _sent(sink)
    (post,) = sink.received
    parsed = json.loads(post.body)
    assert outcome.verdict is Verdict.ACCEPTED
    assert sample_item().title in parsed["message"] and sample_item().url in parsed["message"]


@pytest.mark.parametrize("step", [Step(500), Step(429, headers={"Retry-After": "1"}), Step(reset="after")])
def test_apprise_never_repeats_even_if_its_address_says_so(step: Step) -> None:
    with HttpSink([step, Step()]) as sink:
        outcome = _sent(sink, "?retry=3&wait=0.1")
        assert outcome.verdict is Verdict.UNKNOWN
        assert PATH not in repr(outcome)
    assert len(sink.received) == 1


def test_a_redirect_is_not_followed() -> None:
    with HttpSink() as elsewhere, HttpSink([Step(307, headers={"Location": elsewhere.url})]) as sink:
        assert _sent(sink, "?redirect=yes").verdict is Verdict.UNKNOWN
    assert elsewhere.received == []


def test_without_apprise_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install 'tidings\[apprise\]'"):
        Settings.model_validate({"type": "apprise", "url": "json://127.0.0.1/"})


@pytest.fixture
def checked(tmp_path: Path, run_in: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Ran]:
    """Run `check` on a newsroom with this address of Apprise."""

    def check(url: str) -> Ran:
        with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
            for name, value in {**folder.env, "VIBER": url}.items():
                monkeypatch.setenv(name, value)
            path = folder.root / "tidings.yaml"
            channel = "channels:\n  v: {type: apprise, url: {env: VIBER}}\n"
            path.write_text(path.read_text().replace("channels:\n", channel))
            return run_in(folder.root, "check")

    return check


def test_check_warns_about_apprise(checked: Callable[[str], Ran], tmp_path: Path) -> None:
    ran = checked("json://127.0.0.1:9/s3cret-of-ours").ok()
    lines = (tmp_path / "n" / "tidings.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "VIBER" in text)
    output = " ".join((ran.out + ran.err).split())
    assert f"tidings.yaml:{line}" in output
    assert "channel 'v': Apprise posts at least once, text only" in output
    assert "s3cret" not in output


def test_an_unknown_apprise_address_is_refused_and_not_shown(checked: Callable[[str], Ran]) -> None:
    ran = checked("nonsense://s3cret-of-ours")
    assert ran.code == 1
    assert "knows no service" in ran.out + ran.err and "s3cret" not in ran.out + ran.err
