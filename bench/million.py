"""A million readers: the memory of a send, and the time to address an edition.

    python -m bench.million [--readers 1000000] [--few 10000] [--rounds 3] [--no-send] [--json]

Memory: one process composes an edition and sends it, into the C sink; the most that it held, for many readers and for
few, beside what it held before. Addressing: the beat that composes an edition for 12 segments (3 languages and 4 sets of
topics) beside one INSERT ... SELECT by SQLite from the same readers, of as many rows of the same width into a table
without an index but the key, in the same file with the same durability; by turns, on fresh copies.
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

from bench.delivery import spread
from bench.newsroom import begin, configure, write_stories
from bench.runs import Bench, CheckError
from bench.sinks import CSink

LANGUAGES = ("en", "ru", "kk")
TOPICS = ("health", "water", "work", "youth")
INTERESTS = ('["health"]', '["water"]', '["health", "work"]', '["youth"]')
SEGMENTS = len(LANGUAGES) * len(INTERESTS)


def make(root: Path, readers: int) -> Path:
    """A newsroom whose edition is due, with readers in 12 segments."""
    root.mkdir()
    write_stories(root, 22, languages=LANGUAGES, topics=TOPICS)
    configure(root, port=25, languages=LANGUAGES, topics=TOPICS)
    begin(root, readers, languages=LANGUAGES, interests=INTERESTS)
    return root


VARY = {
    "target": "'list:digest:' || p.id",
    "list": "s.list",
    "subscriber": "p.id",
    "address_hash": "p.address_hash",
    "selection": "instr('enrukk', p.language)",
    "state": "'pending'",
}
"""What differs in a delivery, or is worth a thought; the rest is as short as it may be."""


def bare_rows(database: Path) -> dict[str, Any]:
    """A row of the width of a delivery for each reader, by one INSERT ... SELECT into a table without an index."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    columns = connection.execute("SELECT name, type, [notnull] FROM pragma_table_info('deliveries')").fetchall()
    values = {
        name: VARY.get(name, "NULL" if not wanted else "0" if kind in ("INTEGER", "BIGINT") else "''")
        for name, kind, wanted in columns
        if name != "id"
    }
    named = ", ".join(values)
    connection.execute(f"CREATE TABLE bare (id INTEGER PRIMARY KEY, {named})")
    began, cpu = time.perf_counter(), time.process_time()
    connection.execute("BEGIN IMMEDIATE")
    count = connection.execute(
        f"INSERT INTO bare ({named}) SELECT {', '.join(values.values())} FROM subscriptions s "
        "JOIN subscribers p ON p.id = s.subscriber WHERE s.list = 'digest' AND s.state = 'confirmed' ORDER BY s.id"
    ).rowcount
    connection.execute("COMMIT")
    found = {"messages": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    connection.close()
    return found


def addressing(bench: Bench, template: Path, readers: int, rounds: int) -> dict[str, Any]:
    """Seconds of both, by turns."""
    found: dict[str, Any] = {"readers": readers, "segments": SEGMENTS, "ours": [], "bare": []}
    for number in range(rounds):
        root = bench.folder / f"addressing-{number}"
        shutil.copytree(template, root)
        ours = bench.child(["compose", str(root)])
        if ours["messages"] != readers:
            raise CheckError(f"{ours['messages']:,} deliveries for {readers:,} readers")
        with sqlite3.connect(root / "tidings.db") as connection:
            (selections,) = connection.execute("SELECT count(DISTINCT selection) FROM deliveries").fetchone()
        connection.close()
        if selections != SEGMENTS:
            raise CheckError(f"{selections} selections, not {SEGMENTS}")
        bare = bare_rows(root / "tidings.db")
        found["ours"].append(ours)
        found["bare"].append(bare)
        said(f"addressing {number + 1}/{rounds}: {ours['seconds']:.2f} s, bare rows {bare['seconds']:.2f} s")
        shutil.rmtree(root)
    ratios = [ours["seconds"] / bare["seconds"] for ours, bare in zip(found["ours"], found["bare"], strict=True)]
    found["ratio"] = (statistics.median(ratios), min(ratios), max(ratios))
    return found


def sending(bench: Bench, template: Path, readers: int) -> dict[str, Any]:
    """Memory of one process that composes and sends, and whether everybody got it."""
    root = bench.folder / f"sending-{readers}"
    shutil.copytree(template, root)
    with CSink(bench.folder / f"sink-{readers}") as sink:
        configure(root, port=sink.port, languages=LANGUAGES, topics=TOPICS)
        found = bench.child(["whole", str(root)])
        sink.taken()
    recipients = sink.recipients()
    if len(recipients) != readers or len(set(recipients)) != readers:
        raise CheckError(f"{len(recipients):,} recipients, {len(set(recipients)):,} different, not {readers:,}")
    said(
        f"a send to {readers:,}: {found['peak_mb']:.0f} MB, before {found['idle_mb']:.0f} MB, {found['seconds']:.0f} s"
    )
    shutil.rmtree(root)
    return {"readers": readers, **found}


def said(line: str) -> None:
    """What has been done so far."""
    print(line, file=sys.stderr, flush=True)


def table(found: dict[str, Any]) -> list[str]:
    """Markdown."""
    lines = []
    if found["sending"]:
        few, many = found["sending"]
        lines += [
            "| one process that composes and sends | MB before | composing, at most | in all, at most | msg/s |",
            "|---|---:|---:|---:|---:|",
        ]
        for one in (few, many):
            rate, composing = one["messages"] / one["seconds"], one["composing"]["peak_mb"]
            memory = f"{one['idle_mb']:.0f} | {composing:.0f} | {one['peak_mb']:.0f}"
            lines.append(f"| {one['readers']:,} readers | {memory} | {rate:,.0f} |")
        times, more = many["peak_mb"] / few["peak_mb"], many["peak_mb"] - many["idle_mb"]
        lines += [
            "",
            f"- {'Met' if times <= 1.2 else 'NOT MET'}: memory for many to memory for few: {times:.2f}; wanted at most 1.2.",
            f"- {'Met' if more <= 40 else 'NOT MET'}: above what it held before: {more:.0f} MB; wanted at most 40.",
            "",
        ]
    one = found["addressing"]
    lines += [f"| {one['readers']:,} readers in {one['segments']} segments | s | CPU s |", "|---|---:|---:|"]
    for name, key in (("the beat that composes the edition", "ours"), ("bare rows by SQLite", "bare")):
        seconds, cpu = (statistics.median(run[what] for run in one[key]) for what in ("seconds", "cpu"))
        lines.append(f"| {name} | {seconds:.2f} | {cpu:.2f} |")
    met = "Met" if one["ratio"][0] <= 4 else "NOT MET"
    lines += ["", f"- {met}: time to address to time of bare rows: {spread(one['ratio'])}; wanted at most 4."]
    return lines


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-send", action="store_true", help="addressing alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where newsrooms are made; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidings-bench-", dir=options.folder) as folder:
        bench = Bench(Path(folder), options.readers)
        many = make(bench.folder / "many", options.readers)
        found: dict[str, Any] = {"addressing": addressing(bench, many, options.readers, options.rounds), "sending": []}
        if not options.no_send:
            few = make(bench.folder / "few", options.few)
            found["sending"] = [sending(bench, few, options.few), sending(bench, many, options.readers)]
    print(json.dumps(found, indent=2) if options.json else "\n".join(table(found)))


if __name__ == "__main__":
    try:
        main()
    except CheckError as error:
        sys.exit(f"bench.million: {error}")
