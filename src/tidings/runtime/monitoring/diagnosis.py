"""What is wrong with a newsroom, the worst first, each with the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.model.edition import Edition, HoldReason
from tidings.runtime.monitoring.health import NewsroomHealth
from tidings.store.content.items import RefusedItem

LOW_DISK = 500_000_000
"""Bytes: less on a disk, and the next large edition may not fit."""
_SILENT = timedelta(minutes=15)
"""Without a beat of a service that lives."""
_LATE = timedelta(minutes=10)
"""What has been due for so long should have happened."""
_AHEAD = timedelta(seconds=60)
_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that is wrong. `what` is a word for programs."""

    what: str
    text: str
    mend: str

    def as_json(self) -> dict[str, str]:
        """One of `wrong` in `tidings status --json`."""
        return {"what": self.what, "text": self.text, "mend": self.mend}


def diagnose(health: NewsroomHealth, aside: Sequence[RefusedItem], show: Callable[[datetime], str]) -> list[Diagnosis]:
    """Everything. `show` writes a moment on the site's clock."""
    return [
        *_of_machine(health, show),
        *_of_services(health, show),
        *_of_sending(health, show),
        *(_of_held(one) for one in health.vitals.held),
        *_of_content(health, aside, show),
    ]


def _of_machine(health: NewsroomHealth, show: Callable[[datetime], str]) -> Iterator[Diagnosis]:
    for place, disk in health.disks.items():
        if disk.free < LOW_DISK and not (place == "store" and health.disks["newsroom"] == disk):
            yield Diagnosis(
                "disk",
                f"{disk.free / 1e6:,.0f} MB are left on the disk of the {place}; without room nothing is sent.",
                "make room; `keep: {ledger: 400d}` in tidings.yaml lets old deliveries go",
            )
    if health.clock is not None and health.skew is not None and health.skew > _AHEAD:
        yield Diagnosis(
            "clock",
            f"The newsroom's clock has reached {show(health.clock)}, ahead of this machine's: nothing is due yet.",
            "timedatectl (is this machine's clock right?); if `--now` moved it there, wait, or restore a backup",
        )


def _of_services(health: NewsroomHealth, show: Callable[[datetime], str]) -> Iterator[Diagnosis]:
    lives = [one for one in health.services if not one.only_pages]
    if health.died and not lives:
        newest = max(health.died, key=lambda one: one.beat)
        yield Diagnosis(
            "died",
            f"The service ended without a word after {show(newest.beat)}: killed, out of memory, or the machine.",
            "systemctl start tidings (or: tidings run); it takes up what was left. `journalctl -u tidings` may say why",
        )
    for one in lives:
        if health.real_now - one.beat > _SILENT:
            yield Diagnosis(
                "standing_still",
                f"The service lives, and its last beat ended at {show(one.beat)}.",
                "systemctl restart tidings; nothing is lost or doubled by that",
            )
        for what, kind in one.faults.items():
            yield Diagnosis(
                "fault",
                f"The service meets the same fault again and again ({what}: {kind}).",
                "journalctl -u tidings -n 50 names it",
            )
        if one.refused:
            yield Diagnosis(
                "refused",
                f"A changed configuration is refused, the last good one stays: {one.refused.splitlines()[0]}",
                "tidings check",
            )
    if not lives and (late := _late(health)):
        yield Diagnosis("nobody_works", f"{late} and nothing runs.", "tidings run (or once: tidings tick)")
    elif lives and (overdue := _overdue(health)):
        yield Diagnosis(
            "overdue",
            f"Slots that came and were not fired: {', '.join(overdue)}.",
            "journalctl -u tidings -n 50; then systemctl restart tidings",
        )
    if health.dead_owners and not lives:
        yield Diagnosis("dead_owner", "A process died with deliveries in hand.", "tidings tick takes them over")


