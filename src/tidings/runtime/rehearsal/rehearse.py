"""`tidings rehearse`: play the time between two moments on a copy of the store. Nothing leaves the machine.

It jumps from each moment at which something is due to the next. Mail goes by SMTP to the built-in catcher. Posts are
prepared and kept. For large mailings, only a few mails in each language are sent, and the others are counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.cadence import list_slots
from tidings.model.edition import Edition, EditionState
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.model.tokens import TokenKeys
from tidings.pipeline.compose.due import find_next_moment
from tidings.pipeline.compose.mail import message_id_local_part
from tidings.runtime.backup.backup import Progress
from tidings.runtime.demo.mail_catcher import CaughtMail, MailCatcher
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.outlets import count_deliveries
from tidings.runtime.rehearsal.results import Rehearsal, RehearsedEvent
from tidings.runtime.rehearsal.stand_ins import FrozenSource, KeptChannel, copy_store_to, divert_sender
from tidings.runtime.tick import tick
from tidings.store.content import editions
from tidings.store.content.items import load_refused
from tidings.store.delivery import claims
from tidings.store.service import pauses, rehearsal
from tidings.store.service.clock import read_clock

MAX_PERIOD = timedelta(days=5 * 366)
MAX_MAILS = 200
"""A mailing of more mails is sampled: `SAMPLES` of each language and list are sent."""
SAMPLES = 3
_ROUNDS = 6
"""Rounds of delivery at one moment: a failure may cause a notice."""


def rehearse(
    newsroom: Newsroom,
    begins: datetime,
    ends: datetime,
    out: Path,
    *,
    progress: Progress = lambda work, done, total: None,
    real_now: datetime | None = None,
) -> Rehearsal:
    """Play the time from `begins` to `ends`, and write samples into `out`.

    Raises RefusedError for an impossible period, InputError if the disk has no room for the copy.
    """
    if ends <= begins:
        raise RefusedError("--to must come after --from.")
    if ends - begins > MAX_PERIOD:
        raise RefusedError("A rehearsal covers at most five years. Choose an earlier --to.")
    real_now = real_now or datetime.now(UTC)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-")))
        catcher = stack.enter_context(MailCatcher())
        kept: list[tuple[str, bytes, str]] = []
        copied = copy_store_to(newsroom, folder, progress)
        diverted = newsroom.model_copy(
            update={
                "store": SecretStr(f"sqlite:///{copied}"),
                "mail": tuple(divert_sender(sender, catcher.port) for sender in newsroom.mail),
                "unset": (),
            }
        )
        # Other keys: no link in a sample works on the newsroom's pages.
        runtime = stack.enter_context(
            Runtime(
                diverted,
                keys=TokenKeys.generate(),
                divert=lambda channel: KeptChannel(channel, kept.append),
                looks_up_links=False,
            )
        )
        runtime.sources = {name: FrozenSource(source) for name, source in runtime.sources.items()}
        return _Play(runtime, catcher, kept, Rehearsal(begins, ends, out), progress).play(real_now)


@dataclass
class _Play:
    """One rehearsal on the opened copy."""

    runtime: Runtime
    catcher: MailCatcher
    kept: list[tuple[str, bytes, str]]
    """Name, body and text of the posts since the last mailing."""
    result: Rehearsal
    progress: Progress
    _paused: set[str] = field(default_factory=set)
    """Editions that already have a row about their pause."""
    _was_collected: bool = False

    def play(self, real_now: datetime) -> Rehearsal:
        rehearsal.skip_syncing(self.runtime.store)
        now = first = self._prepare(real_now)
        whole = (self.result.ends - first).total_seconds()
        self.result.begin_files()
        while now <= self.result.ends:
            self.progress("playing", (now - first).total_seconds(), whole)
            self.runtime.set_clock(now)
            self._play_moment(now)
            now = self._next_moment(now)
        self.runtime.set_clock(self.result.ends)
        self._add_later_states()
        self.result.write_index()
        self.progress("playing", whole, whole)
        return self.result

    def _prepare(self, real_now: datetime) -> datetime:
        """Prepare the copy and return the first moment to play."""
        begins, notes = self.result.begins, self.result.notes
        with self.runtime.store.write() as connection:
            reached = read_clock(connection)
            past = reached if reached is not None and begins < reached else None
            freed = rehearsal.prepare_copy(connection, begins if past else None)
            for pause in pauses.active_pauses(connection):
                until = f"until {pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else "until somebody resumes it"
                notes.append(f"Paused {until}: {pause.what}. Nothing of it is sent in that time.")
        if freed:
            notes.append(
                f"{count_noun(freed, 'delivery is', 'deliveries are')} being sent right now. In the rehearsal they are "
                "not sent yet."
            )
        if past is not None:
            notes.append(
                f"--from is earlier than the newsroom's clock, which has reached {past:%Y-%m-%d %H:%M} UTC. Slots that "
                "were sent or skipped since are not played again, and stories that were used stay used. An item that "
                "was first seen after --from is not out before that time. Until then only open slots and deliveries "
                "happen."
            )
            self.result.clock_set_back_from = past
        start = max(real_now, reached or real_now)
        if begins > start:
            notes.append(
                f"The time from now ({start:%Y-%m-%d %H:%M} UTC) to --from is played first and not shown. "
                "All of it uses today's content."
            )
        return min(begins, start)

    def _next_moment(self, now: datetime) -> datetime:
        with self.runtime.store.read() as connection:
            retry = rehearsal.next_retry_time(connection, now)
        moments = [moment for moment in (find_next_moment(self.runtime.composer, now), retry) if moment is not None]
        # The first shown moment is always played, because something may wait for a tick.
        moments += [self.result.begins] if now < self.result.begins else []
        return min(moments, default=self.result.ends + timedelta(days=1))

    # -- one moment ---------------------------------------------------------------------------------------------------

    def _play_moment(self, now: datetime) -> None:
        runtime = self.runtime
        done = tick(runtime, now, deliver=False, public=False)
        if not self._was_collected:
            self._was_collected = True
            self._note_content(done.collected.held if done.collected else None)
        with runtime.store.read() as connection:
            for schedule, slot, state, reason in rehearsal.list_skipped_slots(connection, now):
                self._add(RehearsedEvent(now, schedule, outcome=state, slot=slot, why=reason))
        sent_editions = self._deliver(now, made=bool(done.composed))
        for composed in done.composed:
            if composed.edition is not None and composed.edition.name not in sent_editions:
                self._add(self._make_unsent_row(now, composed.edition))

    def _deliver(self, now: datetime, *, made: bool) -> set[str]:
        """Send what may be sent now, and return the names of those editions.

        `made`: editions were just composed. Those without recipients end in this round.
        """
        sent_editions: set[str] = set()
        for _ in range(_ROUNDS):
            sent = False
            with self.runtime.store.read() as connection:
                waiting = rehearsal.pending_mailings(connection)
                # Real time must not hold anything back, and it may be far behind.
                real = max(datetime.now(UTC), now)
                due = [
                    mailing
                    for mailing in waiting
                    if mailing.is_open and claims.count_due(connection, now, real, mailing.mailing)
                ]
                self._note_paused(now, waiting)
            for mailing in due:
                sent = self._send(now, mailing) or sent
                sent_editions.add(mailing.edition)
            if sent or made:
                self.runtime.deliver()
            made = False
            if not sent:
                break
        return sent_editions

    def _send(self, now: datetime, pending: rehearsal.PendingMailing) -> bool:
        """Send one mailing and add its row. Returns whether anything was sent."""
        store = self.runtime.store
        with store.write() as connection:
            counted = rehearsal.keep_samples(connection, pending.mailing, MAX_MAILS, SAMPLES)
            had_pending = any(
                count.state == "pending" for count in rehearsal.count_deliveries(connection, pending.mailing)
            )
            samples = {
                message_id_local_part(sample.key).decode(): sample
                for sample in rehearsal.list_samples(connection, pending.mailing)
            }
        self.catcher.take()
        self.kept.clear()
        done = self.runtime.deliver(pending.mailing)
        mails = self.catcher.take()
        with store.read() as connection:
            row = self._make_row(connection, now, pending.edition, pending.mailing, "sent")
        if pending.edition == "":
            row.outcome, row.why = pending.kind, next((mail.subject for mail in mails), "")
        row.stalled = [f"{lane or 'mail'}: {reason}" for lane, reason in done.stalled.items()]
        if row.stalled and not counted and not mails and not self.kept:
            row.outcome = "stalled"
        if now >= self.result.begins:
            self._write_mails(row, mails, samples)
            for name, body, text in self.kept:
                row.files += self.result.write_post(row, name, body, text)
        self._add(row)
        return had_pending and row.outcome != "stalled"

    def _write_mails(
        self, row: RehearsedEvent, mails: Sequence[CaughtMail], samples: dict[str, rehearsal.SampleMail]
    ) -> None:
        """Write one mail of each list, language and story."""
        written: set[tuple[str, str, str]] = set()
        for mail in mails:
            left = str(mail.message["Message-ID"]).strip("<>").partition("@")[0]
            sample = samples.get(left)
            key = (sample.list, sample.language, sample.story) if sample else ("", "", "")
            if key not in written:
                written.add(key)
                row.files += self.result.write_mail(row, key, mail)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _add(self, row: RehearsedEvent) -> None:
        if row.at >= self.result.begins:
            self.result.add(row)

    def _make_unsent_row(self, now: datetime, edition: Edition) -> RehearsedEvent:
        """Describe an edition that is held, composed ahead, or has no recipients."""
        with self.runtime.store.read() as connection:
            edition = editions.get_edition(connection, edition.id)
            mailing = rehearsal.mailing_of(connection, edition.id)
            row = self._make_row(connection, now, edition.name, mailing, "")
        if edition.state is EditionState.HELD:
            row.outcome, row.why = "held", "; ".join(hold.detail for hold in edition.holds)
        elif edition.starts > now:
            row.outcome, row.why = "composed", f"to be sent at {edition.starts:%Y-%m-%d %H:%M} UTC"
        else:
            row.outcome = "sent" if any(outlet.recipients for outlet in row.outlets) else "nobody"
        return row

    def _make_row(
        self, connection: Connection, now: datetime, name: str, mailing: int | None, outcome: str
    ) -> RehearsedEvent:
        edition = editions.find_edition_by_name(connection, name) if name else None
        row = RehearsedEvent(now, edition.schedule if edition else "", edition=name, outcome=outcome)
        if edition is not None:
            row.stories, row.slot = list(edition.stories), edition.slot
            row.moved = self._moved(edition)
        if mailing is not None:
            row.outlets = count_deliveries(rehearsal.count_deliveries(connection, mailing))
        return row

    def _moved(self, edition: Edition) -> str:
        schedule = self.runtime.newsroom.schedules.get(edition.schedule)
        if schedule is None or edition.slot is None:
            return ""
        same = list_slots(schedule.cadence, edition.slot - timedelta(microseconds=1), edition.slot)
        return next((slot.move_reason or "" for slot in same), "")

    def _note_paused(self, now: datetime, waiting: Sequence[rehearsal.PendingMailing]) -> None:
        with self.runtime.store.read() as connection:
            active = pauses.active_pauses(connection)
            for pending in waiting:
                schedule = pending.edition.rpartition("/")[0]
                pause = pauses.find_schedule_pause(active, schedule) if pending.edition else None
                if pause is not None and pending.edition not in self._paused:
                    self._paused.add(pending.edition)
                    row = self._make_row(connection, now, pending.edition, pending.mailing, "paused")
                    row.why = f"{pause.what} is paused"
                    self._add(row)

    def _note_content(self, held: str | None) -> None:
        with self.runtime.store.read() as connection:
            refused = load_refused(connection)
        if held:
            self.result.notes.append(held)
        if refused:
            names = ", ".join(sorted({item.ref for item in refused})[:5])
            items = count_noun(len(refused), "item has mistakes and is", "items have mistakes and are")
            self.result.notes.append(f"{items} not used ({names}). See `tidings check`.")

    def _add_later_states(self) -> None:
        """Add what happened later to the editions that were held or composed."""
        with self.runtime.store.read() as connection:
            for row in self.result.rows:
                if row.outcome not in ("held", "composed") or not row.edition:
                    continue
                edition = editions.find_edition_by_name(connection, row.edition)
                assert edition is not None
                if edition.state is not EditionState.HELD:
                    row.after = f"then {edition.state.value}"
                elif row.outcome == "held":
                    row.after = "still held at the end"
