"""Run the benchmarks, and write docs/performance.md from their results.

    python -m bench [digest] [feeds] [http] [burst] [delivery] [million] [fleet] [room] [growth] [options of the benchmark]

Without a name all of them run, which takes long. Each writes its own section of the page; the others stay.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import burst, delivery, fleet, growth, http, million, room
from bench.figures import format_spread, ratio_spread

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEAD = """\
# Performance

Written by `make bench`. Each ratio compares us with the named peer in the same run, round by round. Ratios hold on a busy
machine; times and rates do not. With several rounds, a ratio is the median, followed by the lowest and the highest.
"""


def digest_section(result: dict[str, Any]) -> list[str]:
    """One reader's mail, and one edition for few and many sets of interests."""
    seconds: dict[str, float] = result["seconds"]
    (spliced, spliced_s), (email, email_s), _, _, (_, few_s), (_, many_s) = seconds.items()
    ratios = result["ratios"]
    lines = [
        "## One reader's mail",
        "",
        f"A digest of 12 stories in Russian, {result['bytes']:,} bytes, with each reader's own personal parts and headers.",
        f"Times are CPU time, medians of {result['rounds']} interleaved rounds.",
        "",
        "| | µs | ratio to the first (lowest to highest) |",
        "|---|---:|---:|",
        f"| {spliced} (frozen fragments, base64 prepared) | {spliced_s * 1e6:,.0f} | 1 |",
        f"| {email} (Python's standard library, from the same HTML and text) "
        f"| {email_s * 1e6:,.0f} | {format_spread(ratios['EmailMessage / spliced'], 0)} |",
        "",
        "## One edition, few and many sets of interests",
        "",
        "From 40 stories to the bytes for 10,000 readers, including rendering and inlining. Readers choose topics; each",
        "different set of topics gets its own digest.",
        "",
        "| | s | ratio |",
        "|---|---:|---:|",
    ]
    return [
        *lines,
        f"| 10 sets | {few_s:.2f} | 1 |",
        f"| 1,000 sets | {many_s:.2f} | {format_spread(ratios['1,000 sets / 10 sets'])} |",
    ]


def feeds_section(result: dict[str, Any]) -> list[str]:
    """One feed of 50 items."""
    lines = [
        "## One feed of 50 items",
        "",
        "The peers write only titles, links, dates and content; ours also writes languages, categories, pictures, translations",
        "and repaired links. A feed is rendered only when something in it changed.",
        "",
        "| | ms | ratio to feedgen (lowest to highest) |",
        "|---|---:|---:|",
    ]
    peer = result["RSS by feedgen with its defaults"]
    for name, values in result.items():
        spread = format_spread(ratio_spread(values, peer))
        lines.append(f"| {name} | {statistics.median_high(values) * 1e3:.1f} | {spread} |")
    return lines


def http_section(result: dict[str, Any]) -> list[str]:
    """A feed over HTTP."""
    return [
        "## A feed over HTTP",
        "",
        f"One feed of {result['bytes']:,} bytes, served by `tidings run --only pages` and by nginx from the same folder and core.",
        "`wrk` asks from the other core, over 16 connections. 'unchanged': the client has this version, and gets 304.",
        "",
        *http.format_table(result),
    ]


def burst_section(result: dict[str, Any]) -> list[str]:
    """A send beside a burst on the pages."""
    return [
        "## A send beside a burst on the pages",
        "",
        f"One process serves the pages and sends {result['recipients']:,} mails into a sink that takes {result['delay']} ms for each reply;",
        f"{result['rounds']} rounds. `wrk` asks for `{result['path']}` over 16 connections, as fast as it is answered.",
        f"Then {burst.FOLLOWERS} open pages of the comms room follow the send: each asks every {burst.FOLLOWED_SECONDS:.0f} seconds how far it is.",
        "Both share a core with the sink; the process that sends has the other one. Every request was answered.",
        "",
        *burst.format_table(result),
    ]


def delivery_section(results: list[dict[str, Any]]) -> list[str]:
    """The rate of sending."""
    lines = [
        "## Sending",
        "",
        "A personalised digest (each reader's own address, name and links) by the product's real `deliver()`: ledger on, SQLite",
        "with `synchronous=FULL`, an intent before each message and an outcome after it. Only the sending is timed. The peers",
        "send the same text and HTML, and keep no ledger. `smtp-source` is Postfix's load generator: C, identical bytes, no",
        "pipelining. Sender and sink had a core each, unless the table says otherwise. CPU is the sender's, over all threads; 'busy' shows which side was at its",
        "limit. After each run the sink in C had every recipient exactly once; the messages that it kept were their reader's own,",
        "and verified if they were signed. smtp-sink only counts.",
    ]
    for result in results:
        size = (
            f"{result['bytes'] / 1000:.0f} KB a message, {result['recipients']:,} recipients, {result['rounds']} rounds"
        )
        title = f"### {result['what'][0].upper()}{result['what'][1:]}"
        lines += ["", title, "", f"{size}.", "", *delivery.format_table(result)]
    return lines