def _overdue(health: NewsroomHealth) -> list[str]:
    return [name for name, moment in health.overdue.items() if health.now - moment > _LATE]


def _late(health: NewsroomHealth) -> str:
    """What should have happened by now, in words that begin a sentence; empty where nothing should."""
    waits = health.vitals.queued_since
    if overdue := _overdue(health):
        return f"Due and not fired: {', '.join(overdue)},"
    if waits is not None and health.now - waits > _LATE:
        return f"{health.vitals.queued:,} deliveries may go"
    return ""


def _of_sending(health: NewsroomHealth, show: Callable[[datetime], str]) -> Iterator[Diagnosis]:
    for lane, reason in health.stalled.items():
        name = f"channel {lane}" if lane else "mail"
        mend = "mend what it says; it goes on by itself then"
        yield Diagnosis("stalled", f"What is due cannot go by {name}: {reason}", mend)
    for name, sender in health.senders.items():
        if sender.failures >= _FAILURES and "" not in health.stalled:
            text = f"The sender {name} has failed {sender.failures} times in a row: {sender.reason}"
            yield Diagnosis("sender", text, "mend its host, login or quota; a changed `mail:` is tried at once")
    vitals = health.vitals
    if vitals.doubtful:
        many = "1 delivery" if vitals.doubtful == 1 else f"{vitals.doubtful:,} deliveries"
        since = f" (the first since {show(vitals.doubtful_since)})" if vitals.doubtful_since else ""
        yield Diagnosis(
            "in_doubt",
            f"In doubt: {many} may have arrived, and only a person can find out{since}.",
            "tidings ledger --state in_doubt, then each: tidings resolve DELIVERY --accepted (or --resend, --cancel)",
        )
    if vitals.quarantined:
        yield Diagnosis(
            "quarantined",
            f"{vitals.quarantined:,} deliveries were quarantined within a week: refused too often, or fatal to us.",
            "tidings ledger --state quarantined says why",
        )


def _of_held(edition: Edition) -> Diagnosis:
    reasons = {hold.reason for hold in edition.holds}
    name = edition.name
    if HoldReason.RESTORED in reasons:
        mend = f"tidings release {name} (or, if it had gone out: tidings resolve {name} --accepted)"
    elif reasons & {HoldReason.GATE, HoldReason.WITHDRAWN}:
        mend = f"mend the story, then tidings recompose {name} (or: tidings cancel {name})"
    else:
        mend = f"tidings preview {name}, then tidings release {name} (or: tidings cancel {name})"
    return Diagnosis("held", f"Edition {name} is held: {'; '.join(hold.detail for hold in edition.holds)}", mend)


def _of_content(
    health: NewsroomHealth, aside: Sequence[RefusedItem], show: Callable[[datetime], str]
) -> Iterator[Diagnosis]:
    tick = health.tick
    if tick is not None:
        for name, reason in tick.unread.items():
            yield Diagnosis(
                "source", f"The source {name} is not read: {reason}", "tidings sweep (--accept, if it is meant)"
            )
        if tick.unpublished:
            text = f"Pages and feeds stay as they are: {tick.unpublished.splitlines()[0]}"
            yield Diagnosis("unpublished", text, "mend the template, then tidings build")
    for name, source in health.sources.items():
        if source.problem:
            since = f" since {show(source.failing_since)}" if source.failing_since else ""
            again = f"asked again {show(source.due)}" if source.due else "not asked any more"
            text = f"The source {name} cannot be read{since}, {again}: {source.problem}"
            yield Diagnosis("source", text, f"tidings sources try {name}")
        elif source.is_silent and source.newest is not None:
            text = f"The source {name} told nothing new since {show(source.newest)}, much longer than its habit."
            yield Diagnosis("source_silent", text, f"tidings sources try {name} shows what it tells")
    for one in aside:
        yield Diagnosis("set_aside", f"An item is set aside: {one.problem}", "mend the file; tidings check looks again")
