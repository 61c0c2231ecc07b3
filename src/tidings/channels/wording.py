"""Shorten the text of a post to fit. Whole parts are left out in a fixed order, but never a link or half a word.

Summaries are left out first, then hashtags, then the last stories of an edition, which are counted, with a link to all.
A title or an editor's own text is shortened only if it is too long on its own, at a space if there is one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from tidings.channels.base import Capabilities, Post, PostItem
from tidings.model.text import shorten

_MAX_TAGS = 5
_ADDRESS = re.compile(r"https?://[^\s<>\"]+")
_AFTER_ADDRESS = ".,;:!?»”’…'*_|"
_PAIRS = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class StoryText:
    """One story in a post."""

    title: str
    summary: str
    url: str
    is_own_text: bool = False
    """Whether the title is the editor's text for this channel. It may have several lines, and is not a headline."""
    correction: str = ""

    @property
    def link(self) -> str:
        """The URL, or '' if the editor's own text already contains it."""
        holds = self.is_own_text and re.search(re.escape(self.url) + r"""(?=[.,;:!?)\]»"'…]*(?:\s|$))""", self.title)
        return "" if holds else self.url


@dataclass(frozen=True, slots=True)
class Wording:
    """The parts of a post in order. `more` is the number of stories that were left out; `url` leads to them."""

    heading: str
    text: str
    stories: tuple[StoryText, ...]
    tags: tuple[str, ...]
    more: int
    url: str

    @property
    def main_url(self) -> str:
        """The URL of the single story, else of all stories."""
        return self.stories[0].url if len(self.stories) == 1 else self.url


class PlainTextBody:
    """Base of channels whose prepared body is JSON with plain text under one key."""

    TEXT_KEY: ClassVar[str] = "text"
    capabilities: Capabilities

    def count(self, text: str) -> int:
        """Return the length of a text as the service counts it."""
        return len(text)

    def fit(self, post: Post) -> Wording:
        """Return the longest wording that the service accepts."""
        return fit(post, lambda wording: self.count(plain_text(wording)) <= self.capabilities.max_length)

    def length(self, body: bytes) -> int:
        """Return the length of a prepared body as the service counts it."""
        return self.count(self.text(body))

    def text(self, body: bytes) -> str:
        """Return the text of a prepared body."""
        return str(json.loads(body)[self.TEXT_KEY])


def fit(post: Post, fits: Callable[[Wording], bool]) -> Wording:
    """Return the longest wording for which `fits` is true."""
    wording = _full(post)
    for wording in _versions(post):
        if fits(wording):
            return wording
    return _shorten(wording, fits)


def plain_text(wording: Wording) -> str:
    """Return plain text, with an empty line between paragraphs and each link on its own line."""
    parts = [wording.heading, wording.text]
    for story in wording.stories:
        parts.append("\n".join(filter(None, [story.title, story.summary, story.correction, story.link])))
    if wording.more:
        parts.append(f"+{wording.more}\n{wording.url}")
    parts.append(" ".join(wording.tags))
    return "\n\n".join(filter(None, parts))


def split_links(text: str) -> list[tuple[str, bool]]:
    """Split a text into pieces, each with a flag whether it is a URL.

    A closing bracket belongs to a URL that contains its opening one: `.../Almaty_(city)`. Other punctuation at the end
    does not.
    """
    pieces: list[tuple[str, bool]] = []
    end = 0
    for match in _ADDRESS.finditer(text):
        address = match[0]
        counts = Counter(address)
        while (last := address[-1]) in _AFTER_ADDRESS or counts[last] > counts[_PAIRS.get(last, last)]:
            counts[last] -= 1
            address = address[:-1]
        if address.endswith("//"):
            continue
        pieces += [(text[end : match.start()], False), (address, True)]
        end = match.start() + len(address)
    return [piece for piece in (*pieces, (text[end:], False)) if piece[0]]


def make_hashtag(topic: str) -> str:
    """Return a topic as a hashtag with a capital for each word, for screen readers: #CleanWater, #SDG6."""
    words = topic.split("-")
    if len(words) == 2 and len(words[0]) <= 4 and words[1].isdigit():
        return f"#{words[0].upper()}{words[1]}"
    return "#" + "".join(word[:1].upper() + word[1:] for word in words)


def hashtag_of_label(label: str) -> str:
    """Return a text in any script as a hashtag: #CleanWater, #ТазаСу, #مياه_نظيفة. Returns '' without letters.

    In scripts without capitals, words are joined with an underscore.
    """
    kept = "".join(letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in label)
    words = [word[:1].upper() + word[1:] for word in kept.split()]
    joined = ("" if any(word != word.lower() for word in words) else "_").join(words)
    return f"#{joined}" if joined and not joined.isdigit() else ""


def _tags(item: PostItem) -> tuple[str, ...]:
    return tuple(map(make_hashtag, item.topics)) if item.tags is None else item.tags


def _full(post: Post) -> Wording:
    tags = dict.fromkeys(tag for item in post.items if not item.text for tag in _tags(item))
    return Wording(
        heading="" if len(post.items) == 1 else post.title,
        text=post.text,
        stories=tuple(_story(item) for item in post.items),
        tags=tuple(tags)[:_MAX_TAGS],
        more=0,
        url=post.url,
    )


def _story(item: PostItem) -> StoryText:
    if item.text:
        return StoryText(title=item.text, summary="", url=item.url, is_own_text=True, correction=item.correction)
    return StoryText(title=item.title, summary=item.summary, url=item.url, correction=item.correction)


def _versions(post: Post) -> Iterator[Wording]:
    full = _full(post)
    yield full
    short = replace(full, stories=tuple(replace(story, summary="") for story in full.stories))
    yield short
    untagged = replace(short, tags=())
    yield untagged
    if len(post.items) > 1:
        for count in range(len(post.items) - 1, -1, -1):
            yield replace(untagged, stories=untagged.stories[:count], more=len(post.items) - count)


def _shorten(wording: Wording, fits: Callable[[Wording], bool]) -> Wording:
    """Shorten the longest part: title and correction of a single story, the text of a notice, else the heading."""

    def cut(length: int) -> Wording:
        if wording.text:
            heading = shorten(wording.heading, min(length, 200))
            return replace(wording, heading=heading, text=shorten(wording.text, length))
        if wording.stories:
            stories = (
                replace(story, title=shorten(story.title, length), correction=shorten(story.correction, length))
                for story in wording.stories
            )
            return replace(wording, stories=tuple(stories))
        return replace(wording, heading=shorten(wording.heading, length))

    texts = [
        wording.heading,
        wording.text,
        *(text for story in wording.stories for text in (story.title, story.correction)),
    ]
    low, high = 0, max(map(len, texts))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(cut(middle)) else (low, middle - 1)
    return cut(low)
