"""Unsubscribing and claiming lock one row: whichever comes first, nobody who has left is mailed afterwards."""

from __future__ import annotations

import gc
import re
import threading
from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert, select

from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers
from tidings.model.delivery import SkipReason
from tidings.model.errors import InputError
from tidings.store import schema as t
from tidings.store.delivery import claims
from tidings.store.engine import Store
from tidings.store.people import consent, subscribers
from tidings.store.people.erasure import erase_address


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (" Ada@Example.ORG ", "Ada@example.org"),
        ("ada@münchen.example", "ada@xn--mnchen-3ya.example"),
        ("ada@straße.example", "ada@xn--strae-oqa.example"),
        ("жібек@пример.рф", "жібек@xn--e1afmkfd.xn--p1ai"),
        ("o'neil+news@example.org", "o'neil+news@example.org"),
        ("e\u0301@example.org", "\u00e9@example.org"),
        (f"{'a' * 64}@example.org", f"{'a' * 64}@example.org"),
    ],
)
def test_an_address_is_stored_in_one_way(given: str, stored: str) -> None:
    assert consent.normal_address(given) == stored


@pytest.mark.parametrize(
    "given",
    [
        *("", "ada", "@example.org", "ada@", "a b@example.org", "ada@exa mple.org", "ada@-x.org", "ada@x..org"),
        *("ada@x,org", "ada\r\nBcc: x@example.org", "a\0da@example.org", "<ada@example.org>", '"a b"@example.org'),
        *("a@b@example.org", ".a@example.org", "a.@example.org", "a..b@example.org", f"{'a' * 65}@example.org"),
        *(f"{'ж' * 33}@example.org", f"a@{'b' * 64}.org", f"a@{'b.' * 126}org", f"a@{'bb.' * 84}org"),
    ],
)
def test_an_invalid_address_is_refused(given: str) -> None:
    with pytest.raises(InputError):
        consent.normal_address(given)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("\u200bbob@example.org", "U+200B ZERO WIDTH SPACE"),
        ("bob\u00ad@example.org", "U+00AD SOFT HYPHEN"),
        ("bob@exam\u200dple.org", "U+200D ZERO WIDTH JOINER"),
        ("\ufeffbob@example.org", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("b\u3164ob@example.org", "U+3164 HANGUL FILLER"),
        ("bo\u2060b@example.org", "U+2060 WORD JOINER"),
        ("bob\u202e@example.org", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("bob\ufe0f@example.org", "U+FE0F VARIATION SELECTOR-16"),
        ("bоb@example.org", "U+043E CYRILLIC SMALL LETTER O, among Latin letters"),
        ("ivаn.smith@example.org", "U+0430 CYRILLIC SMALL LETTER A, among Latin letters"),
        ("иvан@example.org", "U+0076 LATIN SMALL LETTER V, among Cyrillic letters"),
        ("bob@exаmple.org", "U+0430 CYRILLIC SMALL LETTER A, among Latin letters"),
        ("bob@xn--exmple-4nf.org", "U+0430 CYRILLIC SMALL LETTER A, among Latin letters"),
        ("αlpha@example.org", "U+03B1 GREEK SMALL LETTER ALPHA, among Latin letters"),
        ("ｂob@example.org", "U+FF42 FULLWIDTH LATIN SMALL LETTER B, written for 'b'"),
    ],
)
def test_a_character_that_deceives_is_named(given: str, name: str) -> None:
    """`U+200B` before the address of a person who had left brought them back."""
    with pytest.raises(InputError, match=re.escape(name)):
        consent.normal_address(given)


@pytest.mark.parametrize(
    "given",
    [
        "иван@example.org",
        "жібек@пример.рф",
        "ivan@пример.рф",
        "山田taro@example.jp",
        "josé@example.org",
        "علي@example.org",
    ],
)
def test_an_address_in_one_script_is_accepted(given: str) -> None:
    assert consent.normal_address(given).partition("@")[0] == given.partition("@")[0]


def test_an_odd_address_of_an_older_version_can_be_erased(store: Store) -> None:
    odd = "b\u043eb@example.org"
    with store.write() as connection:
        row = {"address": odd, "address_hash": consent.hash_normal_address(odd), "name": "", "language": "en"}
        connection.execute(insert(t.subscribers).values(created=NOW, **row))
    with store.write() as connection:
        assert erase_address(connection, odd, now=NOW)
        assert connection.execute(select(t.subscribers.c.id)).all() == []


