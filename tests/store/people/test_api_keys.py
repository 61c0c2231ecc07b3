"""Keys of the API, and answers of repeated requests, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.fixtures.ledger import NOW
from tidings.model.errors import InputError
from tidings.store.engine import Store
from tidings.store.people import api_keys, subscribers
from tidings.store.people.api_keys import ANSWER_AGE
from tidings.store.people.team import Role


def test_a_key_is_found_by_its_secret_until_it_is_removed(store: Store) -> None:
    with store.write() as connection:
        secret = api_keys.add_key(connection, "website", Role.EDITOR, ["press", "digest"], who="dana", now=NOW)
        assert secret is not None and secret.startswith("tdk_")
        assert api_keys.add_key(connection, "website", Role.VIEWER, [], who="dana", now=NOW) is None
        with pytest.raises(InputError, match="not a name for a key"):
            api_keys.add_key(connection, "My key", Role.VIEWER, [], who="dana", now=NOW)
        (key,) = api_keys.list_keys(connection)
        assert (key.name, key.role, key.lists, key.used) == ("website", Role.EDITOR, ("digest", "press"), None)
        assert api_keys.find_key(connection, secret) == key
        assert api_keys.find_key(connection, secret[:-1]) is None
        assert api_keys.is_stale(key, NOW)
        api_keys.touch_key(connection, key.id, NOW)
        (key,) = api_keys.list_keys(connection)
        assert not api_keys.is_stale(key, NOW + timedelta(minutes=5))
        assert api_keys.remove_key(connection, "website") and not api_keys.remove_key(connection, "website")
        assert api_keys.find_key(connection, secret) is None


def test_a_repeated_request_finds_the_first_answer_for_a_day(store: Store) -> None:
    with store.write() as connection:
        assert api_keys.begin_answer(connection, 1, "once", "request", NOW) is None
        assert api_keys.begin_answer(connection, 2, "once", "request", NOW) is None, "each key has its own names"
    with store.write() as connection:
        running = api_keys.begin_answer(connection, 1, "once", "request", NOW)
        assert running is not None and running.status is None
        api_keys.end_answer(connection, 1, "once", 201, "{}")
        stored = api_keys.begin_answer(connection, 1, "once", "other", NOW)
        assert stored is not None and (stored.request, stored.status, stored.body) == ("request", 201, "{}")
        api_keys.drop_answer(connection, 2, "once")
        assert api_keys.begin_answer(connection, 2, "once", "request", NOW) is None
        late = NOW + ANSWER_AGE + timedelta(seconds=1)
        assert api_keys.begin_answer(connection, 1, "once", "request", late) is None


def test_erasing_a_person_empties_the_answers_about_them(store: Store) -> None:
    with store.write() as connection:
        subscribers.add(connection, "a@example.org", "digest", language="en", frequency="weekly", now=NOW)
        number = subscribers.find_id(connection, "a@example.org")
        assert number is not None
        for name, body in (("mine", '{"address": "A@example.org"}'), ("other", '{"address": "b@example.org"}')):
            api_keys.begin_answer(connection, 1, name, "request", NOW)
            api_keys.end_answer(connection, 1, name, 201, body)
        subscribers.erase(connection, number, now=NOW)
        mine, other = (api_keys.begin_answer(connection, 1, name, "request", NOW) for name in ("mine", "other"))
    assert mine is not None and (mine.status, mine.body) == (410, "")
    assert other is not None and other.status == 201
