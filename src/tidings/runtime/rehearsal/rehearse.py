"""`tidings rehearse`: the time between two moments on a copy of the store, into a catcher; nothing leaves the machine.

It goes from one moment at which something is due to the next. Mail is handed over for real, to the built-in catcher;
posts are prepared and frozen, and kept here in place of their channel, of whatever kind it is. Of a large mailing a
sample of each language goes over the wire and the rest is counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.cadence import list_slots
from tidings.model.edition import Edition, EditionState
from tidings.model.errors import InputError, RefusedError
from tidings.model.tokens import TokenKeys
from tidings.pipeline.compose.mail import message_id_local_part
from tidings.runtime.demo.mail_catcher import CaughtMail, MailCatcher
from tidings.runtime.newsroom import RESTORING, Runtime, load_newsroom
from tidings.runtime.rehearsal.results import Rehearsal, RehearsedEvent, outlets_of
from tidings.runtime.rehearsal.stand_ins import FrozenSource, KeptChannel, Progress, copy_store, divert_sender
from tidings.runtime.service_cycle import find_next_moment
from tidings.runtime.tick import tick
from tidings.store.content import editions
from tidings.store.content.items import load_refused
from tidings.store.delivery import claims
from tidings.store.service import pauses, rehearsal
from tidings.store.service.clock import read_clock

LONGEST = timedelta(days=5 * 366)
MOST = 200
"""Mails of one mailing that all go over the wire; of more, `EACH` of a language and list do."""
EACH = 3
_ROUNDS = 6
"""Times that deliveries are looked for at one moment: a notice of what failed may follow."""


def load_for_rehearsal(root: Path) -> Newsroom:
    """The configuration. Raises InputError with every problem of it."""
    if (root / RESTORING).exists():
        raise RefusedError("a restore of this newsroom was cut off. Run `tidings restore FILE` again: it finishes it.")
    loaded = load_newsroom(root)
    if loaded.newsroom is None:
        raise InputError("\n".join(str(problem) for problem in loaded.problems if problem.level == "error"))
    return loaded.newsroom


def rehearse(
    newsroom: Newsroom,
    begins: datetime,
    ends: datetime,
    out: Path,
    *,
    progress: Progress = lambda what, part: None,
    real_now: datetime | None = None,
) -> Rehearsal:
    """Play what happens from `begins` to `ends`, and write samples of it into `out`.

    Raises RefusedError for moments in the wrong order, InputError where the copy has no room.
    """
    if ends <= begins:
        raise RefusedError("--to must come after --from")
    if ends - begins > LONGEST:
        raise RefusedError("a rehearsal covers five years at the most; choose a nearer --to")
    real_now = real_now or datetime.now(UTC)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-")))
        catcher = stack.enter_context(MailCatcher())
        kept: list[tuple[str, bytes, str]] = []
        copied = copy_store(newsroom, folder, progress)
        diverted = newsroom.model_copy(
            update={
                "store": SecretStr(f"sqlite:///{copied}"),
                "mail": tuple(divert_sender(sender, catcher.port) for sender in newsroom.mail),
            }
        )
        # Keys of its own: no link in a sample works on the newsroom's pages.
        runtime = stack.enter_context(
            Runtime(diverted, keys=TokenKeys.generate(), divert=lambda channel: KeptChannel(channel, kept.append))
        )
        runtime.sources = {name: FrozenSource(source) for name, source in runtime.sources.items()}
        return _Play(runtime, catcher, kept, begins, ends, out, progress).play(real_now)


class _Play:
    """The walk from moment to moment."""

    def __init__(
        self,
        runtime: Runtime,
        catcher: MailCatcher,
        kept: list[tuple[str, bytes, str]],
        begins: datetime,
        ends: datetime,
        out: Path,
        progress: Progress,
    ) -> None:
        self._runtime = runtime
        self._catcher = catcher
        self._kept = kept
        self._begins = begins
        self._ends = ends
        self._progress = progress
        self._found = Rehearsal(begins, ends, out)
        self._paused: set[str] = set()
        self._swept = False

    def play(self, real_now: datetime) -> Rehearsal:
        """All of it."""
        rehearsal.skip_syncing(self._runtime.store)
        now = first = self._prepare(real_now)
        self._found.begin_files()
        while now <= self._ends:
            self._progress("playing", (now - first) / (self._ends - first))
            self._runtime.set_clock(now)
            self._moment(now)
            now = self._following(now)
        self._runtime.set_clock(self._ends)
        self._note_what_came_after()
        self._found.write()
        self._progress("playing", 1.0)
        return self._found

    def _prepare(self, real_now: datetime) -> datetime:
        """Ready the copy; returns the first moment that is played."""
        begins, notes = self._begins, self._found.notes
        with self._runtime.store.write() as connection:
            reached = read_clock(connection)
            back = reached is not None and begins < reached
            freed = rehearsal.prepare_copy(connection, begins if back else None)
            for one in pauses.active_pauses(connection):
                until = f"until {one.until:%Y-%m-%d %H:%M} UTC" if one.until else "until somebody resumes it"
                notes.append(f"Paused {until}: {one.what}. Nothing of it goes meanwhile.")
        if freed:
            notes.append(f"{freed} deliveries are under way just now; here they have not gone yet.")
        if back:
            assert reached is not None
            notes.append(
                f"The newsroom has reached {reached:%Y-%m-%d %H:%M} UTC, and --from lies before it. What was settled "
                "since is not played again: slots that have fired or were skipped stay so, and stories that were used "
                "stay used. An item counts from when it was first seen, as ever; one seen after --from is not out yet "
                "until then. So before that moment only what is still open happens."
            )
            self._found.clock_set_back_from = reached
        start = max(real_now, reached or real_now)
        if begins > start:
            notes.append(
                f"What is due from now ({start:%Y-%m-%d %H:%M} UTC) to --from is played first, and not shown: the "
                "content is that of today all the time."
            )
        return min(begins, start)

    def _following(self, now: datetime) -> datetime:
        with self._runtime.store.read() as connection:
            retry = rehearsal.next_retry_time(connection, now)
        moments = [one for one in (find_next_moment(self._runtime, now), retry) if one is not None]
        # The first moment that is shown is played in any case: what waits for a tick shows there.
        moments += [self._begins] if now < self._begins else []
        return min(moments, default=self._ends + timedelta(days=1))

    # -- one moment ---------------------------------------------------------------------------------------------------

    def _moment(self, now: datetime) -> None:
        runtime = self._runtime
        done = tick(runtime, now, deliver=False, public=False)
        if not self._swept:
            self._swept = True
            self._note_content(done.collected.held if done.collected else None)
        with runtime.store.read() as connection:
            for schedule, slot, state, reason in rehearsal.list_skipped_slots(connection, now):
                self._add(RehearsedEvent(now, schedule, outcome=state, slot=slot, why=reason))
        went = self._deliver(now, made=bool(done.composed))
        for composed in done.composed:
            edition = composed.edition
            if edition is None or edition.name in went:
                continue
            self._add(self._of_edition(now, edition))

    def _deliver(self, now: datetime, *, made: bool) -> set[str]:
        """Send what may go; returns the editions of which something went. `made`: some may have nobody, and end."""
        went: set[str] = set()
        for _ in range(_ROUNDS):
            sent = False
            with self._runtime.store.read() as connection:
                waiting = rehearsal.pending_mailings(connection)
                # Real time plays no part here, and it may lie far behind.
                real = max(datetime.now(UTC), now)
                due = [one for one in waiting if one.is_open and claims.count_due(connection, now, real, one.mailing)]
                self._note_paused(now, waiting)
            for one in due:
                sent = self._send(now, one) or sent
                went.add(one.edition)
            if sent or made:
                self._runtime.deliver()
            made = False
            if not sent:
                break
        return went

    def _send(self, now: datetime, one: rehearsal.PendingMailing) -> bool:
        store = self._runtime.store
        with store.write() as connection:
            counted = rehearsal.keep_samples(connection, one.mailing, MOST, EACH)
            before = [
                count for count in rehearsal.count_deliveries(connection, one.mailing) if count.state == "pending"
            ]
            samples = {
                message_id_local_part(each.key).decode(): each
                for each in rehearsal.list_samples(connection, one.mailing)
            }
        self._catcher.take()
        self._kept.clear()
        done = self._runtime.deliver(one.mailing)
        mails = self._catcher.take()
        with store.read() as connection:
            row = self._row(connection, now, one.edition, one.mailing, "sent")
        if one.edition == "":
            row.outcome, row.why = one.kind, next((mail.subject for mail in mails), "")
        row.stalled = [f"{lane or 'mail'}: {reason}" for lane, reason in done.stalled.items()]
        if row.stalled and not counted and not mails and not self._kept:
            row.outcome = "stalled"
        if now >= self._begins:
            self._write_mails(row, mails, samples)
            for name, body, text in self._kept:
                row.files += self._found.write_post(row, name, body, text)
        self._add(row)
        return bool(before) and row.outcome != "stalled"

    def _write_mails(
        self, row: RehearsedEvent, mails: Sequence[CaughtMail], samples: dict[str, rehearsal.SampleMail]
    ) -> None:
        """One of each list, language and story."""
        written: set[tuple[str, str, str]] = set()
        for mail in mails:
            left = str(mail.message["Message-ID"]).strip("<>").partition("@")[0]
            sample = samples.get(left)
            key = (sample.list, sample.language, sample.story) if sample else ("", "", "")
            if key not in written:
                written.add(key)
                row.files += self._found.write_mail(row, key, mail)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _add(self, row: RehearsedEvent) -> None:
        if row.at >= self._begins:
            self._found.add(row)

    def _of_edition(self, now: datetime, edition: Edition) -> RehearsedEvent:
        """One that did not go at this moment: held, composed ahead, or with nobody to go to."""
        with self._runtime.store.read() as connection:
            edition = editions.get_edition(connection, edition.id)
            mailing = rehearsal.mailing_of(connection, edition.id)
            row = self._row(connection, now, edition.name, mailing, "")
        if edition.state is EditionState.HELD:
            row.outcome, row.why = "held", "; ".join(hold.detail for hold in edition.holds)
        elif edition.starts > now:
            row.outcome, row.why = "composed", f"goes at {edition.starts:%Y-%m-%d %H:%M} UTC"
        else:
            row.outcome = "sent" if any(outlet.recipients for outlet in row.outlets) else "nobody"
        return row

    def _row(
        self, connection: Connection, now: datetime, name: str, mailing: int | None, outcome: str
    ) -> RehearsedEvent:
        edition = editions.find_edition_by_name(connection, name) if name else None
        row = RehearsedEvent(now, edition.schedule if edition else "", edition=name, outcome=outcome)
        if edition is not None:
            row.stories, row.slot = list(edition.stories), edition.slot
            row.moved = self._moved(edition)
        if mailing is not None:
            row.outlets = outlets_of(rehearsal.count_deliveries(connection, mailing))
        return row

    def _moved(self, edition: Edition) -> str:
        schedule = self._runtime.newsroom.schedules.get(edition.schedule)
        if schedule is None or edition.slot is None:
            return ""
        found = list_slots(schedule.cadence, edition.slot - timedelta(microseconds=1), edition.slot)
        return next((slot.move_reason or "" for slot in found), "")

    def _note_paused(self, now: datetime, waiting: Sequence[rehearsal.PendingMailing]) -> None:
        with self._runtime.store.read() as connection:
            held = pauses.active_pauses(connection)
            for one in waiting:
                schedule = one.edition.rpartition("/")[0]
                why = pauses.find_schedule_pause(held, schedule) if one.edition else None
                if why is not None and one.edition not in self._paused:
                    self._paused.add(one.edition)
                    row = self._row(connection, now, one.edition, one.mailing, "paused")
                    row.why = f"{why.what} is paused"
                    self._add(row)

    def _note_content(self, held: str | None) -> None:
        with self._runtime.store.read() as connection:
            aside = load_refused(connection)
        if held:
            self._found.notes.append(held)
        if aside:
            names = ", ".join(sorted({one.ref for one in aside})[:5])
            self._found.notes.append(f"{len(aside)} items are set aside and play no part ({names}); see tidings check.")

    def _note_what_came_after(self) -> None:
        """What became of editions after they were held or composed."""
        with self._runtime.store.read() as connection:
            for row in self._found.rows:
                if row.outcome not in ("held", "composed") or not row.edition:
                    continue
                edition = editions.find_edition_by_name(connection, row.edition)
                assert edition is not None
                if edition.state is not EditionState.HELD:
                    row.after = f"then {edition.state.value}"
                elif row.outcome == "held":
                    row.after = "still held at the end"
