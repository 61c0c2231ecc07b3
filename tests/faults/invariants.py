"""I1 to I6: promises that hold after every fault. They compare the sinks' journals with the ledger.

`judge(Evidence)` is pure: it only reads what both sides wrote, and does not know how Tidings works.

- **I1, nobody is lost.** Each address that must get the edition has a row, unless its reader left before it froze. An
  edition has as many rows at the end as when it was frozen. Each row has ended, or waits for a person in doubt. A row
  that ended without `accepted` has a cause that the harness knows: the sink refused it for good, the reader left, the
  reader got it through another list, or it was being prepared at three crashes.
- **I2, nobody is mailed twice**, with two exceptions: a message that was being sent when a process ended or was
  stopped (at most one for each connection), and a message that the sink accepted without a reply (by plan). Each copy
  except the last was the last message of its connection and has the Message-ID of the others. When the next copy
  began, the ledger already knew the doubt. A post is never doubled: a webhook has one webhook-id for a story, other
  channels one body.
- **I3, nobody is mailed who left.** No intent is later than the time at which the commit of the unsubscription
  returned. A person who left before the edition gets nothing.
- **I4, the ledger is true.** Each accepted row has the receipt of a message that the sink accepted for this address.
  Each accepted message belongs to a row that is accepted or in doubt. A row that has ended does not change. The
  counts are the sums of the rows.
- **I5, each slot fires once.** A slot has one row and at most one edition, and no slot stays incomplete.
- **I6, everything ends**: a few ticks after the last fault, nothing is active. `Evidence.beats` is their number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.faults.journal import Event
from tests.faults.plan import LOSES_REPLY

ENDED = frozenset({"accepted", "rejected", "skipped", "cancelled", "quarantined"})
MAY_HAVE_ARRIVED = frozenset({"accepted", "in_doubt"})
NOTED = 3_000_000
"""Nanoseconds in which a process records an intent that it wrote. Senders pause for longer where it matters."""
LEFT = frozenset({"unsubscribed", "suppressed", "erased"})
BEATS = 12
"""Ticks after the last fault until everything must have ended."""

Row = Mapping[str, Any]


@dataclass
class Evidence:
    """The records of a round. Times are nanoseconds of CLOCK_MONOTONIC."""

    rows: Sequence[Row]
    """Lines of `tidings ledger --json`."""
    waiting: frozenset[int]
    """Ids of rows that would still be sent."""
    counts: Mapping[str, int]
    """Rows by state, as the store counts them."""
    smtp: Sequence[Event]
    http: Sequence[Event]
    owed: frozenset[str]
    barred: frozenset[str]
    snapshots: Sequence[Mapping[int, tuple[str, str]]] = ()
    """(edition, state) by id, each time a process had ended, in order."""
    slots: Sequence[tuple[str, str, str]] = ()
    """(schedule, slot, state)."""
    editions: Sequence[tuple[str, str, str]] = ()
    """(name, slot, state)."""
    deaths: int = 0
    """How often a sender ended or was stopped while it may have been sending."""
    connections: int = 1
    left: Sequence[tuple[str, int]] = ()
    """(address, time at which the commit of the unsubscription had returned)."""
    erased: frozenset[str] = frozenset()
    """Addresses that the ledger has no row for any more."""
    intents: Sequence[tuple[int, int | None]] = ()
    """(time, delivery if known) of each intent, after it was written."""
    stood_still: bool = False
    """Whether a stopped sender continued: its connections went on after another process had taken over."""
    beats: int = 0


@dataclass
class Verdict:
    """The result. `broken` is empty if every promise holds."""

    broken: list[str] = field(default_factory=list)
    messages: int = 0
    lost: int = 0
    doubled: int = 0
    in_doubt: int = 0
    """Copies that the ledger knew to be in doubt before the next copy began."""
    waiting: int = 0
    """Rows that wait for a person: in doubt to the end."""
    set_aside: int = 0
    late: int = 0
    posts: int = 0
    posts_doubled: int = 0


def judge(evidence: Evidence) -> Verdict:
    """Check every promise."""
    verdict = Verdict()
    mails = _Mails(evidence)
    verdict.messages = len(mails.taken)
    for check in (_nobody_lost, _nobody_twice, _posts_once, _nobody_who_left, _ledger_is_true, _slots_once):
        check(evidence, mails, verdict)
    if evidence.beats > BEATS:
        verdict.broken.append(f"I6: {evidence.beats} beats after the last fault it was not over")
    return verdict


class _Mails:
    """The sink's journal, sorted for the checks."""

    def __init__(self, evidence: Evidence) -> None:
        dots = [event for event in evidence.smtp if event["e"] == "dot"]
        self.taken = [event for event in dots if event["taken"]]
        self.by_receipt = {event["id"]: event for event in self.taken}
        self.copies: dict[str, list[Event]] = defaultdict(list)
        for event in self.taken:
            self.copies[event["mid"]].append(event)
        self.to: dict[str, list[Event]] = defaultdict(list)
        for event in self.taken:
            self.to[event["to"]].append(event)
        self.last_of_connection = {event["c"]: event["id"] for event in dots}
        self.began: dict[int, list[Event]] = defaultdict(list)
        """The messages of each connection, by their RCPT."""
        for event in evidence.smtp:
            if event["e"] == "rcpt":
                self.began[event["c"]].append(event)
        self.refused = {e["to"] for e in evidence.smtp if e["e"] in ("rcpt", "data") and e["say"].startswith("5")}
        self.refused |= {e["to"] for e in dots if str(e["fault"]).startswith("5")}
        self.replies_lost = sum(event["fault"] in LOSES_REPLY for event in self.taken)


