"""Each invariant fails on a journal that was changed to break it, and on no other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.invariants import BEATS, NOTED, Evidence, judge
from tests.faults.journal import Event

READERS = ("ann", "bob", "cat")


def _row(number: int, name: str, **values: Any) -> dict[str, Any]:
    return {
        "id": number, "edition": "daily/1", "target": f"list:digest:{number}", "channel": "", "address": name,
        "state": "accepted", "reason": "", "attempts": 1, "doubts": 0, "receipt": f"2.0.0 queued as Q{number}",
    } | values  # fmt: skip


def _said(number: int, name: str, *, c: int = 1, at: int = 0, **rcpt: Any) -> list[Event]:
    """One message on connection `c`, accepted as Q`number`."""
    return [
        {"t": at + 1, "e": "mail", "c": c},
        {"t": at + 2, "e": "rcpt", "c": c, "to": name, "say": "250", **rcpt},
        {"t": at + 4, "e": "body", "c": c, "to": name},
        {"t": at + 5, "e": "dot", "c": c, "to": name, "mid": f"<{name}>", "id": f"Q{number}", "taken": True,
         "fault": "", "size": 9},
    ]  # fmt: skip


def _post(identity: str, path: str = "/hook", story: str = "/en/story/") -> Event:
    return {"t": 1, "e": "post", "path": path, "id": identity, "taken": True, "fault": "", "about": [story]}


@pytest.fixture
def good() -> Evidence:
    """Three readers on one connection, a webhook and a Slack room, without a fault."""
    rows = [_row(number, name) for number, name in enumerate(READERS, 1)]
    rows.append(_row(4, "", target="channel:desk", channel="desk", receipt="msg_1"))
    rows.append(_row(5, "", target="channel:team", channel="team", receipt=""))
    return Evidence(
        rows=rows,
        waiting=frozenset(),
        counts={"accepted": 5},
        smtp=[event for number, name in enumerate(READERS, 1) for event in _said(number, name, at=number * 10)],
        http=[_post("msg_1"), _post("body", "/slack", "")],
        owed=frozenset(READERS),
        barred=frozenset({"dan"}),
        snapshots=[dict.fromkeys(range(1, 6), ("daily/1", "pending"))],
        slots=[("daily", "monday", "fired")],
        editions=[("daily/1", "monday", "done")],
        deaths=1,
        connections=2,
        intents=[(number * 10, None) for number in (1, 2, 3)],
        beats=2,
    )


def _broken(evidence: Evidence) -> list[str]:
    return sorted({line.partition(":")[0] for line in judge(evidence).broken})


def test_all_is_well(good: Evidence) -> None:
    verdict = judge(good)
    assert verdict.broken == []
    assert (verdict.messages, verdict.lost, verdict.doubled, verdict.posts) == (3, 0, 0, 2)


def _change(evidence: Evidence, number: int, **values: Any) -> None:
    row: Any = evidence.rows[number - 1]
    row.update(values)
    states = [row["state"] for row in evidence.rows]
    evidence.counts = {state: states.count(state) for state in states}


def _again(evidence: Evidence, *, doubts: int = 1, c: int = 2) -> None:
    """A second copy for cat, whose connection ended after the first one."""
    evidence.smtp = [*evidence.smtp, *_said(9, "cat", c=c, at=50, doubts=doubts)]


def test_a_double_that_was_in_doubt_is_allowed(good: Evidence) -> None:
    _again(good)
    _change(good, 3, doubts=1, receipt="queued as Q9")
    verdict = judge(good)
    assert verdict.broken == []
    assert (verdict.doubled, verdict.in_doubt) == (1, 1)


def test_a_delivery_in_doubt_is_not_lost(good: Evidence) -> None:
    _change(good, 3, state="in_doubt", doubts=2, receipt="")
    verdict = judge(good)
    assert verdict.broken == []
    assert verdict.waiting == 1


def _without_row(e: Evidence) -> None:
    e.rows = [row for row in e.rows if row["id"] != 3]
    e.counts = {"accepted": 4}
    e.smtp = [event for event in e.smtp if event.get("to") != "cat"]


def _skipped_without_cause(e: Evidence) -> None:
    _change(e, 3, state="skipped", reason="unsubscribed", receipt="")


def _going_on(e: Evidence) -> None:
    """In doubt, and it would be sent again: the round has not ended."""
    _change(e, 3, state="in_doubt")
    e.waiting = frozenset({3})


def _never_sent(e: Evidence) -> None:
    e.smtp = [event for event in e.smtp if event.get("to") != "cat"]


def _unknown_double(e: Evidence) -> None:
    _again(e, doubts=0)
    _change(e, 3, doubts=1, receipt="queued as Q9")


def _double_behind_its_back(e: Evidence) -> None:
    _again(e, doubts=1)
    _change(e, 3, receipt="queued as Q9")


def _double_of_an_old_message(e: Evidence) -> None:
    """Ann's connection continued, so her mail was complete when the process ended."""
    e.smtp = [*e.smtp, *_said(9, "ann", c=2, at=50, doubts=1)]
    _change(e, 1, doubts=1, receipt="queued as Q9")


