"""Diagnose what is wrong with a newsroom, the worst first, each with the command that repairs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tidings.model.edition import Edition, HoldReason
from tidings.model.plurals import count_noun
from tidings.model.refusal import RefusalKind, classify
from tidings.runtime.monitoring.health import NewsroomHealth
from tidings.store.content.items import RefusedItem
from tidings.store.delivery.settling import hide_addresses
from tidings.store.service.heartbeat import Heartbeat, ProcessRole

if TYPE_CHECKING:
    from tidings.runtime.engine import QueueReport

LOW_DISK = 500_000_000
"""Bytes free on a disk below which the next large edition may not fit."""
_SILENT = timedelta(minutes=15)
"""Time without a cycle after which a running service counts as stuck."""
_LATE = timedelta(minutes=10)
"""Time after which something that is due counts as late."""
_AHEAD = timedelta(seconds=60)
_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that is wrong. `what` is a key for programs; `mend` says what to do now."""

    what: str
    text: str
    mend: str


def diagnose(
    health: NewsroomHealth, refused: Sequence[RefusedItem], show: Callable[[datetime], str]
) -> list[Diagnosis]:
    """Return everything that is wrong. `show` writes a moment in the site's time zone."""
    return [
        *_diagnose_machine(health, show),
        *_diagnose_services(health, show),
        *_diagnose_sending(health, show),
        *(_diagnose_held(edition) for edition in health.metrics.held),
        *_diagnose_content(health, refused, show),
    ]


def diagnose_faults(faults: Sequence[str], known: Sequence[Diagnosis]) -> list[Diagnosis]:
    """Return what is wrong with YAML that was read with errors, unless a running service has reported it."""
    if not faults or any(diagnosis.what == "refused" for diagnosis in known):
        return []
    more = f" And {count_noun(len(faults) - 1, 'more problem')}." if len(faults) > 1 else ""
    return [Diagnosis("refused", f"The configuration has errors: {faults[0]}{more}", "tidings check")]


def diagnose_queues(queues: QueueReport | None) -> Iterator[Diagnosis]:
    """Yield what is wrong with the queues of the task engine."""
    if queues is None:
        return
    if queues.problem:
        text = f"The broker of the task engine cannot be reached: {queues.problem}. Nothing is lost; mails wait."
        yield Diagnosis("broker", text, "start it, or send without it: tidings run --only worker")
    if queues.dead:
        text = f"{count_noun(queues.dead, 'task', 'tasks')} killed their worker again and again (queue tidings.dead)."
        yield Diagnosis("dead_letters", text, "read the workers' log, then empty the queue; the ledger has the work")


def diagnose_versions(services: Sequence[Heartbeat], version: str, configuration: str) -> Iterator[Diagnosis]:
    """Yield each process that runs another version than the code here, or other settings than the other processes."""
    settings = {service.configuration for service in services}
    for service in services:
        name = f"{service.owner} ({service.role})"
        if service.version and service.version != version:
            text = f"{name} runs version {service.version}; here is version {version}."
            yield Diagnosis("other_version", text, f"restart it on {service.host or 'its machine'}")
        elif len(settings) > 1 and service.configuration and service.configuration != configuration:
            text = f"{name} runs configuration {service.configuration}; here it is {configuration}."
            mend = f"copy YAML, templates and keys.json to {service.host or 'its machine'}; it loads them automatically"
            yield Diagnosis("other_configuration", text, mend)


def _diagnose_machine(health: NewsroomHealth, show: Callable[[datetime], str]) -> Iterator[Diagnosis]:
    for place, disk in health.disks.items():
        if disk.free < LOW_DISK and not (place == "store" and health.disks["newsroom"] == disk):
            yield Diagnosis(
                "disk",
                f"The disk of the {place} has only {disk.free / 1e6:,.0f} MB left. Without free space nothing is sent.",
                "free some space; `keep: {ledger: 400d}` in tidings.yaml deletes old deliveries",
            )
    if health.clock is not None and health.skew is not None and health.skew > _AHEAD:
        yield Diagnosis(
            "clock",
            f"The newsroom's clock ({show(health.clock)}) is ahead of this machine's clock, so nothing is sent.",
            "timedatectl (check this machine's clock); if it is right, tidings clock --set now",
        )


