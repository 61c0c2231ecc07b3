"""A reader's life in any order, on any day: pages promise only what happens, and nobody who left is mailed.

The model knows from the actions alone who agreed to what and who left. The store is compared with it after
each action.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from tests.fixtures.items import open_store
from tests.fixtures.ledger import add_edition
from tests.fixtures.people import NOW, make_newsroom
from tidings.model.delivery import list_target
from tidings.model.errors import RefusedError
from tidings.model.tokens import TokenKeys, TokenPurpose
from tidings.pipeline.deliver.deliverer import finish_editions
from tidings.pipeline.members import preferences, subscribe
from tidings.pipeline.members.mails import MOST_CONFIRMATIONS, MemberMails
from tidings.pipeline.retention import delete_expired
from tidings.render.pages.pages import Pages
from tidings.store import schema as t
from tidings.store.delivery import ledger, settling
from tidings.store.delivery.claims import Claimant
from tidings.store.engine import Store
from tidings.store.people import consent, feedback, subscribers
from tidings.store.people.bulk_import import ImportedPerson, ImportResult, import_people
from tidings.store.people.erasure import erase_address
from tidings.web import reader_actions

ADA, ERASED = "ada@example.org", "bob@example.org"
LISTS = ("digest", "press")
KEYS = TokenKeys({1: b"k" * 32})
addresses, lists = st.sampled_from((ADA, ADA, ERASED)), st.sampled_from(LISTS)
"""Only one of them is ever erased, because nothing more can happen to an erased person."""
Key = tuple[str, str]
"""An address and a list."""


@cache
def _template() -> Path:
    """A folder with an empty store. Making its tables takes most of the time."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_store("sqlite:///tidings.db", folder).close()
    return folder


