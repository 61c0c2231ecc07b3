"""Feedback has an effect once, for the right reader only, and only if it proves to be about a mail of ours."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.fixtures.items import make_newsroom
from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, rows
from tidings.config.bounces import Bounces, SoftBounces
from tidings.model.errors import RefusedError
from tidings.model.tokens import TokenKeys, TokenPurpose
from tidings.pipeline.compose.mail import message_id_local_part
from tidings.pipeline.track.bounces import act_on_refusals
from tidings.pipeline.track.events import FeedbackResult
from tidings.pipeline.track.incoming_mail import receive_message
from tidings.pipeline.track.leaving_mail import LeavingAddresses
from tidings.runtime.explain import explain
from tidings.store import schema as t
from tidings.store.delivery import refusals
from tidings.store.delivery.notices import unsent_notices
from tidings.store.engine import Store
from tidings.store.people import consent, feedback, subscribers

FOLDER = Path(__file__).parent / "returns"
DAY = timedelta(days=1)
SOFT_LIMIT = SoftBounces(days=3, within=timedelta(days=30))
KEYS = TokenKeys({1: b"k" * 32})
ADA = "ada@example.org"
ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For rules that do not depend on the database."""


@pytest.fixture
def ada(store: Store) -> int:
    """Add Ada on `digest` and `press`, with one accepted mail of `digest` (delivery 1). Returns her id."""
    readers = add_readers(store, ["ada", "eve"])
    with store.write() as connection:
        subscribers.add(
            connection, ADA, "press", language="en", frequency="weekly", now=NOW, confirmed=True, source="test"
        )
    add_mailing(store, {"ada": readers["ada"]}, add_edition(store))
    _accepted(store)
    return readers["ada"]


def _accepted(store: Store) -> None:
    with store.write() as connection:
        connection.execute(update(t.deliveries).values(state="accepted"))


def _hear(store: Store, sample: str, to: str = "", *, now: Any = NOW, raw: bytes = b"") -> FeedbackResult:
    return receive_message(
        store,
        KEYS,
        raw or (FOLDER / f"{sample}.eml").read_bytes().replace(b"ada@example.net", ADA.encode()),
        recipients=[to] if to else [],
        rules=Bounces(soft=SOFT_LIMIT),
        via="lmtp",
        now=now,
        present_name=lambda name: {"news": "digest"}.get(name, name),
    )


def _path(delivery: int) -> str:
    return KEYS.make_return_path_signer("bounces@example.org")(delivery)


def _lists(store: Store, address: str = ADA) -> dict[str, str]:
    with store.read() as connection:
        return {
            subscription.list: subscription.state
            for subscription in subscribers.subscriptions(connection, address=address)
        }


