"""Compare stories of many tools with what a browser shows of the original: nothing may be missing without a problem.

The judge is Chromium's accessibility tree: text, pictures with their alt texts, and links.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.corpus import CorpusStory, make_stories
from tests.acceptance.corpus_more import HTML, MARKDOWN, REPORTED
from tests.servers.chromium import Tab, chromium
from tidings.sources.body import render_body, sanitise
from tidings.sources.links import WebLinks

PAGE = "https://site.example/news/1"
MORE = {*HTML, *MARKDOWN}
ICONS = ("audio-thumbnail", "download-circle")
"""Pictures of Ghost's cards, which its style sheet hides or makes icons."""


@dataclass
class Shown:
    """The parts of a page that a reader notices: text, pictures and links."""

    words: Counter[str] = field(default_factory=Counter)
    alts: Counter[str] = field(default_factory=Counter)
    links: set[str] = field(default_factory=set)
    frames: int = 0


def read_words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text))


def look(tab: Tab, file: Path, body: str) -> Shown:
    """Read the accessibility tree of a page with this body."""
    file.write_text(f'<!DOCTYPE html><meta charset="utf-8"><base href="{PAGE}"><title>x</title><body>{body}', "utf-8")
    tab.open(file.as_uri())
    shown = Shown()
    for node in tab.ask("Accessibility.getFullAXTree")["nodes"]:
        role, name = _value(node, "role"), _value(node, "name")
        if node.get("ignored"):
            continue
        if role == "StaticText":
            shown.words.update(read_words(name))
        elif role in ("image", "img"):
            shown.alts[name] += 1
        elif role == "Iframe":
            shown.frames += 1
        elif role == "link":
            shown.links.add(next((_value(each, "value") for each in node["properties"] if each["name"] == "url"), ""))
    return shown


def _value(node: dict[str, Any], key: str) -> str:
    return str(node.get(key, {}).get("value", ""))


def find_missing(original: Shown, ours: Shown) -> list[str]:
    """Return the parts that the original shows and our page does not."""
    missing = [f"the word {word}" for word in original.words - ours.words]
    # An emoji picture becomes its emoji.
    # A lazy picture occurs twice: as a placeholder, and for browsers without scripts.
    alts = (alt for alt in original.alts.keys() - ours.alts.keys() if len(alt) > 2 and not re.fullmatch(":.+:", alt))
    missing += [f"a picture: {alt}" for alt in alts if alt not in ICONS]
    own = {url for url in original.links if not url.startswith((PAGE + "#", "file:"))}
    missing += [f"a link: {url}" for url in own - ours.links]
    if len(ours.links - own) < original.frames:
        missing.append(f"{original.frames} players, maps or forms")
    return missing


def take(story: CorpusStory) -> tuple[str, int]:
    """Return our body of a story, and the number of problems that are not about alt texts."""
    links = WebLinks(PAGE)
    body = render_body(story.source, links) if story.is_markdown else sanitise(story.source, links)
    return body.html, len([problem for problem in links.problems if "alt text" not in problem.message])


@pytest.mark.slow
def test_nothing_of_300_stories_is_missing_without_a_fault(tmp_path: Path) -> None:
    stories = list(make_stories())
    assert len(stories) > 300
    assert len({story.language for story in stories}) == 6
    lost, reported, faulty = [], set(), set()
    with chromium(tmp_path / "profile", "en") as tab:
        tab.ask("Network.enable")
        tab.ask("Network.setBlockedURLs", urls=["http://*", "https://*"])
        tab.ask("Accessibility.enable")
        for story in stories:
            ours, problems = take(story)
            missing = find_missing(look(tab, tmp_path / "a.html", story.shown), look(tab, tmp_path / "b.html", ours))
            if missing and problems:
                reported.add(story.name)
            elif missing:
                lost.append(f"{story.name} ({story.language}, {problems} faults): {', '.join(missing)}")
            if problems:
                faulty.add(story.name)
    assert not lost, "\n".join(lost)
    assert reported == REPORTED
    # `check` says that a player, a map or a form became a link. Of the stories of `corpus.py` it reports nothing else.
    assert faulty - MORE == {story.name for story in stories if "<iframe" in story.shown} - MORE
