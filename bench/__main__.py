"""The benchmarks, and docs/performance.md from what they measured.

    python -m bench [digest] [feeds] [delivery] [million] [their options]

Without a name all of them, which takes long. Each writes its own section of the page, and the others stay.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import delivery, million
from bench.digest import spread

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEAD = """\
# Performance

Written by `make bench`. Ratios were taken round by round in one run, side by side with the named peer; they hold when
the machine is busy, the times and rates do not. Where there are several rounds, a ratio is the median, with the lowest
and the highest behind it.
"""


def digest_section(found: dict[str, Any]) -> list[str]:
    """One reader's mail, and one edition for few and many sets of interests."""
    seconds: dict[str, float] = found["seconds"]
    names = list(seconds)
    middle, low, high = found["ratios"]["EmailMessage / spliced"]
    lines = [
        "## One reader's mail",
        "",
        f"A digest of 12 stories in Russian, {found['bytes']:,} bytes, personal parts and headers of its own for each reader.",
        f"Times are seconds of the processor, medians of {found['rounds']} interleaved rounds.",
        "",
        "| | µs | ratio to the first (lowest to highest) |",
        "|---|---:|---:|",
        f"| {names[0]} (frozen fragments, base64 prepared) | {seconds[names[0]] * 1e6:,.0f} | 1 |",
        f"| {names[1]} (Python's standard library, from the same HTML and text) "
        f"| {seconds[names[1]] * 1e6:,.0f} | {middle:.0f} ({low:.0f} to {high:.0f}) |",
        "",
        "## One edition, few and many sets of interests",
        "",
        "From 40 stories to the bytes of 10,000 readers, rendering and inlining included. Readers choose topics; each",
        "different set of topics gets a digest of its own.",
        "",
        "| | s | ratio |",
        "|---|---:|---:|",
    ]
    middle, low, high = found["ratios"]["1,000 sets / 10 sets"]
    return [
        *lines,
        f"| 10 sets | {seconds[names[4]]:.2f} | 1 |",
        f"| 1,000 sets | {seconds[names[5]]:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) |",
    ]


def feeds_section(found: dict[str, Any]) -> list[str]:
    """One feed of 50 items."""
    lines = [
        "## One feed of 50 items",
        "",
        "The peers write titles, links, dates and content alone; ours also languages, categories, pictures, translations and",
        "repaired links. A feed is rendered only when something in it changed.",
        "",
        "| | ms | ratio to feedgen (lowest to highest) |",
        "|---|---:|---:|",
    ]
    peer = found["RSS by feedgen with its defaults"]
    for name, values in found.items():
        middle, low, high = spread(values, peer)
        ordered = sorted(values)
        lines.append(f"| {name} | {ordered[len(ordered) // 2] * 1e3:.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    return lines


def delivery_section(found: list[dict[str, Any]]) -> list[str]:
    """The rate of sending."""
    lines = [
        "## Sending",
        "",
        "A personalised digest (its own address, name and links for each reader) by the product's real `deliver()`: ledger on,",
        "SQLite with `synchronous=FULL`, an intent before each message and an outcome after it. Only the sending is timed. The",
        "peers send the same text and HTML and keep no ledger. `smtp-source` is Postfix's generator of load: C, bytes that are",
        "all alike, no pipelining. Sender and sink had a core each. CPU is of the sender, all threads; 'busy' tells which side",
        "was at its limit. After each run the sink in C had every recipient exactly once, and the messages that it kept were",
        "their reader's own, and verified where they were signed; smtp-sink only counts.",
    ]
    for one in found:
        size = f"{one['bytes'] / 1000:.0f} KB a message, {one['recipients']:,} recipients, {one['rounds']} rounds"
        lines += ["", f"### {one['what'][0].upper()}{one['what'][1:]}", "", f"{size}.", "", *delivery.table(one)]
    return lines


def million_section(found: dict[str, Any]) -> list[str]:
    """Memory and addressing."""
    return [
        "## A million readers",
        "",
        "Memory is of one process that composes an edition, addresses it and sends it (`VmHWM`). Addressing is the whole beat that",
        "composes the edition: stories collected, pages published, digests rendered and inlined, one delivery frozen for each",
        "reader under all its constraints and indexes. Its peer is one `INSERT ... SELECT` by SQLite from the same readers, of as",
        "many rows of the same width into a table without an index, in the same file with the same durability.",
        "",
        *million.table(found),
    ]


SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "digest": digest_section,
    "feeds": feeds_section,
    "delivery": delivery_section,
    "million": million_section,
}


def section(name: str, arguments: Sequence[str]) -> str:
    """What one benchmark, run now in a process of its own, has to say."""
    command = [sys.executable, "-m", f"bench.{name}", *arguments, "--json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench.{name} failed; the page stays as it is")
    lines = SECTIONS[name](json.loads(done.stdout))
    words = " ".join(["make bench", f'ARGS="{" ".join([name, *arguments])}"'])
    machine = f"{platform.machine()}, {os.cpu_count()} cores shared with other work, Python {platform.python_version()}"
    return "\n".join([*lines, "", f"Made by `{words}` on {machine}."])


def standing(page: str) -> dict[str, str]:
    """The sections of a page by name."""
    page, _, _ = page.partition("\nNot measured yet: ")
    _, *pieces = re.split(r"^<!-- (\w+) -->\n", page, flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(pieces[::2], pieces[1::2], strict=True)}


def write(sections: dict[str, str]) -> None:
    """The page; what was never measured says so."""
    pieces = [f"<!-- {name} -->\n{text}\n" for name in SECTIONS if (text := sections.get(name))]
    missing = [f'`make bench ARGS="{name}"`' for name in SECTIONS if name not in sections]
    if missing:
        pieces.append(f"Not measured yet: {', '.join(missing)}.\n")
    PAGE.write_text("\n".join([HEAD, *pieces]), encoding="utf-8")


def main() -> None:
    """Measures, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*SECTIONS, []], help="which; default: all")
    options, arguments = parser.parse_known_args()
    names = options.name or list(SECTIONS)
    if arguments and len(names) > 1:
        parser.error("options are of one benchmark: name it")
    for name in names:
        fresh = section(name, arguments)
        sections = {**standing(PAGE.read_text(encoding="utf-8")), name: fresh}
        write(sections)
        print(fresh)


if __name__ == "__main__":
    main()