def _suppressed(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return {row.list: row.reason for row in connection.execute(select(t.suppressions))}


def _count(store: Store, table: Any) -> int:
    with store.read() as connection:
        return len(connection.execute(select(table)).all())


def test_an_unknown_mailbox_leaves_every_list_at_once(store: Store, ada: int) -> None:
    with store.read() as connection:
        before = consent.version(connection)
    assert _hear(store, "postfix-unknown", _path(1).upper()) == FeedbackResult("hard")
    assert _lists(store) == {"digest": "unsubscribed", "press": "unsubscribed"}
    assert _lists(store, "eve@example.org") == {"digest": "confirmed"}
    assert _suppressed(store) == {"": "hard"}
    assert rows(store)[0]["returned"] == "hard"
    with store.read() as connection:
        assert consent.version(connection) > before
        consents = subscribers.consents_of(connection, ADA)
        [event] = feedback.of_deliveries(connection, [1])[1]
    assert sorted(row[1:] for row in consents if row[2] == "returned") == [
        ("digest", "returned", "hard, heard by lmtp"),
        ("press", "returned", "hard, heard by lmtp"),
    ]
    assert (event.kind, event.code, event.via) == ("hard", "5.1.1", "lmtp")
    assert "User unknown" in event.text
    assert "@" not in event.text


@ONE
def test_an_import_or_erasure_keeps_the_suppression(store: Store, ada: int) -> None:
    _hear(store, "postfix-unknown", _path(1))
    with store.write() as connection:
        again = subscribers.add(connection, ADA, "digest", language="en", frequency="weekly", now=NOW, confirmed=True)
        assert again == "suppressed"
        subscribers.erase(connection, ada, now=NOW)
        again = subscribers.add(connection, ADA, "digest", language="en", frequency="weekly", now=NOW, confirmed=True)
        assert again == "suppressed"
        [row] = connection.execute(select(t.feedback)).all()
        assert (row.address_hash, row.text, row.kind) == ("", "", "hard")


def _lift(store: Store, list_name: str = "") -> list[str]:
    with store.write() as connection:
        return feedback.lift_suppressions(connection, consent.address_hash(ADA), list_name, "she rang (op)", NOW + DAY)


def test_a_wrong_hard_bounce_can_be_lifted(store: Store, ada: int) -> None:
    with store.write() as connection:
        subscribers.unsubscribe(connection, ada, "press", source="link", now=NOW)
    _hear(store, "postfix-unknown", _path(1))
    assert _lists(store) == {"digest": "unsubscribed", "press": "unsubscribed"}
    assert _lift(store) == ["digest"]
    # A person who left a list themselves stays away from it.
    assert _lists(store) == {"digest": "confirmed", "press": "unsubscribed"}
    assert _suppressed(store) == {"press": "unsubscribed"}
    with store.read() as connection:
        assert subscribers.consents_of(connection, ADA)[-1][1:] == ("", "lifted", "she rang (op)")
        assert next(reader.mark for reader in subscribers.readers(connection, "digest", None)) == 1
    # The same report a second time is ignored, and nothing is left to lift.
    assert _hear(store, "postfix-unknown", _path(1)) == FeedbackResult("known")
    with pytest.raises(RefusedError, match="list press: they unsubscribed"):
        _lift(store)
    with pytest.raises(RefusedError, match="has no suppression"):
        _lift(store, "digest")


@ONE
@pytest.mark.parametrize("complained", [True, False])
def test_other_suppressions_cannot_be_lifted(store: Store, ada: int, complained: bool) -> None:
    with store.write() as connection:
        whom = feedback.Recipient(consent.address_hash(ADA), "digest", ada)
        feedback.suppress_recipient(connection, whom, "digest", "hard", "lmtp", NOW)
    # They may complain about an earlier mail, or leave by its link, after a bounce said that the mailbox is gone.
    if complained:
        _hear(store, "arf-yahoo", _path(1))
        refusal = "list digest: they complained"
    else:
        with store.write() as connection:
            subscribers.unsubscribe(connection, ada, "digest", source="link", now=NOW)
        refusal = "list digest: they unsubscribed"
    with pytest.raises(RefusedError, match=refusal):
        _lift(store)
    assert _lists(store)["digest"] == "unsubscribed"
    with store.write() as connection:
        # A provider's report that they left counts as their own decision, also after a hard bounce.
        consent.suppress(connection, consent.address_hash(ADA), "", "hard", NOW)
        consent.suppress(connection, consent.address_hash(ADA), "", "unsubscribed", NOW)
    with pytest.raises(RefusedError, match="every list: they unsubscribed"):
        _lift(store)
    with store.write() as connection:
        subscribers.erase(connection, ada, now=NOW)
    with pytest.raises(RefusedError, match="every list: they were erased"):
        _lift(store)


def test_feedback_that_comes_twice_counts_once(store: Store, ada: int) -> None:
    assert _hear(store, "postfix-full", _path(1)) == FeedbackResult("soft")
    assert _hear(store, "zimbra-quota", _path(1), now=NOW + DAY) == FeedbackResult("known")
    assert _count(store, t.feedback) == 1
    # A worse result for the same mail counts.
    assert _hear(store, "postfix-unknown", _path(1)) == FeedbackResult("hard")
    assert _hear(store, "arf-yahoo", _path(1)) == FeedbackResult("complaint")
    assert _hear(store, "postfix-unknown", _path(1)) == FeedbackResult("known")
    assert rows(store)[0]["returned"] == "complaint"
    assert _count(store, t.feedback) == 3


@ONE
def test_explain_shows_feedback(store: Store, ada: int) -> None:
    _hear(store, "postfix-unknown", _path(1))
    newsroom = make_newsroom(Path())
    with store.read() as connection:
        lines = explain(connection, newsroom, ADA, None, lambda moment: moment.date().isoformat())
    assert "came back: hard 5.1.1, reported by lmtp at 2026-11-20: 550 5.1.1 <[address]>" in lines[2]
    assert lines[3].startswith("All lists have sent them nothing since 2026-11-20: the address does not exist")


@ONE
def test_an_unexplained_refusal_suppresses_nobody(store: Store, ada: int) -> None:
    assert _hear(store, "opaque", _path(1)) == FeedbackResult("blocked")
    assert set(_lists(store).values()) == {"confirmed"}
    assert _suppressed(store) == {}


def test_soft_bounces_on_too_many_days_suppress(store: Store, ada: int) -> None:
    for number in range(2, 8):
        add_mailing(store, {"ada": ada}, add_edition(store, number))
    _accepted(store)
    moments = [NOW - 40 * DAY, NOW, NOW + timedelta(minutes=5), NOW + DAY]
    for delivery, moment in enumerate(moments, 1):
        assert _hear(store, "postfix-full", _path(delivery), now=moment) == FeedbackResult("soft")
    assert _lists(store) == {"digest": "confirmed", "press": "confirmed"}
    assert _suppressed(store) == {}
    assert _hear(store, "qmail-full", _path(5), now=NOW + 2 * DAY) == FeedbackResult("soft")
    assert _lists(store) == {"digest": "unsubscribed", "press": "confirmed"}
    assert _suppressed(store) == {"digest": "soft"}


@ONE
def test_blocked_mail_suppresses_nobody_and_notifies(store: Store, ada: int) -> None:
    for number in range(2, 8):
        add_mailing(store, {"ada": ada}, add_edition(store, number))
    _accepted(store)
    for delivery in range(1, 7):
        assert _hear(store, "gmail-unauthenticated", _path(delivery), now=NOW + delivery * DAY) == FeedbackResult(
            "blocked"
        )
    assert set(_lists(store).values()) == {"confirmed"}
    assert rows(store)[0]["returned"] == "soft"
    assert _count(store, t.notices) == 6


@ONE
def test_a_complaint_suppresses_and_notifies(store: Store, ada: int) -> None:
    assert _hear(store, "arf-mailru", _path(1)) == FeedbackResult("complaint")
    assert _lists(store) == {"digest": "unsubscribed", "press": "confirmed"}
    with store.read() as connection:
        [notice] = connection.execute(select(t.notices)).all()
    assert "list digest" in notice.text
    assert "delivery 1" in notice.text
    assert "@" not in notice.text


def _copied(subscriber: int, list_name: str, message_id: str = "") -> bytes:
    """A complaint to another address than the return path, with the original header in it."""
    raw = (FOLDER / "arf-redacted.eml").read_bytes()
    token = KEYS.sign(TokenPurpose.UNSUBSCRIBE, subscriber, list_name).encode()
    old = raw.partition(b"/unsubscribe/")[2].partition(b">")[0]
    return raw.replace(old, token).replace(b"0123456789abcdef0123456789abcdef", message_id.encode() or b"0" * 32)


def test_the_unsubscribe_link_proves_a_complaint(store: Store, ada: int) -> None:
    with store.read() as connection:
        [sent] = feedback.recent_mails(connection, ada, "digest")
    # The list was called `news` when the mail was sent.
    assert _hear(store, "", raw=_copied(ada, "news", message_id_local_part(sent.key).decode())) == FeedbackResult(
        "complaint"
    )
    assert rows(store)[0]["returned"] == "complaint"
    assert _suppressed(store) == {"digest": "complaint"}


@ONE
def test_a_complaint_about_a_deleted_delivery_counts(store: Store, ada: int) -> None:
    assert _hear(store, "", raw=_copied(ada, "press")) == FeedbackResult("complaint")
    assert _hear(store, "", raw=_copied(ada, "press")) == FeedbackResult("known")
    assert _suppressed(store) == {"press": "complaint"}
    assert rows(store)[0]["returned"] == ""


@ONE
@pytest.mark.parametrize("sample", ["postfix-unknown", "arf-yahoo", "qmail-unknown", "exim-unrouteable"])
def test_a_forged_report_changes_nothing(store: Store, ada: int, sample: str) -> None:
    raw = (FOLDER / f"{sample}.eml").read_bytes().replace(b"ada@example.net", ADA.encode())
    other = TokenKeys({1: b"x" * 32})
    token = _path(1).partition("+")[2].partition("@")[0]
    forged = [
        "",
        "bounces@example.org",
        other.make_return_path_signer("bounces@example.org")(1),
        f"bounces+{token[:-1]}{'a' if token[-1] != 'a' else 'b'}@example.org",
        f"bounces+{KEYS.sign(TokenPurpose.UNSUBSCRIBE, ada, 'digest')}@example.org",
    ]
    for to in forged:
        assert _hear(store, "", to, raw=raw).kind == "nothing"
    way_out = other.sign(TokenPurpose.UNSUBSCRIBE, ada, "digest").encode()
    old = raw.partition(b"/unsubscribe/")[2].partition(b">")[0]
    assert _hear(store, "", raw=raw.replace(old, way_out)).kind == "nothing"
    assert set(_lists(store).values()) == {"confirmed"}
    assert _count(store, t.suppressions) == _count(store, t.feedback) == 0


@ONE
@pytest.mark.parametrize("sample", ["office-ru", "office-exchange", "postfix-delayed", "person", "arf-not-spam"])
def test_other_mail_to_a_return_path_changes_nothing(store: Store, ada: int, sample: str) -> None:
    assert _hear(store, sample, _path(1)).kind == "nothing"
    assert _count(store, t.suppressions) == _count(store, t.feedback) == 0


@ONE
def test_a_bounced_notice_suppresses_nobody(store: Store, ada: int) -> None:
    with store.write() as connection:
        connection.execute(update(t.deliveries).values(purpose="notice", list=""))
    assert _hear(store, "postfix-unknown", _path(1)) == FeedbackResult("hard")
    assert rows(store)[0]["returned"] == "hard"
    assert _suppressed(store) == {}


@ONE
def test_a_bounce_of_a_deleted_delivery_is_no_error(store: Store, ada: int) -> None:
    assert _hear(store, "postfix-unknown", _path(999)).kind == "nothing"


REASONS = {
    "550 5.1.1 <ada@example.org>: no such user (RCPT)": ({"": "hard"}, "hard"),
    "550 go away (RCPT)": ({}, "blocked"),
    "550 <relay@policy.example>: Recipient address rejected (RCPT)": ({}, "blocked"),
    "550 go away (end of message)": ({}, "blocked"),
    "554 5.7.1 Spam message rejected (end of message)": ({}, "blocked"),
    "relay does not offer SMTPUTF8 (RFC 6531), which this address needs": ({}, None),
}


@ONE
@pytest.mark.parametrize(("reason", "expected"), REASONS.items(), ids=REASONS)
def test_a_session_refusal_counts_like_a_bounce(store: Store, ada: int, reason: str, expected: Any) -> None:
    with store.write() as connection:
        connection.execute(update(t.deliveries).values(state="rejected", reason=reason))
    suppressed, kind = expected
    assert act_on_refusals(store, Bounces(soft=SOFT_LIMIT), NOW + timedelta(hours=1)) == (1 if kind else 0)
    assert act_on_refusals(store, Bounces(soft=SOFT_LIMIT), NOW + timedelta(hours=2)) == 0
    assert _suppressed(store) == suppressed
    with store.read() as connection:
        assert connection.execute(select(t.feedback.c.kind)).scalars().all() == ([kind] if kind else [])
    # The ledger has the refusal already: `returned` is only for mail that was accepted first.
    assert rows(store)[0]["returned"] == ""


def test_session_refusals_are_read_in_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_PAGE", 2)
    readers = add_readers(store, [f"r{number}" for number in range(7)])
    add_mailing(store, readers, add_edition(store))
    with store.write() as connection:
        connection.execute(update(t.deliveries).values(state="rejected", reason="550 5.1.1 unknown (RCPT)"))
        connection.execute(
            insert(t.feedback).values(
                key="x", delivery=3, address_hash="", list="", kind="hard", code="", text="", via="", at=NOW
            )
        )
    pages = []
    after = 0
    with store.read() as connection:
        while page := refusals.find_refused(connection, NOW - DAY, after):
            pages.append([one.id for one in page])
            after = page[-1].id
    assert pages == [[1, 2], [4, 5], [6, 7]]
    assert act_on_refusals(store, Bounces(soft=SOFT_LIMIT), NOW) == 6


@pytest.mark.parametrize(
    "subject",
    ["unsubscribe {}", "Unsubscribe  {}", "Re: unsubscribe {} (sent from my phone)", "=?utf-8?q?unsubscribe_{}?="],
)
@ONE
def test_unsubscribing_by_mail_works(store: Store, ada: int, subject: str) -> None:
    token = KEYS.sign(TokenPurpose.UNSUBSCRIBE, ada, "news")
    raw = f"From: Ada <ada@example.org>\r\nSubject: {subject.format(token)}\r\n\r\n\r\n".encode()
    assert _hear(store, "", "leave@example.org", raw=raw) == FeedbackResult("left")
    assert _lists(store) == {"digest": "unsubscribed", "press": "confirmed"}
    assert _hear(store, "", "leave@example.org", raw=raw) == FeedbackResult("known")


LEAVING = LeavingAddresses({"leave@example.org": ["digest"]}, "mx.example.org")


def _leave(store: Store, head: str, text: str = "Please.", to: str = "leave@example.org") -> FeedbackResult:
    raw = f"{head}\r\n\r\n{text}\r\n".encode()
    return receive_message(
        store,
        KEYS,
        raw,
        recipients=[to] if to else [],
        rules=Bounces(soft=SOFT_LIMIT),
        via="lmtp",
        now=NOW,
        leaving=LEAVING,
    )


def _notices(store: Store) -> list[str]:
    with store.read() as connection:
        return [notice.text for notice in unsent_notices(connection)]


@pytest.mark.parametrize("subject", ["Subject: unsubscribe\r\n", "", "Subject: =?utf-8?q?=D0=9E=D1=82?=\r\n"])
@ONE
def test_a_hand_written_mail_to_leave_is_seen(store: Store, ada: int, subject: str) -> None:
    """It was answered `250 ignored`, and nobody read it."""
    assert _leave(store, f"{subject}From: Ada <{ADA}>").kind == "shown"
    assert _leave(store, f"{subject}From: Ada <{ADA}>").is_feedback
    assert _lists(store) == {"digest": "confirmed", "press": "confirmed"}
    [text] = _notices(store)
    assert f"tidings subscribers remove {ADA} --list digest" in text
    assert _leave(store, f"{subject}From: <other@example.org>\r\nTo: Leave@Example.org", to="").kind == "shown"
    assert any("other@example.org" in text for text in _notices(store))


@pytest.mark.parametrize(
    ("results", "proved"),
    [
        ("mx.example.org; dmarc=pass (p=none) header.from=example.org", True),
        ("mx.example.org 1; spf=pass smtp.mailfrom=x.org; dkim=pass header.d=example.org header.s=a", True),
        ("mx.example.org; dkim=pass header.i=@example.org", True),
        ("mx.example.org; dkim=pass header.d=org", False),
        ("mx.example.org; dkim=pass header.d=mple.org", False),
        ("mx.example.org; dmarc=fail header.from=example.org; dkim=fail header.d=example.org", False),
        ("mx.example.org; dmarc=pass header.from=evil.org", False),
        ("mx.example.org; spf=pass smtp.mailfrom=example.org", False),
        ("mx.evil.org; dmarc=pass header.from=example.org", False),
        ("mx.evil.org (mx.example.org;); dmarc=pass header.from=example.org", False),
        ("mx.example.org; none\r\nAuthentication-Results: mx.example.org; dmarc=pass header.from=example.org", False),
    ],
)
@ONE
def test_only_a_proved_sender_leaves_by_any_mail(store: Store, ada: int, results: str, proved: bool) -> None:
    result = _leave(store, f"Authentication-Results: {results}\r\nFrom: {ADA}\r\nSubject: bye")
    assert result.kind == ("left" if proved else "shown")
    assert _lists(store) == {"digest": "unsubscribed" if proved else "confirmed", "press": "confirmed"}


@ONE
def test_an_answer_to_leave_with_the_link_leaves(store: Store, ada: int) -> None:
    link = f"> https://news.example.org/unsubscribe/{KEYS.sign(TokenPurpose.UNSUBSCRIBE, ada, 'digest')}"
    assert _leave(store, "From: ada@work.example\r\nSubject: Re: News", link).kind == "left"
    assert _lists(store) == {"digest": "unsubscribed", "press": "confirmed"}


@ONE
def test_an_automatic_reply_to_leave_is_no_wish(store: Store, ada: int) -> None:
    head = f"Authentication-Results: mx.example.org; dmarc=pass header.from=example.org\r\nFrom: {ADA}\r\n"
    assert _leave(store, head + "Auto-Submitted: auto-replied\r\nSubject: Out of office").kind == "nothing"
    assert _lists(store) == {"digest": "confirmed", "press": "confirmed"} and _notices(store) == []


@ONE
def test_a_forwarded_mail_proves_leaving_one_list_only(store: Store, ada: int) -> None:
    """Otherwise anybody with such a token could forge a bounce that suppresses its reader on all lists."""
    link = f"https://news.example.org/unsubscribe/{KEYS.sign(TokenPurpose.UNSUBSCRIBE, ada, 'digest')}"
    raw = (FOLDER / "postfix-unknown.eml").read_bytes().replace(b"ada@example.net", ADA.encode())
    raw = re.sub(rb"\+[A-Za-z2-7]{24}@", b"@", raw) + f"\r\nList-Unsubscribe: <{link}>\r\n".encode()
    assert _hear(store, "", "bounces@example.org", raw=raw).kind == "hard"
    assert _lists(store) == {"digest": "unsubscribed", "press": "confirmed"}
    assert _suppressed(store) == {"digest": "unsubscribed"}


@ONE
def test_a_forged_unsubscribe_mail_changes_nothing(store: Store, ada: int) -> None:
    token = KEYS.sign(TokenPurpose.UNSUBSCRIBE, ada, "digest")
    wrong = [
        f"Subject: unsubscribe {token[:-1]}{'A' if token[-1] != 'A' else 'B'}",
        f"Subject: unsubscribe {KEYS.sign(TokenPurpose.PREFERENCES, ada, 'digest')}",
        f"Subject: unsubscribe {KEYS.sign(TokenPurpose.UNSUBSCRIBE, 0, 'digest')}",
        f"Subject: News\r\nList-Unsubscribe: <mailto:leave@example.org?subject=unsubscribe%20{token}>",
        "Subject: =?nonsense?b?////?= unsubscribe",
        "From: ada@example.org\r\nSubject: unsubscribe",
    ]
    for header in wrong:
        assert _hear(store, "", "leave@example.org", raw=f"{header}\r\n\r\n".encode()).kind == "nothing", header
    assert _lists(store) == {"digest": "confirmed", "press": "confirmed"}
