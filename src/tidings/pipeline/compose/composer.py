"""Compose editions: choose the stories, render them, plan the deliveries, and freeze all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tidings.channels.base import Channel
from tidings.config.schedule import ListDelivery, Schedule
from tidings.model.cadence import Slot
from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.errors import InputError, RefusedError
from tidings.model.tokens import TokenKeys
from tidings.pipeline import notices
from tidings.pipeline.address.lists import has_waiting_readers, plan_deliveries
from tidings.pipeline.compose import review
from tidings.pipeline.compose.draft import EditionDraft, MessageGroup, message_groups
from tidings.pipeline.compose.drafter import Drafter
from tidings.pipeline.compose.due import check_start
from tidings.pipeline.compose.edit import EditionChanges
from tidings.pipeline.compose.freeze import RenderResult, write_frozen
from tidings.pipeline.compose.gates import ContentGates
from tidings.pipeline.compose.lifecycle import EditionLifecycle
from tidings.pipeline.compose.mail import MailRenderer
from tidings.pipeline.compose.posts import make_post
from tidings.store.content import edition_archive, editions, schedules
from tidings.store.delivery import ledger
from tidings.store.people import segments
from tidings.store.service import restored, set_back


@dataclass(frozen=True, slots=True)
class ComposeResult:
    """The edition made for a slot, or the reason why there is none."""

    schedule: str
    edition: Edition | None
    reason: str = ""


class Composer(Drafter):
    """Composes editions. The commands `preview` and `send` use the same methods."""

    def __init__(
        self,
        lifecycle: EditionLifecycle,
        channels: Mapping[str, Channel],
        mail: MailRenderer,
        keys: TokenKeys,
        owner: str,
    ) -> None:
        super().__init__(lifecycle.store, lifecycle.newsroom)
        self.lifecycle = lifecycle
        self.channels = channels
        self.mail = mail
        self.keys = keys
        self.owner = owner
        self.gates = ContentGates(self.newsroom, self.store)

    # -- composing ----------------------------------------------------------------------------------------------------

    def compose(
        self,
        schedule: Schedule,
        now: datetime,
        *,
        slot: Slot | None = None,
        stories: Sequence[str] = (),
        only: str = "",
        late: str = "",
        claim: Callable[[Connection], bool] | None = None,
    ) -> ComposeResult | None:
        """Compose and freeze an edition for a slot, or on a person's request (`slot` None).

        `only`: the one outlet that gets the edition, as `list:NAME` or `channel:NAME`. Other outlets get the stories
        later. `late` describes the delay of an edition that must be held for it. `claim` runs first, in the transaction
        that numbers the edition. Returns None if another process was first.
        """
        schedule = schedule.for_outlet(only)
        segments.update_marks(self.store)
        with self.store.write() as connection:
            if claim is not None and not claim(connection):
                return None
            planned = schedules.take_planned_changes(connection, schedule.name, slot.key) if slot is not None else {}
            # An edition does not supersede held editions if a person named its stories, or if it is for one outlet.
            held = (
                []
                if stories or only
                else editions.list_editions(connection, schedule=schedule.name, states=[EditionState.HELD])
            )
            freed = frozenset(key for old in held for key in old.stories)
            draft = self.draft(connection, schedule, now, stories=stories, only=only, freed=freed)
            draft = EditionChanges.of_request({"changes": planned}).apply(draft, ())
            reason = self.explain_skip(connection, draft)
            if reason:
                if slot is not None:
                    schedules.settle_slot(connection, schedule.name, slot.key, "skipped", reason, now)
                    set_back.release_schedule(connection, schedule.name)
                return ComposeResult(schedule.name, None, reason)
            if not draft.explicit:
                ledger.cancel_paused(connection, schedule.name, now)
            restore_hold = restored.inherited_reason(held)
            if slot is not None:
                restore_hold = (
                    restored.reason_to_hold(connection, schedule.name, self.newsroom.site.zone) or restore_hold
                )
                restore_hold = set_back.reason_to_hold(connection, schedule.name) or restore_hold
                restored.release_schedule(connection, schedule.name)
                set_back.release_schedule(connection, schedule.name)
            for old in held:
                self._supersede(connection, old, now)
            edition = editions.new_edition(
                connection,
                schedule.name,
                slot=slot.key if slot else None,
                cut=now,
                starts=max(now, slot.at) if slot else now,
                stories=draft.keys,
                owner=self.owner,
                request={"stories": list(stories), "only": only, "late": late, "restored": restore_hold}
                | ({"changes": dict(planned)} if planned else {}),
            )
            schedules.reserve_stories(connection, schedule.name, edition.stories, edition.id)
            if slot is not None:
                schedules.settle_slot(connection, schedule.name, slot.key, "fired", "", now, edition.id)
        if held:
            ledger.cancel_leftovers(self.store, now)
        return ComposeResult(schedule.name, self.freeze(edition, schedule, now))

    def _supersede(self, connection: Connection, old: Edition, now: datetime) -> None:
        schedules.release_stories(connection, old.id)
        ledger.cancel_edition(connection, old.id, now)
        event = "superseded by a newer slot; its stories join it"
        editions.set_state(connection, old, EditionState.SUPERSEDED, now=now, what=event)

    def recompose(self, edition: Edition, schedule: Schedule, now: datetime, who: str) -> Edition:
        """Compose a held edition again from the current items."""
        with self.store.write() as connection:
            if editions.has_begun(connection, edition.id):
                raise RefusedError(
                    f"{edition.name} cannot be composed again: part of it was already sent. Cancel the rest with "
                    f"`tidings cancel {edition.name}`. Its stories join the next edition. Nobody gets a story twice."
                )
            schedules.release_stories(connection, edition.id)
            request = editions.get_request(connection, edition.id)
            stories, only = request.get("stories", ()), request.get("only", "")
            draft = self.draft(connection, schedule, now, edition=edition.id, stories=stories, only=only)
            draft = EditionChanges.of_request(request).apply(draft, ())
            editions.set_request(connection, edition.id, {**request, "edited": ""})
            if not draft.stories and not has_waiting_readers(connection, self.newsroom, draft):
                raise InputError(f"{edition.name} has no story left. Cancel it with `tidings cancel {edition.name}`.")
            schedules.reserve_stories(connection, schedule.name, draft.keys, edition.id)
            editions.restart_composing(connection, edition.id, now, self.owner)
            edition = editions.set_state(
                connection, edition, EditionState.COMPOSING, now=now, what="recomposed", who=who, stories=draft.keys
            )
        return self.freeze(edition, schedule, now)

    def edit(self, edition: Edition, schedule: Schedule, changes: EditionChanges, now: datetime, who: str) -> Edition:
        """Change a held edition and freeze it again. It stays held, and gates and approval start over.

        It uses the current items and adds no story. If it raises RefusedError or InputError, nothing has changed.
        """
        with self.store.write() as connection:
            edition = self.lifecycle.reload(connection, edition)
            if edition.state is not EditionState.HELD or editions.has_begun(connection, edition.id):
                raise RefusedError(
                    f"{edition.name} cannot be changed. An edition must be held, and nothing of it may be sent yet."
                )
            changes.check(edition.stories, self.newsroom.site.languages)
            if changes.starts is not None:
                check_start(schedule, edition, changes.starts, now, self.newsroom.site.zone)
            request = editions.get_request(connection, edition.id)
            merged = changes.after(EditionChanges.of_request(request))
            draft = self.draft(
                connection,
                schedule,
                now,
                edition=edition.id,
                stories=request.get("stories", ()),
                only=request.get("only", ""),
                freed=frozenset(edition.stories),
            )
            draft = merged.apply(draft.with_stories(edition.stories), ())
            if not draft.stories and (changes.drop or not has_waiting_readers(connection, self.newsroom, draft)):
                raise InputError(f"{edition.name} would have no story. Cancel it with `tidings cancel {edition.name}`.")
            schedules.release_stories(connection, edition.id)
            schedules.reserve_stories(connection, schedule.name, draft.keys, edition.id)
            request |= {"changes": merged.to_json(), "edited": f"{who} changed it; look at it, then release it"}
            editions.set_request(connection, edition.id, request)
            editions.restart_composing(connection, edition.id, now, self.owner)
            edition = editions.set_state(
                connection,
                edition,
                EditionState.COMPOSING,
                now=now,
                what=changes.describe(),
                who=who,
                stories=draft.keys,
                starts=changes.starts,
            )
        return self.freeze(edition, schedule, now)

    def freeze(self, edition: Edition, schedule: Schedule, now: datetime) -> Edition:
        """Freeze the items, bytes and deliveries of an edition. After a crash this starts from the beginning."""
        with self.store.write() as connection:
            editions.delete_frozen(connection, edition.id)
            request = editions.get_request(connection, edition.id)
            only = request.get("only", "")
            schedule = schedule.for_outlet(only)
            numbers = self._archive_numbers(connection, edition, schedule)
        stories, freed = request.get("stories", ()), frozenset(edition.stories)
        with self.store.read() as connection:
            draft = self.draft(connection, schedule, now, edition=edition.id, stories=stories, only=only, freed=freed)
            draft = draft.with_stories(edition.stories)
            draft = EditionChanges.of_request(request).apply(draft, self.newsroom.site.languages)
            planned = list(plan_deliveries(connection, self.newsroom, draft))
        groups = {id(group): group for plan in planned for group in message_groups(plan)}
        rendered: list[RenderResult] = []
        try:
            rendered = self.render_groups(draft, groups.values(), edition, numbers)
            rendered = self.gates.judge(rendered, look_up=True)
            holds = self._holds(schedule, rendered, request)
            write_frozen(self.store, edition, planned, rendered, now, urgent=schedule.is_urgent)
        except (InputError, ValueError) as error:
            # Without a valid template and text there is nothing to freeze.
            holds = [Hold(HoldReason.GATE, f"it cannot be rendered: {error}")]
        warnings = list(dict.fromkeys(warning for result in rendered for warning in result.warnings))
        with self.store.write() as connection:
            if warnings or "warnings" in request:
                editions.set_request(connection, edition.id, {**request, "warnings": warnings})
            state = EditionState.HELD if holds else EditionState.SENDING
            event = f"held: {'; '.join(hold.detail for hold in holds)}" if holds else "composed"
            edition = editions.set_state(connection, edition, state, now=now, what=event, holds=holds)
            if holds:
                notices.add_held(connection, edition, now, self.newsroom.site.languages[0])
                review.queue_review_mails(connection, edition, schedule, self.newsroom, self.keys, now)
            shortened = sum(result.shortened for result in rendered)
            if shortened:
                notices.add_shortened(connection, edition, shortened, now)
            if not holds:
                self.lifecycle.open_or_close(connection, edition, now)
        return edition

    def _holds(self, schedule: Schedule, rendered: Sequence[RenderResult], request: Mapping[str, Any]) -> list[Hold]:
        holds = [Hold(HoldReason.GATE, failure) for result in rendered for failure in result.failures]
        for reason in (HoldReason.LATE, HoldReason.RESTORED):
            if request.get(reason.value):
                holds.append(Hold(reason, request[reason.value]))
        if schedule.approval is not None:
            needed = f"{schedule.approval.needed} of " if schedule.approval.needed > 1 else ""
            holds.append(Hold(HoldReason.APPROVAL, f"waits for {needed}{', '.join(schedule.approval.by)}"))
        if request.get("edited") and not holds:
            holds.append(Hold(HoldReason.EDITED, request["edited"]))
        return holds

    def _archive_numbers(self, connection: Connection, edition: Edition, schedule: Schedule) -> dict[str, int]:
        """Assign the edition's archive number in each public list, before rendering: its mails link to the archive."""
        lists = dict.fromkeys(part.list for part in schedule.deliver if isinstance(part, ListDelivery))
        public = [name for name in lists if self.newsroom.lists[name].public]
        return {name: edition_archive.assign_number(connection, name, edition.id, edition.number) for name in public}

    # -- rendering ----------------------------------------------------------------------------------------------------

    def render_groups(
        self,
        draft: EditionDraft,
        groups: Iterable[MessageGroup],
        edition: Edition,
        numbers: Mapping[str, int] | None = None,
    ) -> list[RenderResult]:
        """Render every mail and post that these groups need. Reads templates and changes nothing.

        `numbers`: the edition's number in the archive of each list.
        """
        by_rendition: dict[tuple[str, str, str], dict[str, MessageGroup]] = {}
        for group in groups:
            key = (group.outlet, group.selection.language, group.story)
            by_rendition.setdefault(key, {})[group.key] = group
        rendered = []
        for (outlet, language, story), members in by_rendition.items():
            kind, _, name = outlet.partition(":")
            if kind == "channel":
                rendered.append(self._render_post(draft, edition, name, members))
            else:
                part = next(p for p in draft.schedule.deliver if isinstance(p, ListDelivery) and p.list == name)
                number = (numbers or {}).get(name)
                rendered.append(self.mail.render(draft, edition, part, language, story, members, number))
        return rendered

    def _render_post(
        self, draft: EditionDraft, edition: Edition, name: str, members: Mapping[str, MessageGroup]
    ) -> RenderResult:
        ((key, group),) = members.items()
        channel = self.channels[name]
        post = make_post(self.newsroom, draft.schedule, edition, group.selection, name)
        body = channel.prepare(post)
        length, limit = channel.length(body), channel.capabilities.max_length
        failure = f"{group.outlet}: the post has {length} characters, the network allows {limit}"
        failures = (failure,) if length > limit else ()
        language, story = group.selection.language, group.story
        return RenderResult(group.outlet, language, story, body, {key: {}}, members, failures, post=post)
