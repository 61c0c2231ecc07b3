"""Signed tokens."""

import random

import pytest

from tidings.model.tokens import Claim, Keys, TokenPurpose


def test_a_token_says_who_and_which_list_and_holds_no_address() -> None:
    keys = Keys.generate()
    token = keys.sign(TokenPurpose.UNSUBSCRIBE, 17, "digest")
    assert keys.verify(TokenPurpose.UNSUBSCRIBE, token) == Claim(17, "digest")
    assert keys.sign(TokenPurpose.UNSUBSCRIBE, 17, "digest") == token


def test_a_token_serves_one_purpose_only() -> None:
    keys = Keys.generate()
    token = keys.sign(TokenPurpose.PREFERENCES, 17, "digest")
    assert keys.verify(TokenPurpose.UNSUBSCRIBE, token) is None


def test_old_links_go_on_working_after_a_rotation() -> None:
    old = Keys({1: b"a" * 32})
    token = old.sign(TokenPurpose.UNSUBSCRIBE, 3, "press")
    rotated = Keys({1: b"a" * 32, 2: b"b" * 32})
    assert rotated.verify(TokenPurpose.UNSUBSCRIBE, token) == Claim(3, "press")
    assert rotated.sign(TokenPurpose.UNSUBSCRIBE, 3, "press") != token
    assert Keys({2: b"b" * 32}).verify(TokenPurpose.UNSUBSCRIBE, token) is None


def test_no_mutated_token_is_accepted() -> None:
    keys = Keys.generate()
    token = keys.sign(TokenPurpose.UNSUBSCRIBE, 17, "digest")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=. \n"
    rng = random.Random(20261123)
    for _ in range(20_000):
        place = rng.randrange(len(token))
        mutated = token[:place] + rng.choice(alphabet) + token[place + rng.randrange(2) :]
        assert mutated == token or keys.verify(TokenPurpose.UNSUBSCRIBE, mutated) is None
    for junk in ("", "=", "A", "é", token * 20, token + "="):
        assert keys.verify(TokenPurpose.UNSUBSCRIBE, junk) is None


def test_keys_survive_their_file() -> None:
    keys = Keys.generate()
    token = keys.sign(TokenPurpose.UNSUBSCRIBE, 1, "digest")
    assert Keys.from_json(keys.to_json()).verify(TokenPurpose.UNSUBSCRIBE, token)
    for broken in ("", "{}", '{"keys": {}}', '{"keys": {"1": "zz"}}', '{"keys": {"1": "00"}}', "[1]"):
        with pytest.raises(ValueError):
            Keys.from_json(broken)
