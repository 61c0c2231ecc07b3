"""Every benchmark, and docs/performance.md from what they measured: `make bench`."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

from bench.digest import spread

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def run(module: str) -> dict[str, object]:
    """The JSON of one benchmark, in a process of its own."""
    done = subprocess.run([sys.executable, "-m", module, "--json"], check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measures, then writes the page."""
    digest, feeds = run("bench.digest"), run("bench.feeds")
    seconds: dict[str, float] = digest["seconds"]  # type: ignore[assignment]
    ratios: dict[str, list[float]] = digest["ratios"]  # type: ignore[assignment]
    lines = [
        "# Performance",
        "",
        "Written by `make bench`. Ratios were taken round by round in one run, side by side with the named peer; they hold",
        "when the machine is busy, the times do not. Times are seconds of the processor, medians of "
        f"{digest['rounds']} interleaved rounds.",
        f"Machine: {platform.machine()}, Python {platform.python_version()}, shared with other work.",
        "",
        "## One reader's mail",
        "",
        f"A digest of 12 stories in Russian, {digest['bytes']:,} bytes, personal parts and headers of its own for each reader.",
        "",
        "| | µs | ratio to the first (lowest to highest) |",
        "|---|---:|---:|",
    ]
    names = list(seconds)
    middle, low, high = ratios["EmailMessage / spliced"]
    lines += [
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
    middle, low, high = ratios["1,000 sets / 10 sets"]
    lines += [
        f"| 10 sets | {seconds[names[4]]:.2f} | 1 |",
        f"| 1,000 sets | {seconds[names[5]]:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) |",
        "",
        "## One feed of 50 items",
        "",
        "The peers write titles, links, dates and content alone; ours also languages, categories, pictures, translations and",
        "repaired links. A feed is rendered only when something in it changed.",
        "",
        "| | ms | ratio to feedgen (lowest to highest) |",
        "|---|---:|---:|",
    ]
    peer: list[float] = feeds["RSS by feedgen with its defaults"]  # type: ignore[assignment]
    for name, values in feeds.items():
        middle, low, high = spread(values, peer)  # type: ignore[arg-type]
        ordered = sorted(values)  # type: ignore[call-overload]
        lines.append(f"| {name} | {ordered[len(ordered) // 2] * 1e3:.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    lines += [
        "",
        "## Not measured yet",
        "",
        "The rate of sending against other mailers, memory over a million readers, and the cost of signing: they come with",
        "the sender of our own.",
        "",
    ]
    PAGE.write_text("\n".join(lines), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
