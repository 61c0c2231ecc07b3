"""The rate of sending, side by side with other senders.

    python -m bench.delivery [--case F]... [--rounds 7] [--recipients 20000] [--quick] [--json]

Cases:
  S      into Postfix's smtp-sink
  F      into our own sink in C, which is never the bottleneck
  DKIM   F, with RSA-2048 on every message
  far    F at 10 ms a reply over 16 connections, with and without pipelining
  SMALL  F with 20 KB a message
  LARGE  F with 100,000 recipients

Rounds are interleaved, and each has a new sink; sender and sink have a core each. Ratios are taken round by round: trust
them, not the rates. After each run the C sink must have every recipient once, and the messages that it kept must be
their reader's own; smtp-sink only counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cases import CASES, SLOW_SHARES, SendingCase
from bench.figures import Spread, format_spread, format_verdict, print_progress, ratio_spread
from bench.runs import RunError, Runner, TimedRun

Runs = dict[str, list[TimedRun]]
"""The runs of each sender, one for each round."""


def measure(runner: Runner, case: SendingCase, rounds: int) -> Runs:
    """Run all senders in interleaved rounds; each round begins with another sender."""
    runs: Runs = {sender: [] for sender in case.senders}
    for number in range(rounds):
        turn = number % len(case.senders)
        for sender in (*case.senders[turn:], *case.senders[:turn]):
            run = runner.run(case, sender)
            runs[sender].append(run)
            print_progress(
                f"{case.name} {number + 1}/{rounds} {sender}: {run.rate:,.0f} a second, {run.cost:.3f} CPU s/1k"
            )
    return runs


def ratios(runs: Runs, measure: str, sender: str, peer: str) -> Spread:
    """The ratios of two senders; `measure` is rate or cpu."""
    value: Callable[[TimedRun], float] = (lambda run: run.rate) if measure == "rate" else (lambda run: run.cost)
    return ratio_spread([value(run) for run in runs[sender]], [value(run) for run in runs[peer]])


def report(runner: Runner, case: SendingCase, runs: Runs) -> dict[str, Any]:
    """The result of a case, as it is printed and written to the page."""
    rows = []
    for sender, mine in runs.items():
        rows.append(
            {
                "sender": sender,
                "rate": statistics.median(run.rate for run in mine),
                "cpu": statistics.median(run.cost for run in mine),
                "peak_mb": statistics.median(run.peak_mb for run in mine),
                "sink_busy": statistics.median(run.sink_cpu / run.seconds for run in mine),
                "sender_busy": statistics.median(run.cpu / run.seconds for run in mine),
                "rate_ratio": ratios(runs, "rate", sender, case.peer),
                "cpu_ratio": ratios(runs, "cpu", sender, case.peer),
            }
        )
    targets = []
    for target in case.targets:
        ratio = ratios(runs, target.measure, target.sender, target.peer)
        row = {"what": target.measure, "of": target.sender, "to": target.peer, "bound": target.bound}
        targets.append({**row, "ratio": ratio, "met": target.is_met(ratio[0])})
    return {
        "case": case.name,
        "what": case.title,
        "bytes": runner.sample_mail(case).stat().st_size,
        "recipients": runner.count_recipients(case),
        "rounds": len(runs[case.peer]),
        "peer": case.peer,
        "rows": rows,
        "targets": targets,
    }


def format_table(result: dict[str, Any]) -> list[str]:
    """The Markdown of a case."""
    peer = result["peer"]
    lines = [
        f"| sender | msg/s | Gbit/s | CPU s/1k | peak MB | sender, sink busy | rate / {peer} | CPU / {peer} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        peak = f"{row['peak_mb']:.0f}" if row["peak_mb"] else "–"
        lines.append(
            f"| {row['sender']} | {row['rate']:,.0f} | {row['rate'] * result['bytes'] * 8 / 1e9:.2f} "
            f"| {row['cpu']:.3f} | {peak} "
            f"| {row['sender_busy']:.0%}, {row['sink_busy']:.0%} "
            f"| {format_spread(row['rate_ratio'])} | {format_spread(row['cpu_ratio'])} |"
        )
    lines.append("")
    for target in result["targets"]:
        measure, limit = ("rate", "at least") if target["what"] == "rate" else ("CPU", "at most")
        lines.append(
            f"- {format_verdict(target['met'])}: {measure} of {target['of']} to {target['to']}: "
            f"{format_spread(target['ratio'])}; wanted {limit} {target['bound']:g}."
        )
    return lines


def choose_senders(case: SendingCase, options: argparse.Namespace) -> SendingCase:
    """The case with the senders and connections of the command line."""
    senders = tuple(
        sender
        for sender in case.senders
        if (not options.sender or sender in options.sender or sender == case.peer)
        and not (options.quick and sender in SLOW_SHARES and sender != case.peer)
    )
    targets = tuple(target for target in case.targets if target.sender in senders and target.peer in senders)
    return replace(case, senders=senders, targets=targets, connections=options.connections or case.connections)


def main() -> None:
    """Run the cases and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", action="append", choices=list(CASES), help="run this case; may be given several times; default: all"
    )
    parser.add_argument("--sender", action="append", help="run only these senders of a case (and the peer)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--connections", type=int, help="connections of each sender, instead of the case's own")
    parser.add_argument("--quick", action="store_true", help="3 rounds, 5,000 recipients, no slow peers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="folder for the newsrooms; default: a temporary folder")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.recipients = min(options.rounds, 3), min(options.recipients, 5_000)
    results = []
    with tempfile.TemporaryDirectory(prefix="tidings-bench-", dir=options.folder) as folder:
        runner = Runner(Path(folder), options.recipients)
        for name in options.case or CASES:
            case = choose_senders(CASES[name], options)
            results.append(report(runner, case, measure(runner, case, options.rounds)))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for result in results:
        size = f"{result['bytes']:,} bytes, {result['recipients']:,} recipients, {result['rounds']} rounds"
        print("", f"{result['what']}: {size}", "", *format_table(result), sep="\n")


if __name__ == "__main__":
    try:
        main()
    except RunError as error:
        sys.exit(f"bench.delivery: {error}")