def _double_without_a_death(e: Evidence) -> None:
    _again(e)
    _change(e, 3, doubts=1, receipt="queued as Q9")
    e.deaths = 0


def _two_message_ids(e: Evidence) -> None:
    other = copy.deepcopy(_said(9, "cat", c=2, at=50, doubts=1))
    other[-1]["mid"] = "<another>"
    e.smtp = [*e.smtp, *other]


def _after_leaving(e: Evidence) -> None:
    """Bob left while ann's message was being sent. His was the second message on that connection after he left."""
    e.left = [("bob", 9)]
    e.intents = [(10, None), (20, None), (30, None)]


def _intent_after_leaving(e: Evidence) -> None:
    """The only intent before its message, for a known delivery."""
    e.left = [("ann", 9 - NOTED)]
    e.intents = [(10, 1), (20, 2), (30, 3)]


def _wrong_receipt(e: Evidence) -> None:
    _change(e, 3, receipt="2.0.0 queued as Q1")


def _denied(e: Evidence) -> None:
    """The sink accepted the mail, and the ledger says that the reader was refused."""
    _change(e, 3, state="rejected", reason="550 no", receipt="")
    e.smtp = [*e.smtp, {"t": 90, "e": "rcpt", "c": 2, "to": "cat", "say": "550"}]


def _changed_after_its_end(e: Evidence) -> None:
    e.snapshots = [*e.snapshots, {3: ("daily/1", "rejected")}]


def _grown(e: Evidence) -> None:
    e.snapshots = [{1: ("daily/1", "pending")}]


def _miscounted(e: Evidence) -> None:
    e.counts = {"accepted": 6}


DOCTORED: list[tuple[Callable[[Evidence], None], str, str]] = [
    (_without_row, "I1", "cat was owed the edition and has no row"),
    (lambda e: _change(e, 3, state="pending", receipt=""), "I1 I4", "has not ended"),
    (
        lambda e: _change(e, 3, state="skipped", reason="unsubscribed", receipt=""),
        "I1 I2 I4",
        "did not get the edition",
    ),
    (_going_on, "I1", "has not ended"),
    (_grown, "I1", "was frozen with 1 rows"),
    (_never_sent, "I4", "has no receipt"),
    (_wrong_receipt, "I4", "has no receipt"),
    (_denied, "I4", "cat was mailed; the ledger says"),
    (_changed_after_its_end, "I4", "delivery 3 was rejected and became accepted"),
    (_miscounted, "I4", "counted"),
    (_unknown_double, "I2", "did not know it to be in doubt"),
    (_double_behind_its_back, "I2", "has 2 copies"),
    (_double_of_an_old_message, "I2", "connection 1 had gone on"),
    (_double_without_a_death, "I2", "at most 0 can have been on the wire"),
    (_two_message_ids, "I2 I4", "2 different messages of 1 deliveries"),
    (lambda e: setattr(e, "http", [*e.http, _post("msg_2")]), "I2", "the post /en/story/ came 2 times"),
    (lambda e: setattr(e, "http", [*e.http, _post("body", "/slack", "")]), "I2", "the post body came 2 times"),
    (lambda e: setattr(e, "http", e.http[1:]), "I4", "was never posted"),
    (lambda e: setattr(e, "barred", frozenset({"ann"})), "I3", "had left or never joined"),
    (_after_leaving, "I3", "a message to bob began after"),
    (_intent_after_leaving, "I3", "a message to ann began after"),
    (lambda e: setattr(e, "slots", [*e.slots, *e.slots]), "I5", "fired 2 times"),
    (lambda e: setattr(e, "slots", [("daily", "monday", "claimed")]), "I5", "was left claimed"),
    (lambda e: setattr(e, "editions", [*e.editions, ("daily/2", "monday", "done")]), "I5", "has 2 editions"),
    (lambda e: setattr(e, "editions", [("daily/1", "monday", "sending")]), "I5", "was left sending"),
    (lambda e: setattr(e, "beats", BEATS + 1), "I6", "it was not over"),
]


@pytest.mark.parametrize(("doctor", "names", "words"), DOCTORED, ids=[f"{n} {words}" for _, n, words in DOCTORED])
def test_a_changed_journal_is_detected(
    good: Evidence, doctor: Callable[[Evidence], None], names: str, words: str
) -> None:
    doctor(good)
    verdict = judge(good)
    assert _broken(good) == names.split()
    assert any(words in line for line in verdict.broken), verdict.broken


def test_an_intent_before_unsubscribing_may_be_sent(good: Evidence) -> None:
    good.left = [("ann", 10)]
    assert judge(good).broken == []
    good.intents = [(10, 1), (20, 2), (30, 3)]
    assert judge(good).broken == []
