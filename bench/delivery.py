"""The rate of sending, side by side with other senders.

    python -m bench.delivery [--case F]... [--rounds 7] [--recipients 20000] [--quick] [--json]

Cases: S, into Postfix's smtp-sink. F, into a sink of our own in C that is never the bottleneck. DKIM, into F with
RSA-2048 on every message. far, into F at 10 ms a reply over 16 connections, with pipelining and without.
SMALL and LARGE: F with 20 KB a message, and with 100,000 recipients.

Rounds are interleaved and each has a fresh sink; sender and sink have a core each. Ratios are taken round by round:
trust them, not the rates. After each run the C sink must have every recipient once, and the messages that it kept must
be their reader's own; smtp-sink only counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cases import CASES, SLOW, Case
from bench.runs import Bench, CheckError, Run

Found = dict[str, list[Run]]


def measure(bench: Bench, case: Case, rounds: int, said: Callable[[str], None]) -> Found:
    """Interleaved rounds; each begins with another sender."""
    found: Found = {sender: [] for sender in case.senders}
    for number in range(rounds):
        turn = number % len(case.senders)
        for sender in (*case.senders[turn:], *case.senders[:turn]):
            run = bench.run(case, sender)
            found[sender].append(run)
            said(f"{case.name} {number + 1}/{rounds} {sender}: {run.rate:,.0f} a second, {run.cost:.3f} CPU s/1k")
    return found


def ratios(found: Found, what: str, of: str, to: str) -> tuple[float, float, float]:
    """Median, lowest and highest of the ratios, round by round; `what` is rate or cpu."""
    value: Callable[[Run], float] = (lambda run: run.rate) if what == "rate" else (lambda run: run.cost)
    pairs = [value(mine) / value(other) for mine, other in zip(found[of], found[to], strict=True)]
    return statistics.median(pairs), min(pairs), max(pairs)


def report(bench: Bench, case: Case, found: Found) -> dict[str, Any]:
    """What a case found, as it is printed and written to the page."""
    rows = []
    for sender, runs in found.items():
        rows.append(
            {
                "sender": sender,
                "rate": statistics.median(run.rate for run in runs),
                "cpu": statistics.median(run.cost for run in runs),
                "peak_mb": statistics.median(run.peak_mb for run in runs),
                "sink_busy": statistics.median(run.sink_cpu / run.seconds for run in runs),
                "sender_busy": statistics.median(run.cpu / run.seconds for run in runs),
                "rate_ratio": ratios(found, "rate", sender, case.peer),
                "cpu_ratio": ratios(found, "cpu", sender, case.peer),
            }
        )
    targets = []
    for what, of, to, bound in case.targets:
        middle, low, high = ratios(found, what, of, to)
        met = middle >= bound if what == "rate" else middle <= bound
        targets.append({"what": what, "of": of, "to": to, "bound": bound, "ratio": (middle, low, high), "met": met})
    return {
        "case": case.name,
        "what": case.what,
        "bytes": bench.mail(case).stat().st_size,
        "recipients": bench.count(case),
        "rounds": len(found[case.peer]),
        "peer": case.peer,
        "rows": rows,
        "targets": targets,
    }


def table(found: dict[str, Any]) -> list[str]:
    """The Markdown of a case."""
    peer = found["peer"]
    lines = [
        f"| sender | msg/s | CPU s/1k | peak MB | sender, sink busy | rate / {peer} | CPU / {peer} |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        peak = f"{row['peak_mb']:.0f}" if row["peak_mb"] else "–"
        lines.append(
            f"| {row['sender']} | {row['rate']:,.0f} | {row['cpu']:.3f} | {peak} "
            f"| {row['sender_busy']:.0%}, {row['sink_busy']:.0%} "
            f"| {spread(row['rate_ratio'])} | {spread(row['cpu_ratio'])} |"
        )
    lines.append("")
    for one in found["targets"]:
        what, most = ("rate", "at least") if one["what"] == "rate" else ("CPU", "at most")
        lines.append(
            f"- {'Met' if one['met'] else 'NOT MET'}: {what} of {one['of']} to {one['to']}: "
            f"{spread(one['ratio'])}; wanted {most} {one['bound']:g}."
        )
    return lines


def spread(ratio: Sequence[float]) -> str:
    """Median (lowest to highest)."""
    middle, low, high = ratio
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Runs the cases and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", action="append", choices=list(CASES), help="again and again for several; default: all"
    )
    parser.add_argument("--sender", action="append", help="only these of a case (and the peer)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--connections", type=int, help="instead of the case's own")
    parser.add_argument("--quick", action="store_true", help="3 rounds, 5,000 recipients, no slow peers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where newsrooms are made; default: a temporary folder")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.recipients = min(options.rounds, 3), min(options.recipients, 5_000)
    found = []
    with tempfile.TemporaryDirectory(prefix="tidings-bench-", dir=options.folder) as folder:
        bench = Bench(Path(folder), options.recipients)
        for name in options.case or CASES:
            case = chosen(CASES[name], options)
            runs = measure(bench, case, options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
            found.append(report(bench, case, runs))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for one in found:
        print(
            "",
            f"{one['what']}: {one['bytes']:,} bytes, {one['recipients']:,} recipients, {one['rounds']} rounds",
            "",
            *table(one),
            sep="\n",
        )


def chosen(case: Case, options: argparse.Namespace) -> Case:
    """The case as the command line would have it."""
    senders = tuple(
        sender
        for sender in case.senders
        if (not options.sender or sender in options.sender or sender == case.peer)
        and not (options.quick and sender in SLOW and sender != case.peer)
    )
    targets = tuple(one for one in case.targets if one[1] in senders and one[2] in senders)
    connections = options.connections or case.connections
    return replace(case, senders=senders, targets=targets, connections=connections)


if __name__ == "__main__":
    try:
        main()
    except CheckError as error:
        sys.exit(f"bench.delivery: {error}")
