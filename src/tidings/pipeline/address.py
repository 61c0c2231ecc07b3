"""From an edition and its readers to deliveries: who gets which selection, and who does not, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.schedule import ChannelDelivery, ListDelivery, Schedule
from tidings.config.settings import Newsroom
from tidings.model.delivery import Purpose, SkipReason, channel_target, list_target
from tidings.model.selection import Selection
from tidings.pipeline.select import Chosen, Story, Wish, choose, first_to_go, is_note, ordered
from tidings.store import crowds, editions, history, schedules, subscribers

_PAGE = 5_000
_CROWDS = 5_000
"""With more different choices than that readers are looked at one by one."""
_SINGLE = 20_000
"""So many exceptions may be named; with more readers are looked at one by one."""


@dataclass(frozen=True, slots=True)
class Group:
    """Readers of one outlet and language who get the same. `story` is set where each story is a message of its own."""

    outlet: str
    story: str
    selection: Selection

    @classmethod
    def split(cls, outlet: str, selection: Selection, *, per_item: bool) -> list[Group]:
        """One group for all of a selection, or one for each of its stories."""
        if not per_item:
            return [cls(outlet, "", selection)]
        items = (*selection.leading, *selection.items)
        return [cls(outlet, item.story, Selection(selection.language, item)) for item in items]

    @property
    def key(self) -> str:
        """Equal for equal content."""
        parts = (
            self.selection.lead and self.selection.lead.id,
            *(item.id for item in self.selection.items),
            "titles",
            *(item.id for item in self.selection.titles),
            "notes",
            *(item.id for item in self.selection.notes),
            "corrections",
            *(item.id for item in self.selection.corrections),
        )
        text = "\n".join((self.outlet, self.story, self.selection.language, *map(str, parts)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Addressed:
    """One delivery to be: to `group`, or skipped with a reason."""

    target: str
    story: str
    purpose: str
    list: str = ""
    channel: str = ""
    subscriber: int | None = None
    address_hash: str = ""
    group: Group | None = None
    reason: SkipReason | None = None
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Crowds:
    """All readers of a list but those in `without`, by crowds: what each gets is worked out once."""

    list: str
    frequency: str | None
    purpose: str
    without: frozenset[int]
    parts: tuple[CrowdPart, ...]


@dataclass(frozen=True, slots=True)
class CrowdPart:
    """One crowd: what it gets, as (story or empty, group); nothing for who has no group."""

    crowd: crowds.Crowd
    groups: tuple[tuple[str, Group], ...]
    mark: int | None = None


@dataclass(frozen=True)
class Edit:
    """What one edition is about, before anybody is addressed.

    `stories` are in the edition's order; `explicit` means that a person named them: who had them gets them again.
    `edition` is the edition's id, or one above the newest while only planning.
    """

    schedule: Schedule
    edition: int
    now: datetime
    stories: tuple[Story, ...]
    notes: tuple[Story, ...]
    all_stories: Mapping[str, Story]
    explicit: bool = False
    corrected: Mapping[str, Mapping[str, tuple[datetime, str]]] = field(default_factory=dict)
    """By story and language: the moment of the correction, and its version."""

    def with_stories(self, keys: Collection[str]) -> Edit:
        """The same edition with no stories or notes but these."""
        return replace(
            self,
            stories=tuple(story for story in self.stories if story.key in keys),
            notes=tuple(story for story in self.notes if story.key in keys),
        )

    def without_embargoed(self, now: datetime) -> Edit:
        """The same without what is under embargo at `now`: it leaves no trace anywhere, a look ahead included."""
        free = {
            key: Story(key, items)
            for key, story in self.all_stories.items()
            if (items := {at: one for at, one in story.items.items() if one.embargo is None or one.embargo <= now})
        }
        return replace(
            self,
            stories=tuple(free[story.key] for story in self.stories if story.key in free),
            notes=tuple(free[note.key] for note in self.notes if note.key in free),
            all_stories=free,
        )

    @property
    def again(self) -> str:
        """The purpose of a post: a story that a person names goes out once more, for this edition."""
        return f"again-{self.edition}" if self.explicit else Purpose.STORY


def address(connection: Connection, newsroom: Newsroom, edit: Edit) -> Iterator[Addressed | Crowds]:
    """Every delivery of an edition, most readers in crowds. Who is on two lists of it gets one."""
    served: set[int] = set()
    for part in edit.schedule.deliver:
        if isinstance(part, ListDelivery):
            yield from _address_list(connection, newsroom, edit, part, served)
        else:
            yield from _address_channel(connection, newsroom, edit, part)


def anybody_waits(connection: Connection, newsroom: Newsroom, edit: Edit) -> bool:
    """Whether stories that earlier editions put off (`overflow: wait`, `max_posts`) would go out now."""
    if edit.explicit or not editions.put_off(connection, edit.schedule.name):
        return False
    groups = (group for one in address(connection, newsroom, edit) for group in groups_of(one))
    return any(group.selection.stories for group in groups)


def groups_of(one: Addressed | Crowds) -> list[Group]:
    """What goes out."""
    if isinstance(one, Crowds):
        return [group for part in one.parts for _, group in part.groups]
    return [one.group] if one.group is not None else []


def _address_list(
    connection: Connection, newsroom: Newsroom, edit: Edit, part: ListDelivery, served: set[int]
) -> Iterator[Addressed | Crowds]:
    fallback = tuple(newsroom.lists[part.list].fallback)
    frequency = None if part.everyone or part.frequency == "all" else part.frequency
    purpose = Purpose.STORY if part.per == "item" else Purpose.EDITION
    earlier = {} if edit.explicit else _earlier(connection, edit)
    choices = _Choices(edit, part)
    # A reader's pause holds back what comes meanwhile; what is for everyone goes out all the same.
    paused = set() if part.everyone else subscribers.paused(connection, part.list, edit.now)
    behind, single = _exceptions(connection, edit, part, frequency, earlier, served | paused)
    found = crowds.crowds(connection, part.list, frequency, behind=behind, without=single) if single is not None else []
    if single is not None and len(found) <= _CROWDS:
        parts = []
        for crowd in found:
            chosen = choices.of(
                Wish(crowd.language, fallback, crowd.interests, part.list), (), frozenset(), frozenset()
            )
            mark = None if edit.explicit or chosen.is_empty else _mark(edit, earlier, chosen)
            groups = () if chosen.is_empty else tuple(choices.groups(chosen))
            parts.append(CrowdPart(crowd, groups, mark))
        if parts:
            yield Crowds(part.list, frequency, str(purpose), frozenset(single), tuple(parts))
        if _more_lists(edit, part):
            going = {(p.crowd.language, p.crowd.topics, p.crowd.mark) for p in parts if p.groups}
            served |= crowds.subscribers_of(connection, part.list, frequency, going, without=single)
        if not behind and not single:
            return
        some = subscribers.readers(connection, part.list, frequency, marks=behind, subscribers=single)
    else:
        some = subscribers.readers(connection, part.list, frequency)
    yield from _address_readers(connection, edit, part, some, fallback, purpose, earlier, choices, served, paused)


def _exceptions(
    connection: Connection,
    edit: Edit,
    part: ListDelivery,
    frequency: str | None,
    earlier: Mapping[str, int],
    served: set[int],
) -> tuple[list[int], set[int] | None]:
    """Marks of readers who are behind, and single readers who had a part of it; None for those: too many to name."""
    behind = [mark for mark in crowds.marks(connection, part.list, frequency) if _since(earlier, mark)]
    own = {story.key for story in edit.stories} | {note.key for note in edit.notes}
    corrected = {} if part.per == "item" else edit.corrected
    many = 0 if edit.explicit else history.count_had(connection, own, _SINGLE)
    many += history.count_had(connection, corrected, _SINGLE)
    if many + len(served) > _SINGLE:
        return behind, None
    single = set(served)
    if not edit.explicit:
        single |= history.had(connection, own).keys()
    single |= history.owed_corrections(connection, corrected).keys()
    return behind, single


def _more_lists(edit: Edit, part: ListDelivery) -> bool:
    """Whether another list of the edition comes after this one."""
    lists = [one for one in edit.schedule.deliver if isinstance(one, ListDelivery)]
    return lists.index(part) < len(lists) - 1


def _address_readers(
    connection: Connection,
    edit: Edit,
    part: ListDelivery,
    readers: Iterable[subscribers.Reader],
    fallback: tuple[str, ...],
    purpose: str,
    earlier: Mapping[str, int],
    choices: _Choices,
    served: set[int],
    paused: set[int],
) -> Iterator[Addressed]:
    """One reader after the other: each may have had something of it, be owed a correction, or be behind."""
    suppressed = subscribers.suppressed(connection, part.list)
    own = {story.key for story in edit.stories} | {note.key for note in edit.notes}
    owed = {} if part.per == "item" else history.owed_corrections(connection, edit.corrected)
    for page in _pages(readers):
        offers = {reader.subscriber: _since(earlier, reader.mark) for reader in page}
        offered = own | {key for offer in offers.values() for key in offer}
        everybody = [reader.subscriber for reader in page]
        had_by = {} if edit.explicit else history.had(connection, offered, subscribers=everybody)
        for reader in page:
            target = list_target(part.list, reader.subscriber)

            def skip(reason: SkipReason, target: str = target, reader: subscribers.Reader = reader) -> Addressed:
                return Addressed(
                    target, "", purpose, part.list, "", reader.subscriber, reader.address_hash, reason=reason
                )

            if reader.address_hash in suppressed:
                unsubscribed = suppressed[reader.address_hash] == subscribers.UNSUBSCRIBED
                yield skip(SkipReason.UNSUBSCRIBED if unsubscribed else SkipReason.SUPPRESSED)
                continue
            if reader.subscriber in served:
                yield skip(SkipReason.OTHER_LIST)
                continue
            if reader.subscriber in paused:
                yield skip(SkipReason.PAUSED)
                continue
            wish = Wish(reader.language, fallback, reader.topics, part.list)
            had = frozenset(had_by.get(reader.subscriber, set()))
            chosen = choices.of(wish, offers[reader.subscriber], had, frozenset(owed.get(reader.subscriber, ())))
            if chosen.is_empty:
                yield skip(SkipReason.NOTHING_FOR_READER)
                continue
            served.add(reader.subscriber)
            mark = None if edit.explicit else _mark(edit, earlier, chosen)
            for story, group in choices.groups(chosen):
                yield Addressed(
                    target, story, purpose, part.list, "", reader.subscriber, reader.address_hash, group, None, mark
                )


def _address_channel(
    connection: Connection, newsroom: Newsroom, edit: Edit, part: ChannelDelivery
) -> Iterator[Addressed]:
    """A channel is a reader whose mark is its first edition of the schedule: what waits never gets lost."""
    settings = newsroom.channels[part.channel]
    languages = tuple(settings.languages) or newsroom.site.languages[:1]
    wish = Wish(languages[0], languages[1:], frozenset(), part.channel)
    target = channel_target(part.channel)
    waiting: tuple[str, ...] = ()
    had: frozenset[str] = frozenset()
    earlier: dict[str, int] = {}
    if not edit.explicit:
        first = editions.first_edition_of_channel(connection, edit.schedule.name, part.channel)
        if first is not None:
            earlier = _earlier(connection, edit)
            waiting = _since(earlier, first - 1)
        offered = {story.key for story in edit.stories} | set(waiting)
        had = frozenset(history.had(connection, offered, channel=part.channel).get(0, ()))
    choices = _Choices(edit, part)
    chosen = choices.of(wish, waiting, had, frozenset())
    if chosen.is_empty:
        yield Addressed(target, "", Purpose.EDITION, "", part.channel, reason=SkipReason.NOTHING_FOR_READER)
        return
    groups = choices.groups(chosen)
    going = {story for story, _ in groups}
    if part.max_posts is not None and len(groups) > part.max_posts:
        going = first_to_go((edit.all_stories[story] for story, _ in groups), part.max_posts)
        chosen = replace(chosen, waiting=(*chosen.waiting, *(story for story, _ in groups if story not in going)))
    mark = None if edit.explicit else _mark(edit, earlier, chosen)
    for story, group in groups:
        purpose = edit.again if story else Purpose.EDITION
        over = story not in going
        yield Addressed(
            target,
            story,
            purpose,
            "",
            part.channel,
            group=None if over else group,
            reason=SkipReason.OVER_LIMIT if over else None,
            mark=mark,
        )


class _Choices:
    """Chosen selections, worked out once for readers who want and had the same."""

    def __init__(self, edit: Edit, part: ListDelivery | ChannelDelivery) -> None:
        self._edit = edit
        self._part = part
        self._outlet = f"list:{part.list}" if isinstance(part, ListDelivery) else f"channel:{part.channel}"
        self._chosen: dict[tuple[Wish, tuple[str, ...], frozenset[str], frozenset[str]], Chosen] = {}
        self._groups: dict[int, list[tuple[str, Group]]] = {}
        self._known: dict[str, Group] = {}

    def of(self, wish: Wish, earlier: tuple[str, ...], had: frozenset[str], owed: frozenset[str]) -> Chosen:
        key = (wish, earlier, had, owed)
        if key not in self._chosen:
            self._chosen[key] = self._choose(*key)
        return self._chosen[key]

    def _choose(self, wish: Wish, earlier: tuple[str, ...], had: frozenset[str], owed: frozenset[str]) -> Chosen:
        edit = self._edit
        own = {story.key for story in edit.stories}
        offered = [edit.all_stories[key] for key in earlier if key not in own]
        older = [story for story in offered if not is_note(story)]
        notes = [*(story for story in offered if is_note(story)), *edit.notes]
        stories = ordered([*edit.stories, *older], edit.schedule.select) if older else edit.stories
        per_item = self._part.per == "item"
        chosen = choose(
            stories,
            wish,
            edit.schedule.select,
            had=had,
            notes=() if per_item else notes,
            corrections=[edit.all_stories[key] for key in sorted(owed) if key not in own],
            every_topic=isinstance(self._part, ListDelivery) and self._part.everyone,
        )
        if per_item and chosen.selection.titles:
            # Each is a message of its own: there are no titles, what is too many waits.
            later = tuple(item.story for item in chosen.selection.titles)
            selection = Selection(wish.language, chosen.selection.lead, chosen.selection.items)
            return Chosen(selection, (*chosen.waiting, *later))
        return chosen

    def groups(self, chosen: Chosen) -> list[tuple[str, Group]]:
        """(story or empty, group) of each message that this choice means."""
        if id(chosen) not in self._groups:
            made = Group.split(self._outlet, chosen.selection, per_item=self._part.per == "item")
            self._groups[id(chosen)] = [(group.story, self._known.setdefault(group.key, group)) for group in made]
        return self._groups[id(chosen)]


def _earlier(connection: Connection, edit: Edit) -> dict[str, int]:
    """Stories that this schedule used in earlier editions and that still may go out, each with its edition."""
    used = schedules.used_since(connection, edit.schedule.name, 0)
    return {key: used[key] for key in used if key in edit.all_stories and used[key] < edit.edition}


def _since(earlier: Mapping[str, int], mark: int) -> tuple[str, ...]:
    return tuple(sorted(key for key, edition in earlier.items() if edition > mark)) if earlier else ()


def _mark(edit: Edit, earlier: Mapping[str, int], chosen: Chosen) -> int:
    """What the reader's mark becomes: this edition, or just before the oldest story that waits for them."""
    waiting = [earlier.get(key, edit.edition) for key in chosen.waiting]
    return min([edit.edition, *(edition - 1 for edition in waiting)])


def _pages(readers: Iterable[subscribers.Reader]) -> Iterator[Sequence[subscribers.Reader]]:
    page: list[subscribers.Reader] = []
    for reader in readers:
        page.append(reader)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
