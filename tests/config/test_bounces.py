"""`bounces`: mistakes are reported with their correction, and a return path has room for its token."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.newsrooms import MAIN, read, said, write

WRONG = {
    "lmtp: localhost": "not an address to listen on",
    "soft: {days: 0}": "must be at least 1",
    "soft: {within: 1h}": "this is too short: at least 1d",
    "ses: {topics: bounces}": "arn:aws:sns",
    "sendgrid: {public_key: MFkwEwYH}": "not a verification key",
    "mailgun: {signing_key: key-in-the-clear}": "{env: NAME}",
    "mailbox: {host: imap.example.org, username: x, password: {env: SMTP_PASSWORD}, every: 1s}": "at least 10s",
    "mailbx: {}": "mailbox",
}


def _said(folder: Path, main: str) -> list[str]:
    return said(read(write(folder, main)))


@pytest.mark.parametrize(("settings", "words"), WRONG.items(), ids=range(len(WRONG)))
def test_a_wrong_setting_of_bounces_is_reported(tmp_path: Path, settings: str, words: str) -> None:
    problems = _said(tmp_path, f"{MAIN}bounces: {{{settings}}}\n")
    assert any(words in text for text in problems), problems
    assert not any("key-in-the-clear" in text for text in problems)


def test_a_return_path_has_room_for_its_token(tmp_path: Path) -> None:
    long = "bounces-of-the-newsroom-of-a-large-organisation@example.org"
    main = MAIN.replace("bounces@example.org", long)
    assert any("at most 39 characters" in text for text in _said(tmp_path, main))
    assert _said(tmp_path, main.replace(f"return_path: {long}", f"return_path: {long}\n  verp: false")) == []


def test_all_settings_of_bounces_are_read(tmp_path: Path) -> None:
    lines = "bounces:\n  lmtp: '[::1]:2424'\n  soft: {days: 3, within: 30d}\n"
    newsroom = read(write(tmp_path, MAIN + lines)).newsroom
    assert newsroom is not None
    assert newsroom.bounces.lmtp_address == ("::1", 2424)
    assert (newsroom.bounces.soft.days, newsroom.bounces.soft.within.days) == (3, 30)
