"""What a post says, made to fit: whole parts are left out in a stated order, never a link and never half a word.

First the summaries go, then the hashtags, then the last stories of an edition (which are counted, with a link to all);
only a title, or a text in the editor's own words, that is too long by itself is shortened, at a space if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tidings.channels.base import Post, PostItem
from tidings.model.text import shorten

_MOST_TAGS = 5


@dataclass(frozen=True, slots=True)
class StoryText:
    """One story in a post."""

    title: str
    summary: str
    url: str
    is_own_text: bool = False
    """The title is what the editor wrote for this channel: several lines maybe, and no headline."""
    correction: str = ""

    @property
    def link(self) -> str:
        """The address; empty where the editor's own text has it already."""
        holds = self.is_own_text and re.search(re.escape(self.url) + r"""(?=[.,;:!?)\]»"'…]*(?:\s|$))""", self.title)
        return "" if holds else self.url


@dataclass(frozen=True, slots=True)
class Wording:
    """The parts of a post in their order. `more` counts stories left out; they stand at `url`."""

    heading: str
    text: str
    stories: tuple[StoryText, ...]
    tags: tuple[str, ...]
    more: int
    url: str


def fit(post: Post, fits: Callable[[Wording], bool]) -> Wording:
    """The fullest wording of which `fits` says that the network would take it."""
    tried = _whole(post)
    for tried in _versions(post):
        if fits(tried):
            return tried
    return _shortened(tried, fits)


def plain_text(wording: Wording, *, indent: str = "") -> str:
    """Without markup: paragraphs with a blank line between them, each link on a line of its own."""
    parts = [wording.heading, wording.text]
    for story in wording.stories:
        parts.append("\n".join(filter(None, [f"{indent}{story.title}", story.summary, story.correction, story.link])))
    if wording.more:
        parts.append(f"+{wording.more}\n{wording.url}")
    parts.append(" ".join(wording.tags))
    return "\n\n".join(filter(None, parts))


def make_hashtag(topic: str) -> str:
    """A topic as a hashtag, each word with a capital so that a screen reader tells them apart: #CleanWater, #SDG6."""
    words = topic.split("-")
    if len(words) == 2 and len(words[0]) <= 4 and words[1].isdigit():
        return f"#{words[0].upper()}{words[1]}"
    return "#" + "".join(word[:1].upper() + word[1:] for word in words)


def _whole(post: Post) -> Wording:
    single = len(post.items) == 1
    topics = dict.fromkeys(topic for item in post.items if not item.text for topic in item.topics)
    return Wording(
        heading="" if single else post.title,
        text=post.text,
        stories=tuple(_story(item) for item in post.items),
        tags=tuple(make_hashtag(topic) for topic in topics)[:_MOST_TAGS],
        more=0,
        url=post.url,
    )


def _story(item: PostItem) -> StoryText:
    if item.text:
        return StoryText(title=item.text, summary="", url=item.url, is_own_text=True, correction=item.correction)
    return StoryText(title=item.title, summary=item.summary, url=item.url, correction=item.correction)


def _versions(post: Post) -> Iterator[Wording]:
    whole = _whole(post)
    yield whole
    bare = replace(whole, stories=tuple(replace(story, summary="") for story in whole.stories))
    yield bare
    untagged = replace(bare, tags=())
    yield untagged
    if len(post.items) > 1:
        for count in range(len(post.items) - 1, -1, -1):
            yield replace(untagged, stories=untagged.stories[:count], more=len(post.items) - count)


def _shortened(wording: Wording, fits: Callable[[Wording], bool]) -> Wording:
    """With its longest words cut: title and correction of a story alone, the text of a notice, else the heading."""

    def of(length: int) -> Wording:
        if wording.text:
            return replace(
                wording, heading=shorten(wording.heading, min(length, 200)), text=shorten(wording.text, length)
            )
        if wording.stories:
            shorter = (
                replace(one, title=shorten(one.title, length), correction=shorten(one.correction, length))
                for one in wording.stories
            )
            return replace(wording, stories=tuple(shorter))
        return replace(wording, heading=shorten(wording.heading, length))

    longest = max((len(words) for one in wording.stories for words in (one.title, one.correction)), default=0)
    low, high = 0, max(len(wording.heading), len(wording.text), longest)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(of(middle)) else (low, middle - 1)
    return of(low)