def _nobody_lost(evidence: Evidence, mails: _Mails, verdict: Verdict) -> None:
    lost: list[str] = []
    of = _by_address(evidence.rows)
    left = {address for address, _ in evidence.left}
    for address in sorted(evidence.owed - evidence.erased):
        rows = [row for row in of.get(address, ()) if row["edition"]]
        if not rows and address in left:
            continue
        if not rows:
            lost.append(f"{address} was owed the edition and has no row")
        elif not any(_is_served(row, mails, left, evidence.deaths) for row in rows):
            lost.append(f"{address} did not get the edition: {[_short(row) for row in rows]}")
    for row in evidence.rows:
        if row["state"] not in ENDED and not (row["state"] == "in_doubt" and row["id"] not in evidence.waiting):
            lost.append(f"{_short(row)} has not ended")
    frozen: dict[str, int] = {}
    for snapshot in evidence.snapshots:
        for name, count in Counter(edition for edition, _ in snapshot.values()).items():
            frozen.setdefault(name, count)
    now = Counter(row["edition"] for row in evidence.rows)
    for name, count in frozen.items():
        if name and now[name] != count:
            lost.append(f"{name} was frozen with {count} rows and has {now[name]}")
    verdict.lost = len(lost)
    verdict.broken += [f"I1: {line}" for line in lost]
    verdict.waiting = sum(row["state"] == "in_doubt" for row in evidence.rows)
    verdict.set_aside = sum(row["state"] == "quarantined" for row in evidence.rows)


def _is_served(row: Row, mails: _Mails, left: set[str], deaths: int) -> bool:
    if row["state"] in MAY_HAVE_ARRIVED:
        return True
    if row["state"] == "rejected":
        return row["address"] in mails.refused
    if row["state"] == "skipped":
        return row["reason"] in LEFT and row["address"] in left
    return bool(row["state"] == "quarantined" and deaths >= 3)


def _nobody_twice(evidence: Evidence, mails: _Mails, verdict: Verdict) -> None:
    for mid, copies in mails.copies.items():
        extra = len(copies) - 1
        if not extra:
            continue
        verdict.doubled += extra
        to = copies[0]["to"]
        if any(copy["to"] != to for copy in copies):
            verdict.broken.append(f"I2: {mid} went to more than one address")
        for before, after in pairwise(copies):
            if not evidence.stood_still and mails.last_of_connection[before["c"]] != before["id"]:
                verdict.broken.append(f"I2: {to} was mailed again though connection {before['c']} had gone on")
            began = [e for e in mails.began[after["c"]] if e["to"] == to and e["t"] <= after["t"]]
            # A process was stopped after RCPT and another one sent the mail: only the final dot shows the doubt.
            doubts = {**after, **(began[-1] if began else {})}.get("doubts", 0)
            if began and doubts >= 1:
                verdict.in_doubt += 1
            else:
                verdict.broken.append(f"I2: {to} was mailed again and the ledger did not know it to be in doubt")
        rows = [row for row in evidence.rows if row["address"] == to]
        if max((row["doubts"] for row in rows), default=0) < extra:
            verdict.broken.append(f"I2: {to} has {extra + 1} copies of {mid}: {[_short(row) for row in rows]}")
    allowed = evidence.deaths * evidence.connections + mails.replies_lost
    if verdict.doubled > allowed:
        verdict.broken.append(f"I2: {verdict.doubled} doubled, and at most {allowed} can have been on the wire")
    for address, rows in _by_address(evidence.rows).items():
        # Two Message-IDs for one delivery would hide a doubled mail.
        different = len({event["mid"] for event in mails.to.get(address, ())})
        went = sum(row["state"] not in ("skipped", "cancelled") for row in rows)
        if different > went:
            verdict.doubled += different - went
            verdict.broken.append(f"I2: {address} got {different} different messages of {went} deliveries")


