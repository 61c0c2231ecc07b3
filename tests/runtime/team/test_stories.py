"""A story's form reads the text that it wrote, and changes nothing else in the file."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.text import one_line
from tidings.runtime.team.stories import read_story, write_story

FILE = """---
# ours
title: Old title: with a colon
summary: >
  Two
  lines
own: [a, b] # ours
topics:
- water

lead: yes
---

Text.
"""
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40).map(one_line)


@given(title=WORDS, summary=WORDS, correction=WORDS, body=st.text("ab #-:\n", max_size=40))
def test_a_written_form_is_read_unchanged(title: str, summary: str, correction: str, body: str) -> None:
    before = read_story(FILE)
    assert before is not None
    texts = before.texts | {"title": title, "summary": summary, "correction": correction}
    written = write_story(FILE, replace(before, texts=texts, body=body))
    after = read_story(written)
    assert after is not None
    assert (after.texts["title"], after.texts["summary"], after.texts["correction"]) == (title, summary, correction)
    assert after.body.strip("\n") == body.strip("\n")
    for line in ("# ours", "own: [a, b] # ours", "topics:\n- water\n\nlead: yes"):
        assert line in written


@pytest.mark.parametrize("text", [FILE, FILE.replace("\n", "\r\n"), "\ufeff" + FILE, FILE.rstrip("\n")])
def test_an_unchanged_form_keeps_every_byte(text: str) -> None:
    form = read_story(text)
    assert form is not None
    assert write_story(text, form) == text


def test_only_changed_topics_and_flags_are_written() -> None:
    form = read_story(FILE)
    assert form is not None
    written = write_story(FILE, replace(form, topics=("water", "youth"), draft=True, lead=False))
    assert "topics: [water, youth]\n\ndraft: true\n---" in written


@pytest.mark.parametrize("text", ["", "no front matter", "---\nkind: [\n---\n", "---\nnever closed\n"])
def test_a_file_that_cannot_be_read_has_no_form(text: str) -> None:
    assert read_story(text) is None


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("contact: Ada L, Press officer, ada@un.example", ("Ada L, Press officer, ada@un.example",)),
        (
            "contact:\n  - {name: Ada L, email: ada@un.example}\n  - Desk, +7 727 000 00 00",
            ("Ada L, ada@un.example", "Desk, +7 727 000 00 00"),
        ),
    ],
)
def test_press_contacts_are_lines_of_the_form(written: str, lines: tuple[str, ...]) -> None:
    text = FILE.replace("lead: yes", f"{written}\nlead: yes")
    form = read_story(text)
    assert form is not None and form.contact == lines
    assert write_story(text, form) == text
    changed = ("Zoé: press, z@un.example", 'The "desk", d@un.example')
    for contact in (changed, changed[:1], ()):
        again = read_story(write_story(text, replace(form, contact=contact)))
        assert again is not None and again.contact == contact