class ReadersLife(RuleBasedStateMachine):
    """Two people and two lists."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        shutil.copytree(_template(), root, dirs_exist_ok=True)
        self.newsroom = make_newsroom(root)
        self.store = Store("sqlite:///tidings.db", root)
        self.now = NOW
        self.mails = MemberMails(self.newsroom, KEYS, Pages(root / "templates"))
        self.runtime: Any = SimpleNamespace(
            store=self.store, newsroom=self.newsroom, member_mails=self.mails, now=lambda: self.now
        )
        self.step = 0
        self.composed = False
        """Whether an edition is sent after the next action."""
        self.agreed: dict[Key, bool] = {}
        """Whether they want the list now, by their last decision."""
        self.left: dict[Key, int] = {}
        """The step at which they last left."""
        self.lapsed: set[Key] = set()
        self.asked_until: dict[Key, datetime] = {}
        self.paused: dict[Key, datetime] = {}
        self.editions = 0
        self.barred: set[str] = set()
        """Erased, or their mailbox is gone."""
        self.inbox: list[tuple[str, str, str, datetime, int]] = []
        """Address, subject, text, time and step of each mail."""

    def teardown(self) -> None:
        self.store.close()
        self._folder.cleanup()

    def find(self, address: str) -> int | None:
        with self.store.read() as connection:
            return subscribers.find_id(connection, address)

    def deliver(self) -> None:
        """Send all allowed mails by the real rules, and close finished mailings."""
        p = t.subscribers.c
        until = self.now + timedelta(minutes=20)
        with self.store.write() as connection:
            claim = Claimant("me", "").claim(connection, 1_000, now=self.now, real_now=self.now, until=until)
            settling.record_accepted(
                connection, "me", [(row.id, row.fence, "", "") for row in claim.deliveries], self.now
            )
            for delivery in claim.deliveries:
                address = connection.execute(select(p.address).where(p.id == delivery.subscriber)).scalar_one()
                if delivery.purpose == "edition":
                    assert self.is_wanted((address, delivery.list)), "an edition went to who left"
                    continue
                details = delivery.parsed_details
                self.inbox.append((address, details["subject"], details["text"], self.now, self.step))
            for delivery, reason in claim.skipped:
                assert reason and delivery.purpose == "edition", (delivery, reason)
        self.composed = False
        finish_editions(self.store, self.now)

    def is_wanted(self, key: Key) -> bool:
        return self.agreed.get(key, False) and key[0] not in self.barred

    @rule(name=lists)
    def compose(self, name: str) -> None:
        """Address an edition. It is sent after the next action, and people who leave before that get nothing."""
        self.step += 1
        self.editions += 1
        edition = add_edition(self.store, self.editions)
        with self.store.write() as connection:
            addresses = {row.id: row.address for row in connection.execute(select(t.subscribers))}
            paused = subscribers.paused_subscribers(connection, name, self.now)
            addressed = subscribers.readers(connection, name, None)
            readers = [each for each in addressed if each.skip_reason is None and each.subscriber not in paused]
            mailing = ledger.get_or_create_mailing(
                connection, f"edition:{edition}", "edition", now=self.now, schedule="friday", edition=edition, open=True
            )
            common = {"mailing": mailing, "purpose": "edition", "list": name, "at": self.now}
            rows = [
                {"target": list_target(name, each.subscriber), "subscriber": each.subscriber, "selection": 1,
                 "rendition": 1, "address_hash": each.address_hash, **common}
                for each in readers
            ]  # fmt: skip
            ledger.add_deliveries(connection, rows)
        self.composed = True
        keys = [(address, name) for address in (ADA, ERASED)]
        wanted = {key for key in keys if self.is_wanted(key) and self.paused.get(key, self.now) <= self.now}
        assert {(addresses[each.subscriber], name) for each in readers} == wanted

    @rule(address=addresses, language=st.sampled_from(["en", "ru"]), pause=st.sampled_from(["0", "14", "90", "keep"]))
    def choose(self, address: str, language: str, pause: str) -> None:
        """The preferences page: another language, and a pause of every list that they are on."""
        self.step += 1
        number = self.find(address)
        if number is None:
            return
        with self.store.read() as connection:
            profile = preferences.load_profile(connection, number)
        assert profile is not None
        reader_actions.save_preferences(
            self.runtime, profile, language=language, frequencies={}, topics={},
            pause=lambda now, present: preferences.parse_pause(pause, present, now),
        )  # fmt: skip
        assert self.language(number) == language
        until = preferences.parse_pause(pause, profile.paused_until, self.now)
        for subscription in profile.subscriptions:
            self.paused.pop((address, subscription.list), None)
            if until is not None:
                self.paused[address, subscription.list] = until
        self.deliver()

    def language(self, number: int) -> str:
        with self.store.read() as connection:
            reader = subscribers.find_by_id(connection, number)
        assert reader is not None
        return reader.language

    @rule(
        address=addresses,
        names=st.lists(lists, min_size=1, max_size=2, unique=True),
        language=st.sampled_from(["en", "ru"]),
        follow=st.booleans(),
    )
    def ask(self, address: str, names: list[str], language: str, follow: bool) -> None:
        """The form: whatever happened before, the mail that the page promises was sent."""
        self.step += 1
        before = self.find(address)
        is_reader = any(self.agreed.get((address, name)) for name in LISTS)
        spoken = self.language(before) if before is not None and is_reader else language
        assert reader_actions.request_subscription(
            self.runtime, address, tuple(names), languages=[language], topics=[], frequencies=[], source="form",
            client="192.0.2.1",
        )  # fmt: skip
        subscribe.answer_requests(self.store, self.mails, self.now)
        self.deliver()
        today = [mail for mail in self.inbox if mail[0] == address and mail[3].date() == self.now.date()]
        if address in self.barred or len(today) >= MOST_CONFIRMATIONS:
            return
        number = self.find(address)
        assert number is not None
        assert self.language(number) == spoken, "a stranger who types the address of a reader changes nothing"
        with self.store.read() as connection:
            states = subscribers.subscription_states(connection, number, names)
        pending = [name for name in names if states[name] == "pending"]
        links = [link for mail in today for link in self.links(mail[2], "confirm" if pending else "preferences")]
        assert links, (states, today)
        if pending:
            assert any(self.confirmable(link) == set(pending) for link in links), (states, today)
        if follow:
            self.confirm(0)

    def links(self, text: str, what: str) -> list[str]:
        return re.findall(rf"/{what}/(\S+)", text)

    def confirmable(self, token: str) -> set[str]:
        contents = KEYS.verify_link(TokenPurpose.CONFIRM, token)
        assert contents is not None
        with self.store.read() as connection:
            reader = subscribers.find_by_id(connection, contents.subscriber)
            if reader is None:
                return set()
            number, names = reader_actions.read_confirmation(connection, self.newsroom, contents)
            return set(subscribe.find_confirmable(connection, reader, names, number)[0])

    @rule(which=st.integers(0, 5))
    def press_a_link(self, which: int) -> None:
        self.confirm(which)

    def confirm(self, which: int) -> None:
        """Press the button of any earlier link. A link from before leaving confirms nothing."""
        self.step += 1
        links = [(mail, link) for mail in self.inbox for link in self.links(mail[2], "confirm")]
        if not links:
            return
        (address, _, _, _, sent), token = links[-1 - which % len(links)]
        promised = self.confirmable(token)
        contents = KEYS.verify_link(TokenPurpose.CONFIRM, token)
        assert contents is not None
        on = reader_actions.confirm(self.runtime, contents, client="", source="link")
        assert promised <= set(on)
        for name in promised:
            assert sent > self.left.get((address, name), -1), "a link from before leaving"
            self.agree(address, name)
        for name in on:
            assert self.agreed.get((address, name)), "the page says that they are on a list"
        self.deliver()

    def agree(self, address: str, name: str) -> None:
        self.agreed[address, name] = True
        self.lapsed.discard((address, name))
        self.asked_until.pop((address, name), None)

    def end(self, address: str, name: str) -> None:
        self.agreed[address, name] = False
        self.asked_until.pop((address, name), None)
        self.paused.pop((address, name), None)

    @rule(address=addresses, name=lists)
    def leave(self, address: str, name: str) -> None:
        self.step += 1
        number = self.find(address)
        if number is None:
            return
        contents = KEYS.verify_link(TokenPurpose.UNSUBSCRIBE, KEYS.sign(TokenPurpose.UNSUBSCRIBE, number, name))
        assert contents is not None
        assert reader_actions.unsubscribe(self.runtime, contents, source="link")
        self.end(address, name)
        self.left[address, name] = self.step
        self.deliver()

    @rule(address=addresses, name=lists, which=st.integers(1, 2))
    def come_back_by_an_old_link(self, address: str, name: str, which: int) -> None:
        """A stranger types the address of a person who left, and an older link is pressed. Chance alone is too rare."""
        self.leave(address, name)
        self.ask(address, [name], "en", False)
        self.confirm(which)

    @rule(address=addresses, name=lists, state=st.sampled_from(["confirmed", "pending", "unsubscribed"]))
    def import_file(self, address: str, name: str, state: str) -> None:
        self.step += 1
        digest = consent.address_hash(address)
        person = ImportedPerson(digest, address, "", "en", (), "weekly", state, None, "file", "")
        with self.store.write() as connection:
            [result] = import_people(connection, name, [person], self.now)
        if state == "unsubscribed":
            self.end(address, name)
            if result is ImportResult.AWAY:
                self.left[address, name] = self.step
        elif state == "confirmed" and result in (ImportResult.ADDED, ImportResult.CONFIRMED):
            assert (address, name) not in self.left or self.agreed.get((address, name)), (
                "an import brought back who left"
            )
            assert (address, name) not in self.lapsed, "an import brought back who did not confirm again"
            self.agree(address, name)

    @rule(name=lists, days=st.sampled_from([10, 30]))
    def reconfirm(self, name: str, days: int) -> None:
        """Everybody who agreed and was not asked yet gets the question."""
        self.step += 1
        until = self.now + timedelta(days=days)
        before = len(self.inbox)
        with self.store.write() as connection:
            open_before = self.open_questions(connection)
            count = subscribers.count_not_asked(connection, name, self.now, until)
            assert subscribe.request_reconfirmation(connection, self.mails, name, self.now, until, self.now) == count
            asked = self.open_questions(connection) - open_before
        self.deliver()
        assert {mail[0] for mail in self.inbox[before:]} >= {address for address, _ in asked}
        self.asked_until |= dict.fromkeys(asked, until)

    def open_questions(self, connection: Any) -> set[Key]:
        s, p = t.subscriptions.c, t.subscribers.c
        query = select(p.address, s.list).join(t.subscriptions, s.subscriber == p.id)
        rows = connection.execute(query.where(s.confirm_by.is_not(None), s.state == "confirmed"))
        return {(row.address, row.list) for row in rows}

    @rule(address=addresses, name=lists, is_wrong=st.booleans())
    def bounce(self, address: str, name: str, is_wrong: bool) -> None:
        self.step += 1
        number = self.find(address)
        if number is None:
            return
        with self.store.write() as connection:
            target = feedback.find_by_subscriber(connection, number, name)
            assert target is not None
            feedback.suppress_recipient(connection, target, "", "hard", "lmtp", self.now)
        self.barred.add(address)
        for each in LISTS:
            self.asked_until.pop((address, each), None)
        if is_wrong:
            self.lift(address)

    @rule(address=addresses)
    def lift(self, address: str) -> None:
        self.step += 1
        try:
            with self.store.write() as connection:
                feedback.lift_suppressions(connection, consent.address_hash(address), "", "a person", self.now)
        except RefusedError:
            return
        self.barred.discard(address)

    @rule()
    def erase(self) -> None:
        self.step += 1
        with self.store.write() as connection:
            if not erase_address(connection, ERASED, now=self.now):
                return
        self.barred.add(ERASED)
        for name in LISTS:
            self.end(ERASED, name)
            self.left[ERASED, name] = self.step

    @rule(days=st.sampled_from([0, 1, 9, 31]))
    def wait(self, days: int) -> None:
        self.step += 1
        self.now += timedelta(days=days, hours=1)
        with self.store.write() as connection:
            subscribers.expire_reconfirmations(connection, self.now)
        for key, until in list(self.asked_until.items()):
            if until <= self.now:
                self.end(*key)
                self.lapsed.add(key)
        delete_expired(self.store, self.newsroom.keep, self.now)
        self.deliver()

    @invariant()
    def only_who_agreed_is_mailed(self) -> None:
        mailed: set[Key] = set()
        with self.store.read() as connection:
            rows = connection.execute(select(t.subscribers.c.id, t.subscribers.c.address))
            people = {row.id: row.address for row in rows}
            for name in LISTS:
                readers = subscribers.readers(connection, name, None)
                mailed |= {(people[reader.subscriber], name) for reader in readers if reader.skip_reason is None}
        wanted = {key for key, agreed in self.agreed.items() if agreed and key[0] not in self.barred}
        assert mailed == wanted, (mailed - wanted, wanted - mailed)

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        with self.store.read() as connection:
            d = t.deliveries.c
            waits = d.state.in_(("pending", "leased", "deferred", "handed"))
            stuck = connection.execute(select(d.id, d.purpose).where(waits)).all()
            assert not stuck or (self.composed and {row.purpose for row in stuck} == {"edition"})


def _live(monkeypatch: pytest.MonkeyPatch, examples: int, steps: int, *phases: Phase) -> None:
    for limit in ("BY_CLIENT", "BY_SITE", "BY_MAILBOX", "BY_DOMAIN", "MAILBOX_A_DAY"):
        monkeypatch.setattr(reader_actions, limit, 10**9)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate, *phases),
    )
    run_state_machine_as_test(ReadersLife, settings=chosen)


def test_leaving_elsewhere_counts_also_after_a_bounce() -> None:
    """The import passed over them as suppressed. Once a person lifted the bounce, they were mailed again."""
    life = ReadersLife()
    life.import_file(ADA, "press", "confirmed")
    life.bounce(ADA, "press", False)
    life.import_file(ADA, "press", "unsubscribed")
    life.lift(ADA)
    life.only_who_agreed_is_mailed()
    life.teardown()


def test_a_readers_life_in_some_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow test shortens a failing sequence."""
    _live(monkeypatch, 8, 25)


@pytest.mark.slow
def test_a_readers_life_in_many_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    _live(monkeypatch, 60, 40, Phase.shrink)