def _posts_once(evidence: Evidence, mails: _Mails, verdict: Verdict) -> None:
    """Check posts. `/hook` recognises a repeat by its id; every other receiver may get a post only once."""
    ids: dict[str, set[str]] = defaultdict(set)
    bodies: Counter[str] = Counter()
    for event in evidence.http:
        if not event["taken"]:
            continue
        if event["path"] == "/hook":
            for story in event["about"]:
                ids[story].add(event["id"])
        else:
            bodies[event["id"]] += 1
    verdict.posts = len({key for keys in ids.values() for key in keys}) + len(bodies)
    for what, count in [*((story, len(keys)) for story, keys in ids.items()), *bodies.items()]:
        if count > 1:
            verdict.posts_doubled += count - 1
            verdict.broken.append(f"I2: the post {what} came {count} times")


def _nobody_who_left(evidence: Evidence, mails: _Mails, verdict: Verdict) -> None:
    for address in sorted(evidence.barred):
        if mails.to.get(address):
            verdict.late += 1
            verdict.broken.append(f"I3: {address} had left or never joined, and was mailed")
    bodies: dict[int, list[Event]] = defaultdict(list)
    for event in evidence.smtp:
        if event["e"] == "body":
            bodies[event["c"]].append(event)
    begun = [event["t"] for events in bodies.values() for event in events] + [event["t"] for event in evidence.http]
    addresses = {row["id"]: row["address"] for row in evidence.rows}
    known = [(when, addresses.get(delivery, "")) for when, delivery in evidence.intents if delivery is not None]
    for address, when in evidence.left:
        late = [moment for moment, who in known if who == address and moment > when + NOTED]
        if not known:
            # Without ids, an intent belongs to the next body on its connection. So of all later bodies, only the
            # first one of each connection can have had its intent before, and at most as many as had an unused intent.
            ahead = sum(moment <= when + NOTED for moment, _ in evidence.intents)
            ahead -= sum(moment <= when for moment in begun)
            for events in bodies.values():
                after = [event for event in events if event["t"] > when]
                late += [e["t"] for e in after if e["to"] == address and (e is not after[0] or ahead <= 0)]
        if late:
            verdict.late += 1
            verdict.broken.append(f"I3: a message to {address} began after their leaving had committed")


def _ledger_is_true(evidence: Evidence, mails: _Mails, verdict: Verdict) -> None:
    posts = {event["id"] for event in evidence.http if event["taken"]}
    linked: set[str] = set()
    for row in evidence.rows:
        if row["state"] != "accepted" or row["channel"]:
            if row["state"] == "accepted" and row["receipt"].startswith("msg_") and row["receipt"] not in posts:
                verdict.broken.append(f"I4: {_short(row)} was never posted")
            continue
        message = mails.by_receipt.get(row["receipt"].rpartition(" ")[2])
        # Of an erased person, only the receipt remains.
        if message is None or message["to"] not in ({row["address"]} if row["address"] else evidence.erased):
            verdict.lost += 1
            verdict.broken.append(f"I4: {_short(row)} has no receipt of the sink for this address")
        else:
            linked.add(message["mid"])
    of = _by_address(evidence.rows)
    for mid, copies in mails.copies.items():
        if mid in linked or copies[0]["to"] in evidence.erased:
            continue
        rows = of.get(copies[0]["to"], [])
        if not any(row["state"] == "in_doubt" for row in rows):
            verdict.broken.append(f"I4: {copies[0]['to']} was mailed; the ledger says {[_short(row) for row in rows]}")
    final = {row["id"]: row["state"] for row in evidence.rows}
    for snapshot in evidence.snapshots:
        for number, (_, state) in snapshot.items():
            if state in ENDED and final.get(number) != state:
                verdict.broken.append(f"I4: delivery {number} was {state} and became {final.get(number)}")
    sums = Counter(row["state"] for row in evidence.rows)
    if dict(sums) != dict(evidence.counts):
        verdict.broken.append(f"I4: counted {dict(evidence.counts)}, and the rows are {dict(sums)}")


def _slots_once(evidence: Evidence, mails: _Mails, verdict: Verdict) -> None:
    for (schedule, slot), count in Counter((schedule, slot) for schedule, slot, _ in evidence.slots).items():
        if count > 1:
            verdict.broken.append(f"I5: {schedule} fired {count} times at {slot}")
    verdict.broken += [f"I5: the slot {slot} of {schedule} was left {state}"
                       for schedule, slot, state in evidence.slots if state == "claimed"]  # fmt: skip
    by_slot = Counter((name.rpartition("/")[0], slot) for name, slot, _ in evidence.editions if slot)
    verdict.broken += [f"I5: {name} has {count} editions at {slot}"
                       for (name, slot), count in by_slot.items() if count > 1]  # fmt: skip
    verdict.broken += [f"I5: {name} was left {state}" for name, _, state in evidence.editions
                       if state not in ("done", "cancelled", "superseded")]  # fmt: skip


def _by_address(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["address"]:
            found[row["address"]].append(row)
    return found


def _short(row: Row) -> str:
    words = f"{row['id']} {row['target']} {row['state']} {row['reason']}".strip()
    return f"{words} (attempts {row['attempts']}, doubts {row['doubts']})"
