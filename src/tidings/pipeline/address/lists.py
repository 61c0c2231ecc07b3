"""Plan the deliveries of an edition to readers: their selections, and why some readers get nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy import Connection

from tidings.config.schedule import ListDelivery
from tidings.config.settings import Newsroom
from tidings.model.delivery import Purpose, SkipReason, list_target
from tidings.pipeline.address.channels import plan_posts
from tidings.pipeline.compose.draft import (
    EditionDraft,
    PlannedDelivery,
    PlannedSegment,
    PlannedSegments,
    message_groups,
)
from tidings.pipeline.compose.eligibility import SelectionCache, find_earlier_stories, find_stories_after, next_mark
from tidings.pipeline.compose.select import SegmentFilter
from tidings.store.content import editions
from tidings.store.delivery import history
from tidings.store.people import segments, subscribers

_PAGE = 5_000
_MAX_SEGMENTS = 5_000
"""Above this number of segments, readers are planned one by one."""
_MAX_EXCEPTIONS = 20_000
"""Above this number of exceptions, all readers are planned one by one."""


def plan_deliveries(
    connection: Connection, newsroom: Newsroom, draft: EditionDraft
) -> Iterator[PlannedDelivery | PlannedSegments]:
    """Yield the deliveries of an edition, most of them by segment. A reader on two of its lists gets one."""
    served: set[int] = set()
    for part in draft.schedule.deliver:
        if isinstance(part, ListDelivery):
            yield from _address_list(connection, newsroom, draft, part, served)
        else:
            yield from plan_posts(connection, newsroom, draft, part)


def has_waiting_readers(connection: Connection, newsroom: Newsroom, draft: EditionDraft) -> bool:
    """Whether stories that wait since earlier editions (`overflow: wait`, `max_posts`) would go out now."""
    if draft.explicit:
        return False
    if not draft.to_one_outlet and not editions.has_postponed_stories(connection, draft.schedule.name, draft.edition):
        return False
    groups = (group for plan in plan_deliveries(connection, newsroom, draft) for group in message_groups(plan))
    return any(group.selection.stories for group in groups)


def _address_list(
    connection: Connection, newsroom: Newsroom, draft: EditionDraft, part: ListDelivery, served: set[int]
) -> Iterator[PlannedDelivery | PlannedSegments]:
    fallback = tuple(newsroom.lists[part.list].fallback)
    frequency = None if part.everyone or part.frequency == "all" else part.frequency
    purpose = Purpose.STORY if part.per == "item" else Purpose.EDITION
    earlier = {} if draft.explicit else find_earlier_stories(connection, draft)
    choices = SelectionCache(draft, part)
    # A paused reader gets editions later, except editions for everyone.
    paused = set() if part.everyone else subscribers.paused_subscribers(connection, part.list, draft.now)
    single = _exceptions(connection, draft, part, served | paused)
    loaded = segments.load_segments(connection, part.list, frequency, without=single) if single is not None else []
    behind = {segment.mark for segment in loaded if find_stories_after(earlier, segment.mark)}
    loaded = [segment for segment in loaded if segment.mark not in behind]
    if single is not None and len(loaded) <= _MAX_SEGMENTS:
        parts = []
        for segment in loaded:
            chosen = choices.select(
                SegmentFilter(segment.language, fallback, segment.interests, part.list), (), frozenset(), frozenset()
            )
            mark = None if draft.explicit or chosen.is_empty else next_mark(draft, earlier, chosen)
            groups = () if chosen.is_empty else tuple(choices.groups(chosen))
            parts.append(PlannedSegment(segment, groups, mark))
        if parts:
            yield PlannedSegments(part.list, frequency, str(purpose), frozenset(single), tuple(parts))
        if _more_lists(draft, part):
            going = {(p.segment.language, p.segment.topics, p.segment.mark) for p in parts if p.groups}
            served |= segments.find_subscribers(connection, part.list, frequency, going, without=single)
        if not behind and not single:
            return
        readers = subscribers.readers(connection, part.list, frequency, marks=behind, subscribers=single)
    else:
        readers = subscribers.readers(connection, part.list, frequency)
    yield from _address_readers(connection, draft, part, readers, fallback, purpose, earlier, choices, served, paused)


def _exceptions(connection: Connection, draft: EditionDraft, part: ListDelivery, served: set[int]) -> set[int] | None:
    """Return the readers who already got a part of the edition, or get a correction; None if there are too many."""
    own = {story.key for story in draft.stories} | {note.key for note in draft.notes}
    corrected = {} if part.per == "item" else draft.corrected
    many = 0 if draft.explicit else history.count_receipts(connection, own, _MAX_EXCEPTIONS)
    many += history.count_receipts(connection, corrected, _MAX_EXCEPTIONS)
    if many + len(served) > _MAX_EXCEPTIONS:
        return None
    single = set(served)
    if not draft.explicit:
        single |= history.stories_received(connection, own, without=draft.superseded).keys()
    single |= history.pending_corrections(connection, corrected).keys()
    return single


def _more_lists(draft: EditionDraft, part: ListDelivery) -> bool:
    """Whether the edition has another list after this one."""
    lists = [delivery for delivery in draft.schedule.deliver if isinstance(delivery, ListDelivery)]
    return lists.index(part) < len(lists) - 1


def _address_readers(
    connection: Connection,
    draft: EditionDraft,
    part: ListDelivery,
    readers: Iterable[subscribers.Reader],
    fallback: tuple[str, ...],
    purpose: str,
    earlier: Mapping[str, int],
    choices: SelectionCache,
    served: set[int],
    paused: set[int],
) -> Iterator[PlannedDelivery]:
    """Plan readers one by one: some already got a part, must get a correction, or are behind."""
    own = {story.key for story in draft.stories} | {note.key for note in draft.notes}
    owed = {} if part.per == "item" else history.pending_corrections(connection, draft.corrected)
    for page in _pages(readers):
        offers = {reader.subscriber: find_stories_after(earlier, reader.mark) for reader in page}
        offered = own | {key for offer in offers.values() for key in offer}
        everybody = [reader.subscriber for reader in page]
        had_by = (
            {}
            if draft.explicit
            else history.stories_received(connection, offered, subscribers=everybody, without=draft.superseded)
        )
        for reader in page:
            target = list_target(part.list, reader.subscriber)

            def skip(reason: SkipReason, target: str = target, reader: subscribers.Reader = reader) -> PlannedDelivery:
                return PlannedDelivery(
                    target, "", purpose, part.list, "", reader.subscriber, reader.address_hash, reason=reason
                )

            if reader.skip_reason is not None:
                yield skip(reader.skip_reason)
                continue
            if reader.subscriber in served:
                yield skip(SkipReason.OTHER_LIST)
                continue
            if reader.subscriber in paused:
                yield skip(SkipReason.PAUSED)
                continue
            segment_filter = SegmentFilter(reader.language, fallback, reader.topics, part.list)
            had = frozenset(had_by.get(reader.subscriber, set()))
            chosen = choices.select(
                segment_filter, offers[reader.subscriber], had, frozenset(owed.get(reader.subscriber, ()))
            )
            if chosen.is_empty:
                yield skip(SkipReason.NOTHING_FOR_READER)
                continue
            served.add(reader.subscriber)
            mark = None if draft.explicit else next_mark(draft, earlier, chosen)
            for story, group in choices.groups(chosen):
                yield PlannedDelivery(
                    target, story, purpose, part.list, "", reader.subscriber, reader.address_hash, group, None, mark
                )


def _pages(readers: Iterable[subscribers.Reader]) -> Iterator[Sequence[subscribers.Reader]]:
    page: list[subscribers.Reader] = []
    for reader in readers:
        page.append(reader)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
