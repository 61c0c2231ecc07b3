"""A million readers: the memory of a send, and the time to address an edition.

    python -m bench.million [--readers 1000000] [--few 10000] [--rounds 3] [--no-send] [--json]

Memory: one process composes an edition and sends it into the C sink. Its peak for many readers and for few is compared
with its memory before. Addressing: the tick that composes an edition for 12 segments (3 languages and 4 sets of topics)
is compared with one INSERT ... SELECT by SQLite from the same readers: as many rows of the same width, into a table
without an index but the key, in the same file with the same durability. Both take turns, on new copies.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import format_spread, format_verdict, print_progress, ratio_spread
from bench.newsroom import start_newsroom, write_settings, write_stories
from bench.runs import RunError, Runner
from bench.sinks import CSink

LANGUAGES = ("en", "ru", "kk")
TOPICS = ("health", "water", "work", "youth")
INTERESTS = ('["health"]', '["water"]', '["health", "work"]', '["youth"]')
SEGMENTS = len(LANGUAGES) * len(INTERESTS)


def make_newsroom(root: Path, readers: int) -> Path:
    """Make a newsroom whose edition is due, with readers in 12 segments."""
    root.mkdir()
    write_stories(root, 22, languages=LANGUAGES, topics=TOPICS)
    write_settings(root, port=25, languages=LANGUAGES, topics=TOPICS)
    start_newsroom(root, readers, languages=LANGUAGES, interests=INTERESTS)
    return root


VALUES = {
    "target": "'list:digest:' || p.id",
    "list": "s.list",
    "subscriber": "p.id",
    "address_hash": "p.address_hash",
    "selection": "instr('enrukk', p.language)",
    "state": "'pending'",
}
"""The SQL of columns that differ between deliveries; every other column is as short as possible."""


def insert_bare_rows(database: Path) -> dict[str, Any]:
    """Insert a row as wide as a delivery for each reader, by one INSERT ... SELECT into a table without an index."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    columns = connection.execute("SELECT name, type, [notnull] FROM pragma_table_info('deliveries')").fetchall()
    values = {
        name: VALUES.get(name, "NULL" if not required else "0" if kind in ("INTEGER", "BIGINT") else "''")
        for name, kind, required in columns
        if name != "id"
    }
    names = ", ".join(values)
    connection.execute(f"CREATE TABLE bare (id INTEGER PRIMARY KEY, {names})")
    start, cpu = time.perf_counter(), time.process_time()
    connection.execute("BEGIN IMMEDIATE")
    count = connection.execute(
        f"INSERT INTO bare ({names}) SELECT {', '.join(values.values())} FROM subscriptions s "
        "JOIN subscribers p ON p.id = s.subscriber WHERE s.list = 'digest' AND s.state = 'confirmed' ORDER BY s.id"
    ).rowcount
    connection.execute("COMMIT")
    figures = {"messages": count, "seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    connection.close()
    return figures


def measure_addressing(runner: Runner, template: Path, readers: int, rounds: int) -> dict[str, Any]:
    """Measure our addressing and the bare rows in turn."""
    result: dict[str, Any] = {"readers": readers, "segments": SEGMENTS, "ours": [], "bare": []}
    for number in range(rounds):
        root = runner.folder / f"addressing-{number}"
        shutil.copytree(template, root)
        ours = runner.run_sender(["compose", str(root)])
        if ours["messages"] != readers:
            raise RunError(f"{ours['messages']:,} deliveries for {readers:,} readers")
        with sqlite3.connect(root / "tidings.db") as connection:
            (selections,) = connection.execute("SELECT count(DISTINCT selection) FROM deliveries").fetchone()
        connection.close()
        if selections != SEGMENTS:
            raise RunError(f"{selections} selections instead of {SEGMENTS}")
        bare = insert_bare_rows(root / "tidings.db")
        result["ours"].append(ours)
        result["bare"].append(bare)
        print_progress(f"addressing {number + 1}/{rounds}: {ours['seconds']:.2f} s, bare rows {bare['seconds']:.2f} s")
        shutil.rmtree(root)
    result["ratio"] = ratio_spread(*([run["seconds"] for run in result[key]] for key in ("ours", "bare")))
    return result


def measure_sending(runner: Runner, template: Path, readers: int) -> dict[str, Any]:
    """Measure the memory of one process that composes and sends, and check that everybody got the mail."""
    root = runner.folder / f"sending-{readers}"
    shutil.copytree(template, root)
    with CSink(runner.folder / f"sink-{readers}") as sink:
        write_settings(root, port=sink.port, languages=LANGUAGES, topics=TOPICS)
        figures = runner.run_sender(["whole", str(root)])
        sink.stop()
    recipients = sink.recipients()
    if len(recipients) != readers or len(set(recipients)) != readers:
        raise RunError(
            f"{len(recipients):,} recipients, {len(set(recipients)):,} different ones, instead of {readers:,}"
        )
    memory = f"{figures['peak_mb']:.0f} MB, before {figures['idle_mb']:.0f} MB"
    print_progress(f"sending to {readers:,}: {memory}, {figures['seconds']:.0f} s")
    shutil.rmtree(root)
    return {"readers": readers, **figures}


def format_table(result: dict[str, Any]) -> list[str]:
    """The Markdown of the result."""
    lines = []
    if result["sending"]:
        few, many = result["sending"]
        lines += [
            "| one process that composes and sends | MB before | composing, at most | in all, at most | msg/s |",
            "|---|---:|---:|---:|---:|",
        ]
        for run in (few, many):
            rate, composing = run["messages"] / run["seconds"], run["composing"]["peak_mb"]
            memory = f"{run['idle_mb']:.0f} | {composing:.0f} | {run['peak_mb']:.0f}"
            lines.append(f"| {run['readers']:,} readers | {memory} | {rate:,.0f} |")
        ratio, growth = many["peak_mb"] / few["peak_mb"], many["peak_mb"] - many["idle_mb"]
        lines += [
            "",
            f"- {format_verdict(ratio <= 1.2)}: memory for many to memory for few: {ratio:.2f}; wanted at most 1.2.",
            f"- {format_verdict(growth <= 40)}: growth over the memory before: {growth:.0f} MB; wanted at most 40.",
            "",
        ]
    addressing = result["addressing"]
    lines += [
        f"| {addressing['readers']:,} readers in {addressing['segments']} segments | s | CPU s |",
        "|---|---:|---:|",
    ]
    for name, key in (("the tick that composes the edition", "ours"), ("bare rows by SQLite", "bare")):
        seconds, cpu = (statistics.median(run[unit] for run in addressing[key]) for unit in ("seconds", "cpu"))
        lines.append(f"| {name} | {seconds:.2f} | {cpu:.2f} |")
    ratio, verdict = addressing["ratio"], format_verdict(addressing["ratio"][0] <= 4)
    lines += ["", f"- {verdict}: time to address to time of bare rows: {format_spread(ratio)}; wanted at most 4."]
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-send", action="store_true", help="measure only addressing")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="folder for the newsrooms; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidings-bench-", dir=options.folder) as folder:
        runner = Runner(Path(folder), options.readers)
        many = make_newsroom(runner.folder / "many", options.readers)
        addressing = measure_addressing(runner, many, options.readers, options.rounds)
        result: dict[str, Any] = {"addressing": addressing, "sending": []}
        if not options.no_send:
            few = make_newsroom(runner.folder / "few", options.few)
            result["sending"] = [
                measure_sending(runner, few, options.few),
                measure_sending(runner, many, options.readers),
            ]
    print(json.dumps(result, indent=2) if options.json else "\n".join(format_table(result)))


if __name__ == "__main__":
    try:
        main()
    except RunError as error:
        sys.exit(f"bench.million: {error}")