def test_the_hash_is_the_same_for_every_spelling() -> None:
    assert consent.address_hash("Ada@Example.org") == consent.address_hash("ada@example.ORG")
    assert consent.address_hash("ada@münchen.example") == consent.address_hash("ADA@xn--mnchen-3ya.example")
    assert consent.address_hash("ada@example.org") != consent.address_hash("ida@example.org")


def test_the_first_reason_stays_and_each_change_is_counted(store: Store) -> None:
    digest = consent.address_hash("ada@example.org")
    with store.write() as connection:
        assert consent.version(connection) == 0
        assert consent.suppress(connection, digest, "digest", "unsubscribed", NOW)
        assert not consent.suppress(connection, digest, "digest", "hard", NOW)
    with store.read() as connection:
        assert consent.suppression(connection, digest, "digest") == "unsubscribed"
        assert consent.suppression(connection, digest, "alerts") is None
        assert consent.version(connection) == 2
    with store.write() as connection:
        consent.suppress(connection, digest, "", "complaint", NOW)
        assert consent.suppression(connection, digest, "alerts") == "complaint"


def test_suppressing_many_counts_the_new_ones(store: Store) -> None:
    hashes = [consent.address_hash(f"r{number}@example.org") for number in range(100)]
    with store.write() as connection:
        consent.suppress(connection, hashes[7], "digest", "hard", NOW)
        assert consent.suppress_all(connection, hashes, "digest", "unsubscribed", NOW) == 99


def _claim(connection: Connection) -> claims.Claim:
    until = NOW + timedelta(minutes=20)
    return claims.Claimant("me", "").claim(connection, 5, now=NOW, real_now=NOW, until=until)


def _leave(store: Store, subscriber: int) -> None:
    with store.write() as connection:
        subscribers.unsubscribe(connection, subscriber, "digest", source="test", now=NOW)


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_reader_who_leaves_first_is_not_claimed(store: Store, seen_before: bool) -> None:
    readers = add_readers(store, ["ada"])
    if seen_before:
        # Otherwise making the row would already take the lock.
        with store.write() as connection:
            consent.lock(connection, [consent.address_hash("ada@example.org")])
    add_mailing(store, readers, add_edition(store))
    holding, go_on = threading.Event(), threading.Event()

    def leave() -> None:
        with store.write() as connection:
            subscribers.unsubscribe(connection, readers["ada"], "digest", source="test", now=NOW)
            holding.set()
            go_on.wait(120)

    claimed: list[claims.Claim] = []

    def claim() -> None:
        with store.write() as connection:
            claimed.append(_claim(connection))

    leaving = threading.Thread(target=leave)
    leaving.start()
    assert holding.wait(120)
    claiming = threading.Thread(target=claim)
    claiming.start()
    # It waits for the unsubscription, though that has not committed anything yet.
    claiming.join(0.3)
    assert claiming.is_alive()
    go_on.set()
    leaving.join(120)
    claiming.join(120)
    assert claimed[0].deliveries == []
    assert [reason for _, reason in claimed[0].skipped] == [SkipReason.UNSUBSCRIBED]


@pytest.mark.parametrize("seen_before", [False, True])
def test_leaving_after_the_claim_stops_the_message(store: Store, seen_before: bool) -> None:
    readers = add_readers(store, ["ada"])
    if seen_before:
        # Otherwise making the row would already take the lock.
        with store.write() as connection:
            consent.lock(connection, [consent.address_hash("ada@example.org")])
    add_mailing(store, readers, add_edition(store))
    holding, go_on = threading.Event(), threading.Event()
    claimed: list[claims.Claim] = []

    def claim() -> None:
        with store.write() as connection:
            claimed.append(_claim(connection))
            holding.set()
            go_on.wait(120)

    claiming = threading.Thread(target=claim)
    claiming.start()
    assert holding.wait(120)
    leaving = threading.Thread(target=_leave, args=(store, readers["ada"]))
    leaving.start()
    leaving.join(0.3)
    # The unsubscription waits until the permission exists: only then can the permission be void.
    assert leaving.is_alive()
    go_on.set()
    claiming.join(120)
    assert len(claimed[0].deliveries) == 1
    leaving.join(120)
    with store.read() as connection:
        assert claims.recheck(connection, "me", claimed[0].deliveries)[0] == set()