def million_section(result: dict[str, Any]) -> list[str]:
    """Memory and addressing."""
    return [
        "## A million readers",
        "",
        "Memory is of one process that composes an edition, addresses it and sends it (`VmHWM`). Addressing is the whole tick",
        "that composes the edition: stories collected, pages published, digests rendered and inlined, and one delivery frozen",
        "for each reader under all its constraints and indexes. Its peer is one `INSERT ... SELECT` by SQLite from the same",
        "readers: as many rows of the same width, into a table without an index, in the same file with the same durability.",
        "",
        *million.format_table(result),
    ]


def fleet_section(result: dict[str, Any]) -> list[str]:
    """The rate of several processes."""
    return [
        "## Several processes",
        "",
        f"One edition of {result['recipients']:,} mails on one PostgreSQL, into a sink that takes {result['delay']} ms for each",
        f"reply; {result['connections']} connections for each process; {result['rounds']} rounds. The sink had every recipient once.",
        "",
        *fleet.format_table(result),
    ]


def room_section(result: dict[str, Any]) -> list[str]:
    """The screens of the comms room."""
    return [
        "## The comms room",
        "",
        f"Each screen in a newsroom with {result['subscribers']:,} subscribers, {result['stories']:,} stories and",
        f"{result['editions']:,} editions, of which one waits and goes to all subscribers. None of them has had an edition yet,",
        "which is the slowest case for a plan. A screen is asked for through the whole application, without a network.",
        "CPU time is of the first request and of the cheaper of two more; bytes are not compressed; files are those of",
        f"`content/`. Wanted: at most {room.MOST_BYTES / 1000:.0f} kB and {room.MOST_SECONDS:.0f} s.",
        "",
        *room.format_table(result["costs"]),
    ]


def growth_section(result: dict[str, Any]) -> list[str]:
    """The cost of much content, and of a long ledger."""
    return [
        "## Growth of content and ledger",
        "",
        "Newsrooms of generated stories in English, Russian and Kazakh. CPU time is of the whole command, with its start and its",
        "children. The seconds to the feed are real time, so other work on the machine counts. The exponent is that of the power",
        "of the number of items that fits best: 0 does not grow, 1 is proportional. The ledger was written by SQL.",
        "",
        *growth.format_tables(result),
    ]


SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "digest": digest_section,
    "feeds": feeds_section,
    "http": http_section,
    "burst": burst_section,
    "delivery": delivery_section,
    "million": million_section,
    "fleet": fleet_section,
    "room": room_section,
    "growth": growth_section,
}


def run_benchmark(name: str, arguments: Sequence[str]) -> str:
    """Run one benchmark in its own process; returns its section of the page."""
    command = [sys.executable, "-m", f"bench.{name}", *arguments, "--json"]
    process = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit(f"bench.{name} failed; docs/performance.md is unchanged")
    lines = SECTIONS[name](json.loads(process.stdout))
    command_line = f'make bench ARGS="{" ".join([name, *arguments])}"'
    machine = f"{platform.machine()}, {os.cpu_count()} cores shared with other work, Python {platform.python_version()}"
    return "\n".join([*lines, "", f"Made by `{command_line}` on {machine}."])


def read_sections(page: str) -> dict[str, str]:
    """The sections of a page by name."""
    page, _, _ = page.partition("\nNot measured yet: ")
    _, *pieces = re.split(r"^<!-- (\w+) -->\n", page, flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(pieces[::2], pieces[1::2], strict=True)}


def write_page(sections: dict[str, str]) -> None:
    """Write the page; it also names the benchmarks that never ran."""
    pieces = [f"<!-- {name} -->\n{text}\n" for name in SECTIONS if (text := sections.get(name))]
    missing = [f'`make bench ARGS="{name}"`' for name in SECTIONS if name not in sections]
    if missing:
        pieces.append(f"Not measured yet: {', '.join(missing)}.\n")
    PAGE.write_text("\n".join([HEAD, *pieces]), encoding="utf-8")


def main() -> None:
    """Run the benchmarks, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*SECTIONS, []], help="which benchmarks to run; default: all")
    options, arguments = parser.parse_known_args()
    names = options.name or list(SECTIONS)
    if arguments and len(names) > 1:
        parser.error("options belong to one benchmark: name it")
    for name in names:
        section = run_benchmark(name, arguments)
        write_page({**read_sections(PAGE.read_text(encoding="utf-8")), name: section})
        print(section)


if __name__ == "__main__":
    main()
