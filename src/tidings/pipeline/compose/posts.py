"""Turn a selection into posts for a channel: languages, threads, and missing translations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tidings.channels.base import Post, PostItem
from tidings.channels.wording import hashtag_of_label, make_hashtag
from tidings.config.schedule import Schedule
from tidings.config.settings import Newsroom
from tidings.model.edition import Edition, Selection
from tidings.model.item import Item
from tidings.model.text import TopicLabel
from tidings.pipeline.compose.draft import MessageGroup
from tidings.pipeline.compose.select import Story


def make_post(newsroom: Newsroom, schedule: Schedule, edition: Edition, selection: Selection, channel: str) -> Post:
    """Make a post of one story, or of an edition under the title of its schedule."""
    default = newsroom.site.languages[0]
    items = tuple(
        make_post_item(newsroom, item, channel) for item in (*selection.lead_items, *selection.items, *selection.titles)
    )
    single = items[0] if len(items) == 1 else None
    return Post(
        title=single.title if single else schedule.heading(selection.language, default),
        url=single.url if single else f"{newsroom.site.url}{selection.language}/",
        language=selection.language,
        items=items,
        edition=edition.name,
        site=newsroom.site.title.get(selection.language, default),
        at=edition.cutoff,
    )


def make_post_item(newsroom: Newsroom, item: Item, channel: str, *, correction: str = "") -> PostItem:
    """Make the part of a post about one story. Pictures without alt text are left out.

    The editor's own text for this channel, or for all channels, replaces the template.
    """
    image = next((image for image in item.images if image.alt), None)
    return PostItem(
        id=item.id,
        story=item.story,
        language=item.language,
        kind=item.kind,
        title=item.title,
        summary=item.summary,
        url=item.url,
        published=item.published,
        topics=item.topics,
        image=image.src if image else "",
        image_alt=image.alt if image else "",
        text=item.post.get(channel) or item.post.get("", ""),
        correction=correction,
        tags=make_hashtags(newsroom, item, channel),
    )


def make_hashtags(newsroom: Newsroom, item: Item, channel: str) -> tuple[str, ...]:
    """Return the hashtags of an item on a channel, in the item's language.

    A topic has the hashtag that the newsroom wrote for this language, else its name as a hashtag. An unknown topic has
    its short name.
    """
    settings = newsroom.channels.get(channel)
    wanted = settings.hashtags if settings is not None else "topics"
    if not isinstance(wanted, str):
        return tuple(f"#{tag}" for tag in wanted)
    topics = item.topics if wanted == "topics" else ()
    return tuple(_hashtag(newsroom.topics.get(topic), topic, item.language, newsroom) for topic in topics)


def _hashtag(topic: TopicLabel | None, name: str, language: str, newsroom: Newsroom) -> str:
    if topic is None:
        return make_hashtag(name)
    default = newsroom.site.languages[0]
    tag = topic.hashtag
    if tag is not None and (language in tag.by_language or not tag.by_language or language not in topic.by_language):
        return f"#{tag.get(language, default)}"
    return hashtag_of_label(topic.get(language, default)) or make_hashtag(name)


def channel_languages(newsroom: Newsroom, channel: str) -> tuple[str, ...]:
    """Return the languages of a channel, the preferred one first."""
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
    """Return one post for the selection, or one per story. With `thread`, translations follow as replies.

    A translation holds the items of its language that no earlier post of the thread shows.
    """
    items = (*selection.lead_items, *selection.items)
    firsts = [(item.story, Selection(item.language, item)) for item in items] if per_item else [("", selection)]
    posts = []
    for story, first in firsts:
        posts.append(MessageGroup(outlet, story, first))
        shown = {item.id for item in first.all_items}
        replies: list[MessageGroup] = []
        for language in languages if thread else ():
            translated = [stories[key].items.get(language) for key in first.stories]
            more: list[Item] = [item for item in translated if item is not None and item.id not in shown]
            if more:
                reply = Selection(language, more[0], tuple(more[1:]))
                replies.append(MessageGroup(outlet, story, reply, part=len(replies) + 1))
        posts += replies
    return posts


def missing_translations(story: Story, languages: Sequence[str], max_wait: timedelta, now: datetime) -> tuple[str, ...]:
    """Return the languages that a story still waits for. There are none once `max_wait` is over."""
    if now >= story.out_at + max_wait:
        return ()
    return tuple(language for language in languages if language not in story.items)


def translations_complete_at(story: Story, languages: Sequence[str], max_wait: timedelta) -> datetime:
    """Return when a story stops waiting: when its last translation is out, or when `max_wait` is over."""
    end = story.out_at + max_wait
    if any(language not in story.items for language in languages):
        return end
    moments = [story.items[language].out_at or story.items[language].first_seen for language in languages]
    return min(end, max(moments))
