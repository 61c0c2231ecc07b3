"""Hold, release, cancel, open and close editions after they are composed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.cadence import find_window_end, is_in_window
from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline import notices
from tidings.pipeline.compose import review
from tidings.store.content import editions, schedules
from tidings.store.content.items import load_items
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.people.doubted import disbelieve

_COMMENT_LENGTH = 400
"""Most characters of a comment."""


class EditionLifecycle:
    """State changes of composed editions."""

    def __init__(self, store: Store, newsroom: Newsroom) -> None:
        self.store = store
        self.newsroom = newsroom

    def open_or_close(self, connection: Connection, edition: Edition, now: datetime) -> None:
        """Allow deliveries of a released edition after its start and inside its window, else stop them.

        `tidings send` sends at once, so its editions have no window.
        """
        schedule = self.newsroom.schedules.get(edition.schedule)
        window = schedule.cadence if schedule is not None and edition.slot is not None else None
        if edition.starts > now or (window is not None and not is_in_window(window, now)):
            ledger.close_edition(connection, edition.id)
        else:
            ledger.open_edition(connection, edition.id, now, find_window_end(window, now) if window else None)

    def open_due(self, now: datetime) -> None:
        """Open editions that are due and close those outside their window.

        Editions with `silence: send` are released first when their approval deadline has passed.
        """
        with self.store.read() as connection:
            held = editions.list_editions(connection, states=[EditionState.HELD])
            sending = editions.list_editions(connection, states=[EditionState.SENDING])
        for edition in held:
            schedule = self.newsroom.schedules.get(edition.schedule)
            if (
                schedule is not None
                and edition.holds
                and review.is_sent_on_silence(edition, schedule)
                and review.approval_deadline(edition, schedule) <= now
            ):
                sending.append(self.release(edition, now, "silence"))
        with self.store.write() as connection:
            for edition in sending:
                self.open_or_close(connection, edition, now)

    def hold_withdrawn(self, now: datetime) -> None:
        """Hold every unfinished edition that contains a withdrawn story."""
        with self.store.read() as connection:
            live = editions.list_editions(connection, states=[EditionState.SENDING, EditionState.HELD])
            if not live:
                return
            withdrawn = {item.story: item.withdrawn for item in load_items(connection) if item.withdrawn}
            shown = {edition.id: editions.shown_stories(connection, edition.id) for edition in live}
        for edition in live:
            stories = sorted((shown[edition.id] | set(edition.stories)) & withdrawn.keys())
            if not stories or any(hold.reason is HoldReason.WITHDRAWN for hold in edition.holds):
                continue
            hold = Hold(HoldReason.WITHDRAWN, f"{stories[0]} was withdrawn: {withdrawn[stories[0]]}")
            with self.store.write() as connection:
                if not ledger.has_unfinished(connection, edition.id):
                    continue
                ledger.close_edition(connection, edition.id)
                event, holds = f"held: {hold.detail}", [*edition.holds, hold]
                changed = editions.set_state(connection, edition, EditionState.HELD, now=now, what=event, holds=holds)
                notices.add_held(connection, changed, now, self.newsroom.site.languages[0])

    def release(self, edition: Edition, now: datetime, who: str) -> Edition:
        """Start sending a held edition. If several people must approve it, record an approval until the last one.

        Raises InputError while a gate fails or a story is withdrawn, RefusedError if the edition changed meanwhile.
        """
        with self.store.write() as connection:
            editions.lock(connection, edition.id)
            edition = self.reload(connection, edition)
            blocking = [hold for hold in edition.holds if hold.reason in review.BLOCKING]
            if blocking:
                is_sent_back = blocking[0].reason is HoldReason.SENT_BACK
                mend = "Change it with `tidings edition edit`, or" if is_sent_back else "Correct the story, then"
                raise InputError(
                    f"{edition.name} cannot be released: {blocking[0].detail}. {mend} run `tidings recompose "
                    f"{edition.name}`. To drop the edition, run `tidings cancel {edition.name}`."
                )
            schedule = self.newsroom.schedules.get(edition.schedule)
            if schedule is not None and review.is_one_of_several(connection, edition, schedule, who):
                return review.record_approval(connection, edition, schedule, now, who)
            if any(hold.reason is HoldReason.BREAKER for hold in edition.holds):
                disbelieve(connection, edition.id)
            edition = editions.set_state(
                connection, edition, EditionState.SENDING, now=now, what="released", who=who, holds=[]
            )
            self.open_or_close(connection, edition, now)
        return edition

    def take_back(self, edition: Edition, now: datetime, who: str) -> Edition:
        """Hold a released edition whose time has not come, so that it can be changed. Raises RefusedError otherwise."""
        with self.store.write() as connection:
            editions.lock(connection, edition.id)
            edition = self.reload(connection, edition)
            if edition.state is not EditionState.SENDING or edition.starts <= now:
                raise RefusedError(f"{edition.name} cannot be taken back. Only a released one whose time has not come.")
            holds = [Hold(HoldReason.EDITED, f"{who} took it back; look at it, then release it")]
            return editions.set_state(
                connection, edition, EditionState.HELD, now=now, what="taken back", who=who, holds=holds
            )

    def comment(self, edition: Edition, text: str, now: datetime, who: str) -> None:
        """Add a person's comment to the history of an edition, and notify the people under `notify`."""
        text = " ".join(text.split())[:_COMMENT_LENGTH]
        if not text:
            return
        with self.store.write() as connection:
            edition = self.reload(connection, edition)
            editions.set_state(connection, edition, edition.state, now=now, what=f"{review.COMMENT}{text}", who=who)
            key = f"comment:{edition.id}:{now.isoformat()}:{who}"
            notices.add(connection, key, "comment", f"{who} about edition {edition.name}: {text}", now)

    def send_back(self, edition: Edition, text: str, now: datetime, who: str) -> Edition:
        """Keep an edition held until it is changed or built again, for an approver's reason. The newsroom gets a
        notice.

        Raises InputError without a reason, RefusedError if the edition changed meanwhile.
        """
        text = " ".join(text.split())[:_COMMENT_LENGTH]
        if not text:
            raise InputError("Write what to change.")
        with self.store.write() as connection:
            editions.lock(connection, edition.id)
            edition = self.reload(connection, edition)
            if edition.state is not EditionState.HELD:
                raise RefusedError(f"{edition.name} is no longer held.")
            kept = [hold for hold in edition.holds if hold.reason is not HoldReason.SENT_BACK]
            holds = [*kept, Hold(HoldReason.SENT_BACK, f"{who} sent it back: {text}")]
            what = f"{review.COMMENT}{text}"
            edition = editions.set_state(connection, edition, edition.state, now=now, what=what, who=who)
            edition = editions.set_state(
                connection, edition, edition.state, now=now, what="sent back", who=who, holds=holds
            )
            key = f"sent-back:{edition.id}:{now.isoformat()}:{who}"
            notices.add(connection, key, "comment", f"{who} sent edition {edition.name} back: {text}", now)
        return edition

    def cancel(self, edition: Edition, now: datetime, who: str) -> Edition:
        """Cancel the remaining deliveries of an edition and make its stories new again.

        Raises RefusedError if the edition changed meanwhile.
        """
        with self.store.write() as connection:
            edition = self.reload(connection, edition)
            ledger.cancel_edition(connection, edition.id, now)
            schedules.release_stories(connection, edition.id)
            edition = editions.set_state(
                connection, edition, EditionState.CANCELLED, now=now, what="cancelled", who=who, holds=[]
            )
        ledger.cancel_leftovers(self.store, now)
        return edition

    def reload(self, connection: Connection, edition: Edition) -> Edition:
        """Read the edition inside the write transaction, so only one of two simultaneous decisions counts."""
        current = editions.get_edition(connection, edition.id)
        if current.state is not edition.state:
            raise RefusedError(f"{current.name} is already {current.state.value}: somebody else decided first.")
        return current
