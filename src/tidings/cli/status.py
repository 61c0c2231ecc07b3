"""`status`: the problems and how to fix them, then the state of the newsroom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tidings.cli.session import Json, format_counts, format_moment, open_newsroom, print_json, say, session
from tidings.model.plurals import count_noun
from tidings.runtime.monitoring.status import status as read_status
from tidings.runtime.newsroom import Runtime


def status(json: Json = False) -> None:
    """Show what is wrong and how to fix it, and what comes next."""
    with open_newsroom(needs="store", say_faults=False) as runtime:
        report = read_status(runtime, runtime.now())
        if json:
            print_json(report)
        else:
            _print(report, runtime)


def _print(report: dict[str, Any], runtime: Runtime) -> None:
    """Print the report of `tidings status --json` in words."""
    wrong = report["wrong"]
    needs = "needs" if len(wrong) == 1 else "need"
    say(f"{count_noun(len(wrong), 'thing')} {needs} a look." if wrong else "All is well.")
    for number, finding in enumerate(wrong, 1):
        say(f"{number}. {finding['text']}")
        say(f"   -> {session.name_folder(finding['mend'])}")
    say()
    for line in [*_describe_service(report, runtime), *_describe_pauses(report, runtime)]:
        say(session.name_folder(line))
    for line in _describe_restore(report, runtime):
        say(line)
    for slot in report["next"]:
        due = " (due now)" if slot["at"] and slot["at"] <= runtime.now() else ""
        say(f"Next: {slot['schedule']} {format_moment(slot['at'], runtime)}{due}")
    if report["unset"]:
        unset = ", ".join(report["unset"])
        say(f"Not set here: {unset}. Commands that send need them; write them into secrets.env.")
    for line in [*_describe_sending(report, runtime), *_describe_machine(report)]:
        say(line)


def _describe_service(report: dict[str, Any], runtime: Runtime) -> list[str]:
    tick = f"last tick {_ago(report['last_tick'])}" if report["last_tick"] else "no tick yet"
    alive = [service for service in report["services"] if service["alive"]]
    lines = [
        f"{_DOES.get(service['role'], 'The service runs')} since {format_moment(service['started'], runtime)} "
        f"({service['owner']}{_running(service, alive)}), last heartbeat {_ago(service['beat'])}"
        for service in alive
    ]
    if any(service["role"] in ("all", "ticker") for service in alive):
        return [f"{line}; {tick}." for line in lines]
    return [*(f"{line}." for line in lines), f"No service is running that publishes and sends (tidings run); {tick}."]


_DOES = {"pages": "Pages are served", "ticker": "A ticker runs", "worker": "A worker sends"}


def _running(service: dict[str, Any], alive: list[dict[str, Any]]) -> str:
    """Return host, queues, version and configuration of each process, if there are several."""
    if len(alive) == 1:
        return ""
    queues = f", queues {service['queues']}" if service["queues"] else ""
    return f" on {service['host']}{queues}, version {service['version']}, configuration {service['configuration']}"


def _ago(moment: datetime) -> str:
    seconds = max(datetime.now(UTC) - moment, timedelta(0)).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{count_noun(int(seconds // length), unit)} ago"
    return f"{count_noun(round(seconds), 'second')} ago"


def _describe_pauses(report: dict[str, Any], runtime: Runtime) -> list[str]:
    lines = []
    for pause in report["paused"]:
        end = f"until {format_moment(pause['until'], runtime)}" if pause["until"] else "until `tidings resume`"
        reason = f" ({pause['reason']})" if pause["reason"] else ""
        since = format_moment(pause["since"], runtime)
        lines.append(f"Paused since {since} by {pause['who']}: {pause['what']}, {end}{reason}.")
    return lines


def _describe_restore(report: dict[str, Any], runtime: Runtime) -> list[str]:
    restored = report["restored"]
    if not restored:
        return []
    at, made = (format_moment(restored[key], runtime) for key in ("at", "made"))
    text = f"Restored on {at} from a backup of {made}."
    if restored["waiting"]:
        text += f" These may have been sent since, and wait for your decision: {', '.join(restored['waiting'])}."
    if restored["schedules"]:
        text += f" The next edition of each of these is held: {', '.join(restored['schedules'])}."
    return [text]


def _describe_sending(report: dict[str, Any], runtime: Runtime) -> list[str]:
    last = f"; the last was accepted {_ago(report['last_accepted'])}" if report["last_accepted"] else ""
    counts = format_counts(report["deliveries"], "none yet")
    lines = [f"Deliveries: {counts}; {report['queued']:,} may be sent now{last}."]
    for sender in report["senders"]:
        if not sender["up"]:
            failures = count_noun(sender["failures"], "failure")
            until = format_moment(sender["down_until"], runtime)
            lines.append(f"Sender {sender['sender']}: next try at {until}, after {failures}.")
    for source in report["sources"]:
        moment = source["fetched"] or source["read"]
        read = f"read {_ago(moment)}" if moment else "not read yet"
        if source["problem"]:
            again = f", next try {format_moment(source['due'], runtime)}" if source["due"] else ""
            last = f"; last read {_ago(source['fetched'])}" if source["fetched"] else ""
            read = f"cannot be read{again}{last}"
        lines.append(f"Source {source['source']}: {read}.")
    lines += [f"List {name}: {format_counts(counts, 'nobody yet')}." for name, counts in report["lists"].items()]
    lines += [
        f"List {name}: no longer in tidings.yaml, so nothing is sent to its {count_noun(count, 'subscriber')}."
        for name, count in report["former_lists"].items()
    ]
    return lines


def _describe_machine(report: dict[str, Any]) -> list[str]:
    disks = ", ".join(
        f"{disk['free'] / 1e9:,.1f} of {disk['total'] / 1e9:,.0f} GB free ({name})"
        for name, disk in report["disks"].items()
    )
    return [
        f"Disk: {disks}; the store takes {report['store_bytes'] / 1e6:,.1f} MB.",
        f"Version {report['version']}, schema {report['schema']}, time zones of {report['tzdata']}; "
        f"{count_noun(report['items'], 'item')}.",
    ]
