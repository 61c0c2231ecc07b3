"""An altered link opens nothing: mutated tokens for every purpose and page."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from tests.fixtures.newsroom_folder import make_newsroom_folder
from tests.web.server import served
from tidings.model.tokens import TokenContents, TokenKeys, TokenPurpose
from tidings.store import schema as t
from tidings.store.people import subscribers
from tidings.web.app import newsroom_app

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ODD = "=. +/%\n\x00é٣"
_PURPOSES = tuple(TokenPurpose)
_PAGES = {
    "unsubscribe": TokenPurpose.UNSUBSCRIBE,
    "preferences": TokenPurpose.PREFERENCES,
    "confirm": TokenPurpose.CONFIRM,
    "erase": TokenPurpose.ERASE,
    "review": TokenPurpose.REVIEW,
}


def _raw(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _one_letter(rng: random.Random, token: str, _: str) -> str:
    place = rng.randrange(len(token))
    return token[:place] + rng.choice(_LETTERS) + token[place + 1 :]


def _one_bit(rng: random.Random, token: str, _: str) -> str:
    raw = bytearray(_raw(token))
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return _spelled(bytes(raw))


def _head_rewritten(rng: random.Random, token: str, _: str) -> str:
    """Change key, purpose or reader; keep the signature."""
    raw = bytearray(_raw(token))
    raw[rng.choice((0, 1, 8, 9))] = rng.randrange(256)
    return _spelled(bytes(raw))


def _cut_or_grown(rng: random.Random, token: str, _: str) -> str:
    place = rng.randrange(len(token) + 1)
    return rng.choice((token[:place], token[place:], token[:place] + rng.choice(_LETTERS + _ODD) + token[place:]))


def _spliced(rng: random.Random, token: str, other: str) -> str:
    """Join the front of one token and the end of another."""
    place = rng.randrange(1, len(token))
    return token[:place] + other[place:]


def _odd_letters(rng: random.Random, token: str, _: str) -> str:
    return "".join(rng.choice(_ODD) if rng.random() < 0.05 else letter for letter in token)


_MUTATIONS: tuple[Callable[[random.Random, str, str], str], ...] = (
    _one_letter, _one_bit, _head_rewritten, _cut_or_grown, _spliced, _odd_letters,
)  # fmt: skip


def _mutated(keys: TokenKeys, count: int) -> Iterator[tuple[str, dict[str, tuple[TokenPurpose, TokenContents]]]]:
    """Yield mutated tokens of each purpose, with the contents that were really signed."""
    rng = random.Random(20261123)
    signed = {
        keys.sign(purpose, subscriber, name): (purpose, TokenContents(subscriber, name))
        for purpose in _PURPOSES
        for subscriber in (0, 1, 17, 2**40)
        for name in ("", "digest", "digest,press")
    }
    tokens = list(signed)
    for number in range(count):
        mutation = _MUTATIONS[number % len(_MUTATIONS)]
        yield mutation(rng, rng.choice(tokens), rng.choice(tokens)), signed


def _none_is_accepted(count: int) -> None:
    keys, asked = TokenKeys({1: b"a" * 32, 2: b"b" * 32}), random.Random(7)
    refused = 0
    for token, signed in _mutated(keys, count):
        true = signed.get(token)
        purpose = asked.choice(_PURPOSES)
        if true is None:
            assert keys.verify(purpose, token) is None, (purpose, token)
            refused += 1
        else:  # the mutation gave a valid token: it must still contain the signed values, for its purpose only
            assert keys.verify(purpose, token) == (true[1] if purpose is true[0] else None)
    assert refused > count * 9 // 10


def test_no_mutated_token_is_accepted_for_any_purpose() -> None:
    _none_is_accepted(20_000)


@pytest.mark.slow
def test_a_million_mutated_tokens_are_refused() -> None:
    _none_is_accepted(1_000_000)


def test_no_page_opens_by_a_mutated_token_and_nothing_changes(tmp_path: Path) -> None:
    with (
        make_newsroom_folder(tmp_path / "newsroom", f"sqlite:///{tmp_path / 'tidings.db'}") as folder,
        folder.runtime() as runtime,
    ):
        with runtime.store.write() as connection:
            for address in ("ada@example.org", "eve@example.org"):
                subscribers.add(
                    connection, address, "digest", language="en", frequency="weekly", now=runtime.now(), confirmed=True
                )

        def counted() -> list[int]:
            tables = (t.subscribers, t.subscriptions, t.suppressions, t.consents, t.deliveries)
            with runtime.store.read() as connection:
                return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]

        before = counted()
        rng = random.Random(20261123)
        with served(newsroom_app(runtime)) as url, httpx.Client() as client:
            for path, purpose in _PAGES.items():
                token, other = (runtime.keys.sign(purpose, number, "digest") for number in (1, 2))
                for mutation in (_one_letter, _one_bit, _head_rewritten, _spliced):
                    bad = mutation(rng, token, other)
                    while bad in (token, other):
                        bad = mutation(rng, token, other)
                    for method in ("GET", "POST"):
                        answer = client.request(method, f"{url}{path}/{bad}", data={"do": "erase"})
                        assert answer.status_code == 404, (path, method, mutation.__name__)
        assert counted() == before
