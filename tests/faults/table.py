"""The results of the harness, as the table of docs/guarantees.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.million import Found
from tests.faults.run import Run, Tally

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
_HEAD = (
    "| fault | points | messages | lost | doubled | known to be in doubt | posts doubled | mailed after leaving "
    "| waits for a person | seeds |"
)


def _line(tally: Tally) -> str:
    total = tally.total
    cells = [
        tally.case.title, tally.points, total.messages, total.lost, total.doubled, total.in_doubt, total.posts_doubled,
        total.late, total.waiting + total.set_aside, f"{tally.first}–{tally.first + tally.rounds - 1}",
    ]  # fmt: skip
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


def kills(run: Run) -> int:
    """Return how many points were kill -9."""
    return sum(tally.points for tally in run.tallies if tally.case.kills)


def report(run: Run) -> str:
    """Return the table of one database and the points of the kills, in Markdown."""
    lines = [_HEAD, "|---|" + "--:|" * 8 + "---|", *map(_line, run.tallies)]
    hit: dict[str, int] = {}
    for tally in run.tallies:
        for point, count in tally.at.items():
            hit[point] = hit.get(point, 0) + count
    # In the order in which a tick reaches them.
    named = [f"{point} {hit.pop(point)}" for point in run.points if point in hit]
    others = [f"{point} {count}" for point, count in sorted(hit.items())]
    ended = sum(tally.at.total() for tally in run.tallies)
    if ended:
        lines += ["", f"Where {ended:,} processes ended: {', '.join(named + others)}."]
    return "\n".join(lines)


def million(found: Found) -> str:
    """Return the result in one sentence."""
    return (
        f"{found.readers:,} readers, {found.kills} times kill -9, {found.messages:,} messages taken: "
        f"{found.lost} lost, {found.doubled} doubled, {found.doubled - found.unknown} of them known to be in doubt "
        f"before, {found.waiting + found.set_aside} wait for a person; {found.seconds:,.0f} s."
    )


def write_million(found: Found, command: str) -> None:
    """Write it into the page, between its two marks."""
    _put("<!-- million -->", "<!-- /million -->", f"{million(found)} Made by `{command}`.")


def write_fleet(text: str, arguments: str, minutes: float) -> None:
    """Write it into the page, between its two marks."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PAGE.parent, check=True, capture_output=True, text=True
    ).stdout.strip()
    made = (
        f"Made on {datetime.now(UTC):%-d %B %Y} with commit {commit} in {minutes:.0f} minutes "
        f"on {os.cpu_count()} cores by `make faults ARGS='{arguments}'`."
    )
    _put("<!-- fleet -->", "<!-- /fleet -->", f"{text}\n\n{made}")


def write(runs: Sequence[Run], command: str) -> None:
    """Write it into the page, between its two marks."""
    parts = [
        f"Made by `{command}` with Python {platform.python_version()} on {os.cpu_count()} cores. To play one round "
        "again: `python -m tests.faults --database DATABASE --case NAME --seed SEED --rounds 1`."
    ]
    names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    parts += [f"### {names[run.database]}: {kills(run):,} times kill -9\n\n{report(run)}" for run in runs]
    _put("<!-- faults -->", "<!-- /faults -->", "\n\n".join(parts))


def _put(begin: str, end: str, text: str) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
