"""The languages of a story on a channel: which post tells it, which answer that one, and which are waited for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tidings.config.settings import Newsroom
from tidings.model.edition import Selection
from tidings.model.item import Item
from tidings.pipeline.compose.draft import MessageGroup
from tidings.pipeline.compose.select import Story


def channel_languages(newsroom: Newsroom, channel: str) -> tuple[str, ...]:
    """The languages of a channel, the best first."""
    return tuple(newsroom.channels[channel].languages) or newsroom.site.languages[:1]


def split_into_posts(
    outlet: str,
    selection: Selection,
    stories: Mapping[str, Story],
    languages: Sequence[str],
    *,
    per_item: bool,
    thread: bool,
) -> list[MessageGroup]:
    """Each post of a selection: one for all of it or one a story, and as a `thread` its translations behind it.

    A translation holds what exists in its language and stands in no earlier post of the thread.
    """
    items = (*selection.lead_items, *selection.items)
    firsts = [(item.story, Selection(item.language, item)) for item in items] if per_item else [("", selection)]
    found = []
    for story, first in firsts:
        found.append(MessageGroup(outlet, story, first))
        found += _answers(outlet, story, first, stories, languages) if thread else []
    return found


def _answers(
    outlet: str, story: str, first: Selection, stories: Mapping[str, Story], languages: Sequence[str]
) -> list[MessageGroup]:
    shown = {item.id for item in first.all_items}
    found: list[MessageGroup] = []
    for language in languages:
        translated = [stories[key].items.get(language) for key in first.stories]
        more: list[Item] = [item for item in translated if item is not None and item.id not in shown]
        if more:
            found.append(
                MessageGroup(outlet, story, Selection(language, more[0], tuple(more[1:])), part=len(found) + 1)
            )
    return found


def missing_translations(story: Story, languages: Sequence[str], patience: timedelta, now: datetime) -> tuple[str, ...]:
    """The languages of which a story still waits for its translation; none once `patience` has ended."""
    if now >= story.out_at + patience:
        return ()
    return tuple(language for language in languages if language not in story.items)


def translations_complete_at(story: Story, languages: Sequence[str], patience: timedelta) -> datetime:
    """When a story waits no longer, as far as is known: its last translation was out, or `patience` had ended."""
    end = story.out_at + patience
    if any(language not in story.items for language in languages):
        return end
    moments = [story.items[language].out_at or story.items[language].first_seen for language in languages]
    return min(end, max(moments))
