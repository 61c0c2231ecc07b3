"""From a slot to a frozen edition: items, bytes and recipients. The gates judge the frozen bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tidings.channels.base import Channel
from tidings.config.schedule import ListDelivery, Schedule
from tidings.config.settings import Newsroom
from tidings.model.cadence import Slot, find_window_end, is_in_window
from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.errors import InputError, RefusedError
from tidings.model.item import Item
from tidings.model.tokens import TokenKeys
from tidings.pipeline import notices
from tidings.pipeline.address.channels import describe_untranslated
from tidings.pipeline.address.lists import has_waiting_readers, plan_deliveries
from tidings.pipeline.compose import review
from tidings.pipeline.compose.draft import EditionDraft, MessageGroup, message_groups
from tidings.pipeline.compose.freeze import correction_version, write_frozen
from tidings.pipeline.compose.mail import MailRenderer
from tidings.pipeline.compose.posts import make_post
from tidings.pipeline.compose.rendered import RenderResult
from tidings.pipeline.compose.select import group_stories, is_note, select_stories
from tidings.store.content import edition_archive, editions, schedules
from tidings.store.content.items import items_version, load_items
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.service import restored


@dataclass(frozen=True, slots=True)
class ComposeResult:
    """What a slot became: an edition, or a visible reason why there is none."""

    schedule: str
    edition: Edition | None
    reason: str = ""


class Composer:
    """Makes editions. The very functions of `plan`, `preview` and `send`."""

    def __init__(
        self,
        store: Store,
        newsroom: Newsroom,
        channels: Mapping[str, Channel],
        mail: MailRenderer,
        keys: TokenKeys,
        owner: str,
    ) -> None:
        self.store = store
        self.newsroom = newsroom
        self.channels = channels
        self.mail = mail
        self.keys = keys
        self.owner = owner
        self._read: tuple[int, Sequence[Item]] | None = None

    # -- deciding -----------------------------------------------------------------------------------------------------

    def draft(
        self,
        connection: Connection,
        schedule: Schedule,
        now: datetime,
        *,
        edition: int | None = None,
        stories: Sequence[str] = (),
        freed: frozenset[str] = frozenset(),
        every: bool = False,
    ) -> EditionDraft:
        """What an edition of `schedule` would hold at `now`. Changes nothing.

        `stories` are those a person named; `freed` those reserved by a held edition that this one would supersede;
        `every` takes what was used before too, for a preview when nothing is new.
        """
        if stories:
            schedule = schedule.model_copy(update={"select": schedule.select.model_copy(update={"stories": stories})})
        everything = group_stories(self._items(connection), now)
        rules = schedule.select
        unknown = [key for key in rules.stories if key not in everything]
        if unknown and stories:
            raise InputError(
                f"no story {unknown[0]!r} is out. `tidings plan` lists those that are; a story's name is its file's "
                "name without language."
            )
        used = set[str]() if every else schedules.used_stories(connection, schedule.name) - freed
        greets = any(isinstance(part, ListDelivery) and part.per == "edition" for part in schedule.deliver)
        notes = [story for story in everything.values() if is_note(story) and story.key not in used]
        corrected = {
            story.key: found
            for story in everything.values()
            if (
                found := {
                    language: (item.corrected_at, correction_version(item.correction))
                    for language, item in story.items.items()
                    if item.correction and item.corrected_at is not None
                }
            )
        }
        return EditionDraft(
            schedule=schedule,
            edition=edition if edition is not None else editions.newest_edition_id(connection) + 1,
            now=now,
            stories=tuple(select_stories(everything.values(), rules, used)),
            notes=tuple(notes) if greets else (),
            all_stories=everything,
            explicit=bool(rules.stories),
            corrected=corrected,
        )

    def _items(self, connection: Connection) -> Sequence[Item]:
        """All items, read again only when one has changed."""
        version = items_version(connection)
        if self._read is None or self._read[0] != version:
            self._read = (version, load_items(connection))
        return self._read[1]

    def explain_skip(self, connection: Connection, edit: EditionDraft) -> str:
        """Why there is no edition, in words; empty if there are stories enough, or older ones that were put off."""
        count, needed = len(edit.stories), edit.schedule.select.min_items
        if count >= max(needed, 1):
            return ""
        if count == 0 and needed <= 1 and has_waiting_readers(connection, self.newsroom, edit):
            return ""
        if count == 0:
            return "; ".join(filter(None, ["nothing new", describe_untranslated(connection, self.newsroom, edit)]))
        return f"{count} of at least {needed} stories (min_items); they wait"

    # -- doing --------------------------------------------------------------------------------------------------------

    def compose(
        self,
        schedule: Schedule,
        now: datetime,
        *,
        slot: Slot | None = None,
        stories: Sequence[str] = (),
        late: str = "",
        claim: Callable[[Connection], bool] | None = None,
    ) -> ComposeResult | None:
        """Freeze an edition for a slot, or for a person (`slot` None). `late` says how late, and holds it.

        `claim` runs first, in the transaction that numbers the edition; None where another process was first.
        """
        with self.store.write() as connection:
            if claim is not None and not claim(connection):
                return None
            subscribers.update_marks(connection)
            # A story that a person names goes by itself: what is held stays held, with its stories.
            held = (
                []
                if stories
                else editions.list_editions(connection, schedule=schedule.name, states=[EditionState.HELD])
            )
            reserved = frozenset(key for old in held for key in old.stories)
            edit = self.draft(connection, schedule, now, stories=stories, freed=reserved)
            reason = self.explain_skip(connection, edit)
            if reason:
                if slot is not None:
                    schedules.settle_slot(connection, schedule.name, slot.key, "skipped", reason, now)
                return ComposeResult(schedule.name, None, reason)
            if not edit.explicit:
                ledger.cancel_paused(connection, schedule.name, now)
            doubt = restored.inherited_reason(held)
            if slot is not None:
                doubt = restored.reason_to_hold(connection, schedule.name) or doubt
                restored.release_schedule(connection, schedule.name)
            for old in held:
                self._supersede(connection, old, now)
            edition = editions.new_edition(
                connection,
                schedule.name,
                slot=slot.key if slot else None,
                cut=now,
                starts=max(now, slot.at) if slot else now,
                stories=[story.key for story in (*edit.stories, *edit.notes)],
                owner=self.owner,
                request={"stories": list(stories), "late": late, "restored": doubt},
            )
            schedules.reserve_stories(connection, schedule.name, edition.stories, edition.id)
            if slot is not None:
                schedules.settle_slot(connection, schedule.name, slot.key, "fired", "", now, edition.id)
        return ComposeResult(schedule.name, self.freeze(edition, schedule, now))

    def _supersede(self, connection: Connection, old: Edition, now: datetime) -> None:
        schedules.release_stories(connection, old.id)
        ledger.cancel_edition(connection, old.id, now)
        editions.set_state(
            connection, old, EditionState.SUPERSEDED, now=now, what="superseded by a newer slot; its stories join it"
        )

    def freeze(self, edition: Edition, schedule: Schedule, now: datetime) -> Edition:
        """Freeze items, bytes and recipients of an edition that is composing; also after a crash, from the start."""
        with self.store.write() as connection:
            editions.delete_frozen(connection, edition.id)
            request = editions.get_request(connection, edition.id)
            numbers = self._archive_numbers(connection, edition, schedule)
        with self.store.read() as connection:
            edit = self.draft(
                connection,
                schedule,
                now,
                edition=edition.id,
                stories=request.get("stories", ()),
                freed=frozenset(edition.stories),
            )
            edit = edit.with_stories(edition.stories)
            addressed = list(plan_deliveries(connection, self.newsroom, edit))
        groups = {id(group): group for one in addressed for group in message_groups(one)}
        rendered: list[RenderResult] = []
        try:
            rendered = self.render_groups(edit, groups.values(), edition, numbers)
            holds = self._holds(schedule, rendered, request)
            write_frozen(self.store, edition, addressed, rendered, now, urgent=schedule.is_urgent)
        except (InputError, ValueError) as error:
            # A template or a text that cannot be rendered holds the edition; there is nothing to freeze yet.
            holds = [Hold(HoldReason.GATE, f"it cannot be rendered: {error}")]
        with self.store.write() as connection:
            state = EditionState.HELD if holds else EditionState.SENDING
            what = f"held: {'; '.join(hold.detail for hold in holds)}" if holds else "composed"
            edition = editions.set_state(connection, edition, state, now=now, what=what, holds=holds)
            if holds:
                notices.add_held(connection, edition, now)
                review.queue_review_mails(connection, edition, schedule, self.newsroom, self.keys, now)
            shortened = sum(one.shortened for one in rendered)
            if shortened:
                notices.add_shortened(connection, edition, shortened, now)
            if not holds:
                self.open_or_close(connection, edition, now)
        return edition

    def _holds(self, schedule: Schedule, rendered: Sequence[RenderResult], request: Mapping[str, Any]) -> list[Hold]:
        holds = [Hold(HoldReason.GATE, failure) for one in rendered for failure in one.failures]
        for reason in (HoldReason.LATE, HoldReason.RESTORED):
            if request.get(reason.value):
                holds.append(Hold(reason, request[reason.value]))
        if schedule.approval is not None:
            holds.append(Hold(HoldReason.APPROVAL, f"waits for {', '.join(schedule.approval.by)}"))
        return holds

    def _archive_numbers(self, connection: Connection, edition: Edition, schedule: Schedule) -> dict[str, int]:
        """The numbers under which public lists archive an edition. Given before it is rendered: its mails name them."""
        lists = dict.fromkeys(part.list for part in schedule.deliver if isinstance(part, ListDelivery))
        public = [name for name in lists if self.newsroom.lists[name].public]
        return {name: edition_archive.assign_number(connection, name, edition.id, edition.number) for name in public}

    def render_groups(
        self,
        edit: EditionDraft,
        groups: Iterable[MessageGroup],
        edition: Edition,
        numbers: Mapping[str, int] | None = None,
    ) -> list[RenderResult]:
        """Every rendition that these sets of readers need. Pure but for reading templates.

        `numbers`: those of the lists that archive it.
        """
        found: dict[tuple[str, str, str], dict[str, MessageGroup]] = {}
        for group in groups:
            key = (group.outlet, group.selection.language, group.story)
            found.setdefault(key, {})[group.key] = group
        rendered = []
        for (outlet, language, story), members in found.items():
            kind, _, name = outlet.partition(":")
            if kind == "channel":
                rendered.append(self._render_post(edit, edition, name, outlet, language, story, members))
            else:
                part = next(p for p in edit.schedule.deliver if isinstance(p, ListDelivery) and p.list == name)
                number = (numbers or {}).get(name)
                rendered.append(self.mail.render(edit, edition, part, outlet, language, story, members, number))
        return rendered

    def _render_post(
        self,
        edit: EditionDraft,
        edition: Edition,
        name: str,
        outlet: str,
        language: str,
        story: str,
        members: Mapping[str, MessageGroup],
    ) -> RenderResult:
        ((key, group),) = members.items()
        post = make_post(self.newsroom, edit.schedule, edition, group.selection, name)
        body = self.channels[name].prepare(post)
        length, limit = self.channels[name].length(body), self.channels[name].capabilities.max_length
        failures = (f"{outlet}: the post has {length} characters, the network takes {limit}",) if length > limit else ()
        return RenderResult(outlet, language, story, body, {key: {}}, members, failures)

    def open_or_close(self, connection: Connection, edition: Edition, now: datetime) -> None:
        """Let the deliveries of a released edition be claimed while its moment has come and its window is open.

        What a person sent goes at once: `tidings send` heeds no window.
        """
        schedule = self.newsroom.schedules.get(edition.schedule)
        window = schedule.cadence if schedule is not None and edition.slot is not None else None
        if edition.starts > now or (window is not None and not is_in_window(window, now)):
            ledger.close_edition(connection, edition.id)
        else:
            ledger.open_edition(connection, edition.id, now, find_window_end(window, now) if window else None)

    # -- what a person decides ----------------------------------------------------------------------------------------

    def release(self, edition: Edition, now: datetime, who: str) -> Edition:
        """Let the frozen bytes go. Raises InputError while a gate fails or a story in it is withdrawn.

        RefusedError if somebody else decided meanwhile.
        """
        with self.store.write() as connection:
            edition = self._as_it_was(connection, edition)
            blocking = [hold for hold in edition.holds if hold.reason in review.BLOCKING]
            if blocking:
                raise InputError(
                    f"{edition.name} cannot be released: {blocking[0].detail}. Mend it, then `tidings recompose "
                    f"{edition.name}`; or drop it with `tidings cancel {edition.name}`."
                )
            edition = editions.set_state(
                connection, edition, EditionState.SENDING, now=now, what="released", who=who, holds=[]
            )
            self.open_or_close(connection, edition, now)
        return edition

    def cancel(self, edition: Edition, now: datetime, who: str) -> Edition:
        """Drop it: what was not handed over never goes, and its stories are new again.

        RefusedError if somebody else decided meanwhile.
        """
        with self.store.write() as connection:
            edition = self._as_it_was(connection, edition)
            ledger.cancel_edition(connection, edition.id, now)
            schedules.release_stories(connection, edition.id)
            return editions.set_state(
                connection, edition, EditionState.CANCELLED, now=now, what="cancelled", who=who, holds=[]
            )

    def _as_it_was(self, connection: Connection, edition: Edition) -> Edition:
        """As it stands now, in the transaction that changes it: of two people who decide at once, one does."""
        current = editions.get_edition(connection, edition.id)
        if current.state is not edition.state:
            raise RefusedError(f"{current.name} is {current.state.value} by now: somebody else was faster")
        return current

    def recompose(self, edition: Edition, schedule: Schedule, now: datetime, who: str) -> Edition:
        """Build a held edition anew after a mend, with the items as they are now."""
        with self.store.write() as connection:
            if editions.has_begun(connection, edition.id):
                raise RefusedError(
                    f"part of {edition.name} has gone out already, so it cannot be made anew. Drop the rest with "
                    f"`tidings cancel {edition.name}`: its stories join the next edition; who had them gets none twice."
                )
            schedules.release_stories(connection, edition.id)
            request = editions.get_request(connection, edition.id)
            edit = self.draft(connection, schedule, now, edition=edition.id, stories=request.get("stories", ()))
            if not edit.stories and not has_waiting_readers(connection, self.newsroom, edit):
                raise InputError(f"{edition.name} has no story left; drop it with `tidings cancel {edition.name}`.")
            stories = [story.key for story in (*edit.stories, *edit.notes)]
            schedules.reserve_stories(connection, schedule.name, stories, edition.id)
            editions.restart_composing(connection, edition.id, now, self.owner)
            edition = editions.set_state(
                connection, edition, EditionState.COMPOSING, now=now, what="recomposed", who=who, stories=stories
            )
        return self.freeze(edition, schedule, now)