def _diagnose_services(health: NewsroomHealth, show: Callable[[datetime], str]) -> Iterator[Diagnosis]:
    running = [service for service in health.services if service.work.ticks]
    sending = [service for service in health.services if service.work.sends]
    overdue = [name for name, moment in health.overdue.items() if health.now - moment > _LATE]
    if health.died and not running:
        last = max(service.beat for service in health.died)
        yield Diagnosis(
            "died",
            f"The service stopped unexpectedly after {show(last)}: killed, out of memory, or a power failure.",
            "systemctl start tidings (or: tidings run); it continues its work. `journalctl -u tidings` may say why",
        )
    for service in health.services:
        if service.work is ProcessRole.PAGES:
            continue
        name = "The service" if service.work is ProcessRole.ALL else f"The {service.role} {service.owner}"
        if health.real_now - service.beat > _SILENT:
            yield Diagnosis(
                "standing_still",
                f"{name} is running but has done nothing since {show(service.beat)}.",
                "systemctl restart tidings; nothing is lost or sent twice",
            )
        for task, error in service.faults.items():
            text = f"{name} has the same error again and again ({task}: {error})."
            yield Diagnosis("fault", text, "journalctl -u tidings -n 50 shows the error")
        if service.refused:
            problem = service.refused.splitlines()[0]
            text = f"The changed configuration has errors, so the last good one stays in use: {problem}"
            yield Diagnosis("refused", text, "tidings check")
    if running and overdue:
        yield Diagnosis(
            "overdue",
            f"These schedules are due but made no edition: {', '.join(overdue)}.",
            "journalctl -u tidings -n 50; then systemctl restart tidings",
        )
    queued_since = health.metrics.queued_since
    is_queued = queued_since is not None and health.now - queued_since > _LATE
    can_be_sent = f"{count_noun(health.metrics.queued, 'delivery', 'deliveries')} can be sent"
    if running and not sending and is_queued:
        yield Diagnosis("nobody_sends", f"{can_be_sent}, but no worker is running.", "tidings run --only worker")
    if running:
        return
    late = ""
    if overdue:
        late = f"These schedules are due: {', '.join(overdue)}"
    elif is_queued and not sending:
        late = can_be_sent
    if late:
        nobody = "no ticker is running" if sending else "no service is running"
        mend = "tidings run --only ticker" if sending else "tidings run (or once: tidings tick)"
        yield Diagnosis("nobody_works", f"{late}, but {nobody}.", mend)
    if health.dead_owners:
        text = "A process died before its deliveries were finished."
        yield Diagnosis("dead_owner", text, "tidings tick finishes them")


def _diagnose_sending(health: NewsroomHealth, show: Callable[[datetime], str]) -> Iterator[Diagnosis]:
    for lane, reason in health.stalled.items():
        text = (
            f"The channel {lane} cannot post: {reason}. Its posts wait." if lane else f"Mail cannot be sent: {reason}"
        )
        mend = "correct what the message says; sending then continues automatically, or at once with `tidings tick`"
        yield Diagnosis("stalled", text, mend)
    for name, sender in health.senders.items():
        # Under `tick` there is no service that tries again every minute: one failure counts.
        enough = _FAILURES if any(service.work.sends for service in health.services) else 1
        if sender.failures >= enough and "" not in health.stalled:
            times = f"{sender.failures} times in a row" if sender.failures > 1 else "at the last try"
            text = f"The sender {name} failed {times}: {sender.reason}"
            yield Diagnosis("sender", text, "correct its host, login or quota; a changed `mail:` is tried at once")
    metrics = health.metrics
    if metrics.doubtful:
        count = count_noun(metrics.doubtful, "delivery", "deliveries")
        since = f", the first since {show(metrics.doubtful_since)}" if metrics.doubtful_since else ""
        yield Diagnosis(
            "in_doubt",
            f"In doubt: {count} may have arrived, but only a person can find out{since}.",
            "tidings ledger --state in_doubt, then for each: tidings resolve DELIVERY --accepted (--resend, --cancel)",
        )
    if metrics.quarantined:
        count = count_noun(metrics.quarantined, "delivery was", "deliveries were")
        text = f"{count} stopped in the last week, because sending failed too often."
        yield Diagnosis("quarantined", text, "tidings ledger --state quarantined shows why")


