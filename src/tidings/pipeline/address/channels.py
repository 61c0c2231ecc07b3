"""Plan the posts of a channel: its stories and languages, and which stories wait and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.schedule import ChannelDelivery
from tidings.config.settings import Newsroom
from tidings.model.delivery import Purpose, SkipReason, channel_target
from tidings.pipeline.compose.draft import EditionDraft, PlannedDelivery
from tidings.pipeline.compose.eligibility import SelectionCache, find_earlier_stories, find_stories_after, next_mark
from tidings.pipeline.compose.posts import (
    channel_languages,
    missing_translations,
    split_into_posts,
    translations_complete_at,
)
from tidings.pipeline.compose.select import SegmentFilter, is_note, pick_first
from tidings.store.content import editions
from tidings.store.delivery import history


def plan_posts(
    connection: Connection, newsroom: Newsroom, draft: EditionDraft, part: ChannelDelivery
) -> Iterator[PlannedDelivery]:
    """Plan the posts. A channel counts as a reader since its first edition, so no waiting story is lost."""
    settings = newsroom.channels[part.channel]
    languages = channel_languages(newsroom, part.channel)
    segment_filter = SegmentFilter(languages[0], languages[1:], frozenset(), part.channel)
    target = channel_target(part.channel)
    waiting: tuple[str, ...] = ()
    had: frozenset[str] = frozenset()
    earlier: dict[str, int] = {}
    late: dict[str, tuple[str, ...]] = {}
    refused: set[str] = set()
    if not draft.explicit:
        first = editions.first_edition_of_channel(connection, draft.schedule.name, part.channel)
        if first is None:
            first = min(editions.partial_editions(connection, draft.schedule.name, draft.edition), default=None)
        if first is not None:
            earlier = find_earlier_stories(connection, draft)
            waiting = find_stories_after(earlier, first - 1)
        offered = {story.key for story in draft.stories} | set(waiting)
        received = history.stories_received(connection, offered, channel=part.channel, without=draft.superseded)
        had = frozenset(received.get(0, ()))
        refused = history.stories_refused(connection, offered - had, part.channel)
        if not draft.to_one_outlet:
            # A person decides about them: `tidings resolve --resend`, or `tidings send --channel`.
            had, refused = had | refused, set()
        for key in sorted(offered - had):
            story = draft.all_stories[key]
            if not is_note(story) and part.channel not in story.not_in:
                late[key] = missing_translations(story, languages, settings.wait_for_translations, draft.now)
        late = {key: missing for key, missing in late.items() if missing}
    choices = SelectionCache(draft, part)
    chosen = choices.select(segment_filter, waiting, had | frozenset(late), frozenset())
    if chosen.is_empty and not late:
        yield PlannedDelivery(target, "", Purpose.EDITION, "", part.channel, reason=SkipReason.NOTHING_FOR_READER)
        return
    groups = []
    if not chosen.is_empty:
        per_item, thread = part.per == "item", settings.translations == "thread"
        outlet = f"channel:{part.channel}"
        groups = split_into_posts(
            outlet, chosen.selection, draft.all_stories, languages, per_item=per_item, thread=thread
        )
    going = {group.story for group in groups}
    if part.max_posts is not None and len(going) > part.max_posts:
        going = pick_first((draft.all_stories[key] for key in going), part.max_posts)
    over = [group.story for group in groups if group.story not in going and not group.part]
    chosen = replace(chosen, waiting=(*chosen.waiting, *over, *late))
    mark = None if draft.explicit else next_mark(draft, earlier, chosen)
    for group in groups:
        if group.story in going:
            purpose = draft.purpose_of(group.story, refused) if group.story else Purpose.EDITION
            yield PlannedDelivery(target, group.story, purpose, "", part.channel, group=group, mark=mark)
    for key in over:
        yield PlannedDelivery(
            target, key, draft.post_purpose, "", part.channel, reason=SkipReason.OVER_LIMIT, mark=mark
        )
    for key, missing in late.items():
        yield PlannedDelivery(
            target,
            key,
            draft.post_purpose,
            "",
            part.channel,
            reason=SkipReason.UNTRANSLATED,
            mark=mark,
            detail=f"waits for its translation in {', '.join(missing)}",
        )


def describe_untranslated(connection: Connection, newsroom: Newsroom, draft: EditionDraft) -> str:
    """Describe the stories that wait for a translation before they go to a channel, or return ''."""
    words = []
    for part in draft.schedule.deliver:
        if isinstance(part, ChannelDelivery) and newsroom.channels[part.channel].wait_for_translations:
            for post in plan_posts(connection, newsroom, draft, part):
                if post.reason is SkipReason.UNTRANSLATED:
                    words.append(f"{post.story} {post.detail} (channel {part.channel})")
    return "; ".join(words)


def translation_deadlines(connection: Connection, newsroom: Newsroom, draft: EditionDraft) -> list[datetime]:
    """Return, for each story of earlier editions, when it stops waiting for a translation."""
    deadlines = []
    for part in draft.schedule.deliver:
        if not isinstance(part, ChannelDelivery):
            continue
        patience = newsroom.channels[part.channel].wait_for_translations
        if patience:
            languages = channel_languages(newsroom, part.channel)
            for key in find_earlier_stories(connection, draft):
                deadlines.append(translations_complete_at(draft.all_stories[key], languages, patience))
    return deadlines
