"""Signed tokens."""

import random

import pytest

from tidings.model.tokens import TokenContents, TokenKeys, TokenPurpose


def test_a_token_has_reader_and_list_but_no_address() -> None:
    keys = TokenKeys.generate()
    token = keys.sign(TokenPurpose.UNSUBSCRIBE, 17, "digest")
    assert keys.verify(TokenPurpose.UNSUBSCRIBE, token) == TokenContents(17, "digest")
    assert keys.sign(TokenPurpose.UNSUBSCRIBE, 17, "digest") == token


def test_a_token_serves_one_purpose_only() -> None:
    keys = TokenKeys.generate()
    token = keys.sign(TokenPurpose.PREFERENCES, 17, "digest")
    assert keys.verify(TokenPurpose.UNSUBSCRIBE, token) is None


def test_old_links_go_on_working_after_a_rotation() -> None:
    old = TokenKeys({1: b"a" * 32})
    token = old.sign(TokenPurpose.UNSUBSCRIBE, 3, "press")
    rotated = TokenKeys({1: b"a" * 32, 2: b"b" * 32})
    assert rotated.verify(TokenPurpose.UNSUBSCRIBE, token) == TokenContents(3, "press")
    assert rotated.sign(TokenPurpose.UNSUBSCRIBE, 3, "press") != token
    assert TokenKeys({2: b"b" * 32}).verify(TokenPurpose.UNSUBSCRIBE, token) is None


def test_no_mutated_token_is_accepted() -> None:
    keys = TokenKeys.generate()
    token = keys.sign(TokenPurpose.UNSUBSCRIBE, 17, "digest")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=. \n"
    rng = random.Random(20261123)
    for _ in range(20_000):
        place = rng.randrange(len(token))
        mutated = token[:place] + rng.choice(alphabet) + token[place + rng.randrange(2) :]
        assert mutated == token or keys.verify(TokenPurpose.UNSUBSCRIBE, mutated) is None
    for junk in ("", "=", "A", "é", token * 20, token + "="):
        assert keys.verify(TokenPurpose.UNSUBSCRIBE, junk) is None


def test_a_link_that_a_mail_program_changed_still_works() -> None:
    keys = TokenKeys.generate()
    token = keys.sign(TokenPurpose.UNSUBSCRIBE, 17, "digest")
    for end in ("", ".", ",", ")", ">", " ", "=20", "%20", "_", "__", "*", "/", "=3D", "\xa0", "'", '"', "&amp;", "…"):
        for text in (token, token.upper(), token.swapcase(), f" {token}"):
            assert keys.verify_link(TokenPurpose.UNSUBSCRIBE, text + end) == TokenContents(17, "digest"), (text, end)
    for text in ("", ".", token[:-1], token[1:], f"x{token}", token + "0", "é" + token):
        assert keys.verify_link(TokenPurpose.UNSUBSCRIBE, text) is None, text
    assert keys.verify_link(TokenPurpose.PREFERENCES, token) is None


def test_keys_survive_their_file() -> None:
    keys = TokenKeys.generate()
    token = keys.sign(TokenPurpose.UNSUBSCRIBE, 1, "digest")
    assert TokenKeys.from_json(keys.to_json()).verify(TokenPurpose.UNSUBSCRIBE, token)
    for broken in ("", "{}", '{"keys": {}}', '{"keys": {"1": "zz"}}', '{"keys": {"1": "00"}}', "[1]"):
        with pytest.raises(ValueError):
            TokenKeys.from_json(broken)


def test_a_return_path_is_read_in_any_case() -> None:
    keys = TokenKeys.generate()
    sign = keys.make_return_path_signer("bounces-of-a-rather-long-name-of-a-list@example.org")
    for delivery in (1, 17, 2**40 - 1):
        local, _, domain = sign(delivery).rpartition("@")
        assert domain == "example.org"
        assert len(local) == 64
        token = local.rpartition("+")[2]
        assert keys.read_return_path(token) == keys.read_return_path(token.upper()) == delivery
        assert keys.verify(TokenPurpose.RETURN_PATH, token) is None
    rotated = TokenKeys.from_json(keys.to_json().replace('"1"', '"7"'))
    assert rotated.read_return_path(token) is None


def test_no_mutated_return_path_is_accepted() -> None:
    keys = TokenKeys.generate()
    token = keys.make_return_path_signer("b@x.org")(17).partition("+")[2].partition("@")[0]
    rng = random.Random(20261124)
    for _ in range(20_000):
        mutated = "".join(
            rng.choice("abcdefghijklmnopqrstuvwxyz234567=1 é") if rng.random() < 0.1 else one for one in token
        )
        assert mutated == token or keys.read_return_path(mutated) is None
    for junk in ("", "a" * 24, "=" * 24, token[:-1], token + "a", "é" * 24):
        assert keys.read_return_path(junk) is None


@pytest.mark.slow
def test_a_million_mutated_return_paths() -> None:
    keys = TokenKeys.generate()
    token = keys.make_return_path_signer("b@x.org")(17).partition("+")[2].partition("@")[0]
    rng = random.Random(20261125)
    for _ in range(1_000_000):
        place = rng.randrange(len(token))
        mutated = token[:place] + rng.choice("abcdefghijklmnopqrstuvwxyz234567") + token[place + 1 :]
        assert mutated == token or keys.read_return_path(mutated) is None