def test_leaving_waits_for_another_change_of_the_person(store: Store) -> None:
    """A confirmation that is under way reads that nobody has left, and must not win over a later leaving."""
    digest = consent.address_hash("ada@example.org")
    order: list[str] = []

    def leave() -> None:
        with store.write() as connection:
            consent.suppress(connection, digest, "digest", subscribers.UNSUBSCRIBED, NOW)
        order.append("left")

    leaving = threading.Thread(target=leave)
    with store.write() as connection:
        consent.lock(connection, [digest])
        leaving.start()
        leaving.join(1)
        order.append("confirmed")
    leaving.join(60)
    assert order == ["confirmed", "left"]


def test_leaving_stops_no_other_readers_mail(store: Store) -> None:
    readers = add_readers(store, ["ada", "grace"])
    add_mailing(store, {"ada": readers["ada"]}, add_edition(store))
    with store.write() as connection:
        claim = _claim(connection)
    _leave(store, readers["grace"])
    with store.read() as connection:
        assert consent.version(connection) > claim.version
        allowed = {delivery.id for delivery in claim.deliveries}
        assert claims.recheck(connection, "me", claim.deliveries) == (allowed, consent.version(connection))


def test_claims_and_unsubscriptions_never_deadlock(store: Store) -> None:
    names = [f"r{number}" for number in range(20)]
    hashes = [consent.address_hash(f"{name}@example.org") for name in names]
    errors: list[Exception] = []

    def lock(order: list[str]) -> None:
        try:
            for _ in range(10):
                with store.write() as connection:
                    consent.lock(connection, order)
        except Exception as error:
            errors.append(error)

    orders = [hashes, hashes[::-1], hashes[10:] + hashes[:10]]
    threads = [threading.Thread(target=lock, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


@pytest.mark.parametrize(
    ("reason", "list_name", "purpose", "skipped"),
    [
        ("unsubscribed", "digest", "edition", SkipReason.UNSUBSCRIBED),
        ("hard", "", "edition", SkipReason.SUPPRESSED),
        ("erased", "", "edition", SkipReason.ERASED),
        ("unsubscribed", "alerts", "edition", None),
        # Their own new request: a confirmation may go to a person who left, but not to one who complained.
        ("unsubscribed", "digest", "confirmation", None),
        ("complaint", "", "confirmation", SkipReason.SUPPRESSED),
    ],
)
def test_a_suppression_stops_the_right_mailings(
    store: Store, reason: str, list_name: str, purpose: str, skipped: SkipReason | None
) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store), purpose=purpose)
    with store.write() as connection:
        consent.suppress(connection, consent.address_hash("ada@example.org"), list_name, reason, NOW)
    with store.write() as connection:
        claim = _claim(connection)
    assert [why for _, why in claim.skipped] == ([skipped] if skipped else [])
    assert bool(claim.deliveries) == (skipped is None)


def test_an_unconfirmed_reader_gets_only_the_confirmation(store: Store) -> None:
    readers = add_readers(store, ["ada"], state="pending")
    add_mailing(store, readers, add_edition(store))
    with store.write() as connection:
        claim = _claim(connection)
    assert [why for _, why in claim.skipped] == [SkipReason.NOT_CONFIRMED]


def test_a_reader_erased_before_the_send_gets_nothing(store: Store) -> None:
    readers = add_readers(store, ["ada"])
    add_mailing(store, readers, add_edition(store))
    with store.write() as connection:
        subscribers.erase(connection, readers["ada"], now=NOW)
    with store.write() as connection:
        claim = _claim(connection)
    assert [why for _, why in claim.skipped] == [SkipReason.ERASED]


def test_taking_only_the_first_reader_leaves_no_cursor_open(store: Store) -> None:
    add_readers(store, [f"reader-{number}" for number in range(2_500)])  # more than two pages of rows
    with store.read() as connection:
        first = next(subscribers.subscriptions(connection))
    assert first.address == "reader-0@example.org"
    gc.collect()  # an open cursor would give a warning here, and a warning fails a test