def diagnose_waiting(reasons: Sequence[tuple[str, int]]) -> Iterator[Diagnosis]:
    """Yield what mails wait for after a refusal that is about us, with its mend: one entry for each kind."""
    counts: Counter[RefusalKind] = Counter()
    words: dict[RefusalKind, str] = {}
    for reason, count in reasons:
        kind = classify(reason).kind
        if kind.waits:
            counts[kind] += count
            words.setdefault(kind, " ".join(hide_addresses(reason).split())[:200])
    for kind, count in counts.most_common():
        text = (
            f"{count_noun(count, 'mail waits', 'mails wait')}, because the mail host refuses us ({kind}): {words[kind]}"
        )
        yield Diagnosis("refused_mail", text, f"{kind.mend}; then the mails are sent automatically")


def _diagnose_held(edition: Edition) -> Diagnosis:
    reasons = {hold.reason for hold in edition.holds}
    name = edition.name
    if HoldReason.BREAKER in reasons:
        mend = f"tidings release {name} sends the rest; tidings resolve {name} --believe also removes these readers"
    elif HoldReason.RESTORED in reasons:
        mend = f"tidings release {name} (or, if it already went out: tidings resolve {name} --accepted)"
    elif reasons & {HoldReason.GATE, HoldReason.WITHDRAWN}:
        mend = f"correct the story, then tidings recompose {name} (or: tidings cancel {name})"
    else:
        mend = f"tidings preview {name}, then tidings release {name} (or: tidings cancel {name})"
    return Diagnosis("held", f"Edition {name} is held: {'; '.join(hold.detail for hold in edition.holds)}", mend)


def _diagnose_content(
    health: NewsroomHealth, refused: Sequence[RefusedItem], show: Callable[[datetime], str]
) -> Iterator[Diagnosis]:
    tick = health.tick
    if tick is not None:
        for name, reason in tick.unread.items():
            mend = "tidings sweep (with --accept, if the items were removed on purpose)"
            yield Diagnosis("source", f"The source {name} is not read: {reason}", mend)
        if tick.unpublished:
            text = f"Pages and feeds are not up to date: {tick.unpublished.splitlines()[0]}"
            is_template = "cannot be written" not in tick.unpublished
            mend = "correct the template, then tidings build" if is_template else "do what the message says"
            yield Diagnosis("unpublished", text, mend)
    for name, source in health.sources.items():
        if source.problem:
            since = f" since {show(source.failing_since)}" if source.failing_since else ""
            again = f"next try {show(source.due)}" if source.due else "it is not tried again"
            text = f"The source {name} cannot be read{since} ({again}): {source.problem}"
            yield Diagnosis("source", text, f"tidings sources try {name}")
        elif source.is_silent and source.newest is not None:
            text = f"The source {name} has had nothing new since {show(source.newest)}, much longer than usual."
            yield Diagnosis("source_silent", text, f"tidings sources try {name} shows what it has")
    for item in refused:
        text = f"An item was refused: {item.problem}"
        yield Diagnosis("set_aside", text, "correct the file; tidings check looks again")
