"""Members, links, sessions and the log, on both databases."""

from __future__ import annotations

from datetime import timedelta

from tests.fixtures.ledger import NOW
from tidings.store.engine import Store
from tidings.store.people import subscribers, team
from tidings.store.people.team import Role

DAY = timedelta(days=1)


def test_a_link_is_used_once_and_ends_old_sessions(store: Store) -> None:
    with store.write() as connection:
        member = team.add_member(connection, "Dana@example.org", Role.EDITOR, ["digest"], NOW)
        assert member is not None
        assert team.add_member(connection, "dana@EXAMPLE.org", Role.ADMIN, (), NOW) is None
        team.start_session(connection, member, "old", "a browser", NOW)
        team.set_link(connection, member, "hash", NOW + DAY)
        assert team.find_by_link(connection, "hash", NOW + 2 * DAY) is None
        assert team.use_link(connection, "hash", password="p", totp="s", step=7, now=NOW) == member
        assert team.use_link(connection, "hash", password="q", totp="s", step=7, now=NOW) is None
        assert team.find_session(connection, "old", NOW) is None
        dana = team.find_member(connection, "dana@example.org")
    assert dana is not None and (dana.role, dana.lists, dana.has_password) == (Role.EDITOR, ("digest",), True)


def test_a_step_of_the_code_is_used_once(store: Store) -> None:
    with store.write() as connection:
        member = team.add_member(connection, "dana@example.org", Role.ADMIN, (), NOW)
        assert member is not None
        assert team.use_step(connection, member, 5)
        assert not team.use_step(connection, member, 5)
        assert not team.use_step(connection, member, 4)
        assert team.use_step(connection, member, 6)


def test_sessions_end_by_age_and_by_silence(store: Store) -> None:
    with store.write() as connection:
        member = team.add_member(connection, "dana@example.org", Role.VIEWER, (), NOW)
        assert member is not None
        team.start_session(connection, member, "t", "b", NOW)
        assert team.find_session(connection, "t", NOW + 6 * DAY) is not None
        assert team.find_session(connection, "t", NOW + 8 * DAY) is None
        for day in range(1, 40):
            team.touch_session(connection, "t", NOW + day * DAY)
        assert team.find_session(connection, "t", NOW + 31 * DAY) is None
        team.start_session(connection, member, "u", "b", NOW + 31 * DAY)
        assert [session.token for session in team.sessions_of(connection, member)] == ["u"]
        assert team.count_sessions(connection) == {member: 1}
        team.remove_member(connection, member)
        assert team.count_sessions(connection) == {}


def test_erasing_a_subscriber_keeps_the_colleague(store: Store) -> None:
    with store.write() as connection:
        team.add_member(connection, "dana@example.org", Role.ADMIN, (), NOW)
        subscribers.add(connection, "dana@example.org", "digest", language="en", frequency="daily", now=NOW)
        number = subscribers.find_id(connection, "dana@example.org")
        assert number is not None
        subscribers.erase(connection, number, now=NOW)
        assert team.find_member(connection, "dana@example.org") is not None


def test_the_log_is_read_newest_first_and_by_kind(store: Store) -> None:
    with store.write() as connection:
        for number in range(3):
            team.record_action(connection, "story.saved", f"s{number}", who="a", via="room", now=NOW)
        team.record_action(connection, "team.added", "b", who="c", via="command", now=NOW, details="viewer")
        assert [entry.about for entry in team.log_entries(connection)] == ["b", "s2", "s1", "s0"]
        newest = team.log_entries(connection, kinds=["story"], most=1)[0]
        assert [entry.about for entry in team.log_entries(connection, before=newest.id)] == ["s1", "s0"]
        assert [entry.about for entry in team.log_entries(connection, who="c", kinds=["team"])] == ["b"]
