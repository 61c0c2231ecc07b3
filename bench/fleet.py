"""The rate of 1, 2 and 4 sending processes on one PostgreSQL.

    python -m bench.fleet [--rounds 3] [--recipients 4000] [--delay 10] [--json]

`mail.connections` holds for the whole newsroom, and its processes share it. So it grows with them here: 4 for each. The sink takes `--delay`
milliseconds for each reply, so that the wire is the limit and not the cores: a message waits for its body, and for its envelope unless that went
out together with the message before, so 4 connections carry 200 to 400 messages a second at 10 ms. After each run the sink must have every
recipient once.

A rate is that of the sending, from the start to the last reply. On a machine that does other work too, put `chrt -r 1` before the command: else
the cores are the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.servers.postgresql import Server

from bench.figures import format_verdict, print_progress
from bench.newsroom import copy_newsroom, make_newsroom
from bench.runs import RunError
from bench.sinks import CSink
from tidings.store.copying import copy_store
from tidings.store.engine import Store
from tidings.store.service.heartbeat import Heartbeat, ProcessRole, record_heartbeat

PROCESSES = (1, 2, 4)
CONNECTIONS = 4
"""Connections of one process."""
WANTED = {2: 1.8, 4: 3.2}
"""The least ratio of the rate to that of one process."""


class Figures(NamedTuple):
    """The figures of one run: messages a second, and CPU seconds for a thousand messages."""

    rate: float
    cpu: float
    database_cpu: float


def run_process(folder: str) -> None:
    """Open a newsroom, wait for a line on stdin, and send until nothing is due. Prints when that was, and the CPU seconds."""
    from bench.senders import open_at_slot

    with open_at_slot(folder) as runtime:
        now = runtime.now()
        with runtime.store.write() as connection:
            record_heartbeat(connection, Heartbeat(runtime.owner, now, now, role=ProcessRole.WORKER))
        print("ready", flush=True)
        sys.stdin.readline()
        before = os.times()
        while True:
            runtime.deliver()
            with runtime.store.read() as connection:
                left = connection.exec_driver_sql("SELECT count(*) FROM deliveries WHERE state = 'pending'")
                if not left.scalar_one():
                    break
            time.sleep(0.01)
        after = os.times()
        print(time.monotonic(), after.user + after.system - before.user - before.system, flush=True)


def measure_once(folder: Path, template: Path, server: Server, url: str, processes: int, delay: int) -> Figures:
    """Send the edition by this many processes."""
    folder.mkdir()
    database = server.copy(url)
    server_cpu = server.cpu_seconds()
    with CSink(folder / "sink", delay_ms=delay) as sink:
        root = folder / "newsroom"
        copy_newsroom(template, root, port=sink.port, connections=CONNECTIONS * processes, dkim=False)
        with (root / "tidings.yaml").open("a", encoding="utf-8") as settings:
            settings.write(f"store: {database}\n")
        command = [sys.executable, "-m", "bench.fleet", "--process", str(root)]
        team = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]
        for process in team:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RunError("a process did not start")
        begun = time.monotonic()
        for process in team:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in team:
            if process.wait() != 0:
                raise RunError("a process failed")
        ends = [tuple(map(float, process.stdout.read().split())) for process in team if process.stdout is not None]
        seconds = max(ended for ended, _ in ends) - begun
        sink.stop()
        copies = Counter(sink.recipients())
    server.drop(database)
    if set(copies.values()) != {1}:
        raise RunError(f"{len(copies)} recipients, {sum(copies.values())} messages")
    thousands = len(copies) / 1_000
    rate, cpu = len(copies) / seconds, sum(used for _, used in ends)
    return Figures(rate, cpu / thousands, (server.cpu_seconds() - server_cpu) / thousands)


def measure(rounds: int, recipients: int, delay: int) -> dict[str, Any]:
    """Measure all numbers of processes in interleaved rounds."""
    runs: dict[int, list[Figures]] = {processes: [] for processes in PROCESSES}
    server = Server()
    server.start()
    try:
        with tempfile.TemporaryDirectory(prefix="tidings-bench-") as place:
            folder = Path(place)
            template = folder / "template"
            template.mkdir()
            make_newsroom(template, recipients, 5)
            url = server.empty_database()
            source, target = Store("sqlite:///tidings.db", template), Store(url, template)
            copy_store(source, target)
            source.close()
            target.close()
            for number in range(rounds):
                for processes in PROCESSES:
                    run = folder / f"run-{number}-{processes}"
                    figures = measure_once(run, template, server, url, processes, delay)
                    runs[processes].append(figures)
                    print_progress(
                        f"{number + 1}/{rounds} {processes} processes: {figures.rate:,.0f} a second, "
                        f"{figures.cpu:.2f} + {figures.database_cpu:.2f} CPU s/1k"
                    )
    finally:
        server.stop()
    return {"recipients": recipients, "rounds": rounds, "delay": delay, "connections": CONNECTIONS, "runs": runs}


def format_table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the page."""
    runs = {int(number): [Figures(*run) for run in values] for number, values in result["runs"].items()}
    lines = [
        "| processes | connections | messages a second | ratio to one (lowest to highest) | wanted "
        "| CPU s/1k, senders | CPU s/1k, PostgreSQL |",
        "|---:|---:|---:|---|---:|---:|---:|",
    ]
    for processes, values in runs.items():
        ratios = sorted(run.rate / one.rate for run, one in zip(values, runs[1], strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})" if processes > 1 else "1"
        lines.append(
            f"| {processes} | {processes * result['connections']} | {statistics.median(run.rate for run in values):,.0f} "
            f"| {spread} | {WANTED.get(processes, '')} | {statistics.median(run.cpu for run in values):.2f} "
            f"| {statistics.median(run.database_cpu for run in values):.2f} |"
        )
    medians = {
        processes: statistics.median(run.rate / one.rate for run, one in zip(runs[processes], runs[1], strict=True))
        for processes in WANTED
    }
    verdict = format_verdict(all(ratio >= WANTED[processes] for processes, ratio in medians.items()))
    reached = " and ".join(f"{ratio:.2f}" for ratio in medians.values())
    return [
        *lines,
        "",
        f"- {verdict}: {reached} times the rate of one process; wanted {' and '.join(map(str, WANTED.values()))}.",
    ]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipients", type=int, default=4_000)
    parser.add_argument("--delay", type=int, default=10, help="milliseconds for each reply of the sink")
    parser.add_argument("--quick", action="store_true", help="1 round, 1,500 recipients")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        run_process(options.process)
        return
    if options.quick:
        options.rounds, options.recipients = 1, 1_500
    result = measure(options.rounds, options.recipients, options.delay)
    print(json.dumps(result, indent=2) if options.json else "\n".join(format_table(result)))


if __name__ == "__main__":
    try:
        main()
    except RunError as error:
        sys.exit(f"bench.fleet: {error}")
