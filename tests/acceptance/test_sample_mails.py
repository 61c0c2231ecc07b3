"""The mails of the sample newsroom, checked by html-validate and SpamAssassin."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.servers.judges import html_validate, spamassassin
from tidings.runtime.init import init_newsroom
from tidings.runtime.newsroom import open_runtime
from tidings.runtime.preview.plan import open_scratch_runtime
from tidings.runtime.preview.preview import PreviewedMessage, preview_schedule

NOW = datetime(2026, 9, 11, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PreviewedMessage]]:
    """Return every mail of every schedule in each language."""
    root = init_newsroom(tmp_path_factory.mktemp("sample") / "newsroom")
    with open_runtime(root, {}) as runtime:
        runtime.set_clock(NOW)
        with open_scratch_runtime(runtime) as copy:
            yield [
                mail
                for schedule in copy.newsroom.schedules.values()
                for mail in preview_schedule(copy, schedule, NOW, None)
                if mail.is_mail
            ]


def test_no_gate_holds_a_sample_mail(mails: list[PreviewedMessage]) -> None:
    assert {mail.language for mail in mails} == {"en", "ru", "kk"}
    assert not [failure for mail in mails for failure in mail.failures]


def test_html_validate_has_no_error(mails: list[PreviewedMessage], tmp_path: Path) -> None:
    files = []
    for mail in mails:
        for name, content in mail.files():
            if name.endswith(".html"):
                (tmp_path / name).write_bytes(content)
                files.append(tmp_path / name)
    rules = {"prefer-native-element": ["error", {"exclude": ["article"]}]}
    assert len(files) >= 9
    assert html_validate(*files, extends=("document", "a11y"), rules=rules) == []


def test_spamassassin_likes_the_digest(mails: list[PreviewedMessage]) -> None:
    digest = next(mail for mail in mails if mail.name.startswith("weekly") and mail.language == "en")
    verdict = spamassassin(digest.data)
    assert verdict.score <= -0.9, verdict.rules


@pytest.mark.slow
@pytest.mark.parametrize("language", ["ru", "kk"])
def test_spamassassin_accepts_cyrillic_but_look_alikes(mails: list[PreviewedMessage], language: str) -> None:
    """MIXED_ES mistakes Cyrillic text with Latin addresses for disguised words. No other rule may match."""
    digest = next(mail for mail in mails if mail.name.startswith("weekly") and mail.language == language)
    verdict = spamassassin(digest.data)
    others = {rule: points for rule, points in verdict.rules.items() if points > 0.1 and rule != "MIXED_ES"}
    assert not others
    assert verdict.score - verdict.rules.get("MIXED_ES", 0.0) <= -0.9
