"""Nouns agree with their numbers."""

from __future__ import annotations

import pytest

from tidings.model.plurals import count_noun


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 stories"), (1, "1 story"), (2, "2 stories"), (1_000, "1,000 stories")]
)
def test_nouns_agree_with_numbers(number: int, expected: str) -> None:
    assert count_noun(number, "story", "stories") == expected


def test_the_plural_takes_an_s_by_default() -> None:
    assert [count_noun(number, "mail") for number in (1, 2)] == ["1 mail", "2 mails"]
