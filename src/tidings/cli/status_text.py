"""`tidings status` for a person: what is wrong first, each with what mends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tidings.cli.app import console, show
from tidings.runtime.newsroom import Runtime


def report_status(found: dict[str, Any], runtime: Runtime) -> None:
    """`found` is of the shape of `tidings status --json`."""
    wrong = found["wrong"]
    if not wrong:
        console.print("All is well.")
    else:
        console.print(f"[bold]{'1 thing needs' if len(wrong) == 1 else f'{len(wrong)} things need'} a look.[/]")
    for number, one in enumerate(wrong, 1):
        console.print(f"{number}. {one['text']}", markup=False)
        console.print(f"   -> {one['mend']}", markup=False)
    console.print()
    for line in [*_service(found, runtime), *_paused(found, runtime), *_restored(found, runtime)]:
        console.print(line, markup=False)
    for one in found["next"]:
        due = " (due now)" if one["at"] and one["at"] <= runtime.now() else ""
        console.print(f"Next: {one['schedule']} {show(one['at'], runtime)}{due}", markup=False)
    for line in [*_sending(found, runtime), *_place(found)]:
        console.print(line, markup=False)


def _service(found: dict[str, Any], runtime: Runtime) -> list[str]:
    ticked = f"last tick {_ago(found['last_tick'])}" if found["last_tick"] else "there was no tick yet"
    lives = [one for one in found["services"] if one["alive"]]
    lines = [
        f"{'Pages are served' if one['only_pages'] else 'The service runs'} since {show(one['started'], runtime)} "
        f"({one['owner']}), last beat {_ago(one['beat'])}"
        for one in lives
    ]
    if any(not one["only_pages"] for one in lives):
        return [f"{line}; {ticked}." for line in lines]
    return [*(f"{line}." for line in lines), f"No service publishes and sends just now (tidings run); {ticked}."]


def _ago(moment: datetime) -> str:
    age = max(datetime.now(UTC) - moment, timedelta(0))
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(age.total_seconds() // seconds)
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return f"{age.total_seconds():.0f} seconds ago"


def _paused(found: dict[str, Any], runtime: Runtime) -> list[str]:
    lines = []
    for one in found["paused"]:
        end = f"until {show(one['until'], runtime)}" if one["until"] else "until `tidings resume`"
        why = f" ({one['reason']})" if one["reason"] else ""
        lines.append(f"Paused since {show(one['since'], runtime)} by {one['who']}: {one['what']}, {end}{why}.")
    return lines


def _restored(found: dict[str, Any], runtime: Runtime) -> list[str]:
    restored = found["restored"]
    if not restored:
        return []
    text = f"Restored on {show(restored['at'], runtime)} from a backup of {show(restored['made'], runtime)}."
    if restored["waiting"]:
        text += f" What may have gone out since waits for a person: {', '.join(restored['waiting'])}."
    if restored["schedules"]:
        text += f" The next edition of each of these is held: {', '.join(restored['schedules'])}."
    return [text]


def _sending(found: dict[str, Any], runtime: Runtime) -> list[str]:
    words = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in sorted(found["deliveries"].items()))
    last = f"; the last was accepted {_ago(found['last_accepted'])}" if found["last_accepted"] else ""
    lines = [f"Deliveries: {words or 'none yet'}; {found['queued']:,} may go now{last}."]
    for one in found["senders"]:
        if not one["up"]:
            until = show(one["down_until"], runtime)
            lines.append(f"Sender {one['sender']}: tried again at {until}, after {one['failures']} failures.")
    for one in found["sources"]:
        moment = one["fetched"] or one["read"]
        read = f"read {_ago(moment)}" if moment else "not read yet"
        if one["problem"]:
            again = f", asked again {show(one['due'], runtime)}" if one["due"] else ""
            last = f"; read last {_ago(one['fetched'])}" if one["fetched"] else ""
            read = f"cannot be read{again}{last}"
        lines.append(f"Source {one['source']}: {read}.")
    for name, counts in found["lists"].items():
        readers = ", ".join(f"{count:,} {state}" for state, count in counts.items()) or "nobody yet"
        lines.append(f"List {name}: {readers}.")
    return lines


def _place(found: dict[str, Any]) -> list[str]:
    disks = ", ".join(
        f"{disk['free'] / 1e9:,.1f} of {disk['total'] / 1e9:,.0f} GB free ({name})"
        for name, disk in found["disks"].items()
    )
    return [
        f"Disk: {disks}; the store takes {found['store_bytes'] / 1e6:,.1f} MB.",
        f"Version {found['version']}, schema {found['schema']}, time zones of {found['tzdata']}; "
        f"{found['items']:,} items.",
    ]
