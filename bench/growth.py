"""How the cost of a newsroom grows with its content (100 to 50,000 items in three languages), and with its ledger.

Each command runs in a process of its own; its CPU time (all threads and children) and its memory are counted. Then a
service runs: idle for a while, and then a story is saved and the feed is read until it is there.

The ledger of the last table is written by SQL: each subscriber has had 20 editions, and a story waits for the next one.
It is compared with a tenth of it.

    python -m bench.growth [--sizes 100 1000 10000] [--idle SECONDS] [--saves N] [--ledger ROWS] [--folder DIR]

With --folder, the newsrooms are made and built there once, and used again by the next run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.figures import format_verdict, print_progress
from bench.newsroom import add_readers, reader_of
from tidings.model.errors import InputError

SIZES = (100, 1_000, 10_000, 50_000)
LANGUAGES = ("en", "ru", "kk")
NEWEST = datetime(2026, 1, 15, 6, tzinfo=UTC)
_HOURS = 4
"""Between two stories: 50,000 items are about eight years of news."""
_TOPICS = ("water", "health", "youth", "energy", "trade", "climate")
_KINDS = ("news", "news", "news", "press-release", "publication", "event")
_OFFICES = ("Steppe Water Office", "Mountain Health Fund", "Lake Council", "City Library", "River Basin Union")
_MAIN = """\
site:
  title: {en: Steppe Office, ru: Степная редакция, kk: Дала редакциясы}
  url: https://news.example.org/
  languages: [en, ru, kk]
  timezone: Asia/Almaty
  address: 10 Example Street, Almaty
topics: {water: Water, health: Health, youth: Youth, energy: Energy, trade: Trade, climate: Climate}
feeds:
  water: {title: Water, select: {topics: [water]}}
  press: {title: Press, select: {kinds: [press-release]}}
mail: {host: 127.0.0.1, port: 25, security: none, return_path: bounces@example.org}
lists:
  digest: {name: News digest, from: Steppe Office <news@example.org>, fallback: [en]}
web: {port: PORT}
"""
_SCHEDULE = """\
cadence: {weekly: mon 09:00}
select: {max_items: 30}
deliver: [{list: digest, frequency: all}]
"""
_TEXTS = {
    "en": ("Village number {} gets clean water from the spring", "The spring was found in 1962 and forgotten twice."),
    "ru": ("Село номер {} получило чистую воду из родника", "Родник нашли в 1962 году и дважды о нём забывали."),
    "kk": ("{}-ауыл бұлақтан таза су алды", "Бұлақты 1962 жылы тауып, екі рет ұмытып кетті."),
}
_MORE = {
    "en": "Now {} people have water in the house, and nobody walks to the well before school. ",
    "ru": "Теперь у {} человек вода дома, и никто не ходит к колодцу перед школой. ",
    "kk": "Енді {} адамның үйінде су бар, мектепке дейін ешкім құдыққа бармайды. ",
}


def make_newsroom(root: Path, items: int, port: int) -> None:
    """Write the settings and `items` files: stories in three languages, in a folder for each year."""
    (root / "schedules").mkdir(parents=True)
    (root / "tidings.yaml").write_text(_MAIN.replace("PORT", str(port)), encoding="utf-8")
    (root / "schedules" / "weekly.yaml").write_text(_SCHEDULE, encoding="utf-8")
    for number in range(items):
        write_story(root, number // len(LANGUAGES), LANGUAGES[number % len(LANGUAGES)])


def write_story(root: Path, story: int, language: str, words: str = "") -> Path:
    """Write one version of a story; 0 is the newest. `words` follow its title. Returns its path."""
    published = NEWEST - timedelta(hours=_HOURS * story)
    title, lead = _TEXTS[language]
    kind = _KINDS[story % len(_KINDS)]
    lines = [
        f"title: {title.format(story)}{words and f' {words}'}",
        f"summary: {lead}",
        f"published: {published.isoformat()}",
        f"kind: {kind}",
        f"topics: [{_TOPICS[story % len(_TOPICS)]}, {_TOPICS[story * 7 // 6 % len(_TOPICS)]}]",
        f"organisations: [{_OFFICES[story % len(_OFFICES)]}]",
    ]
    if kind == "event":
        lines.append(f"starts: {(published + timedelta(days=30)).isoformat()}")
    body = "\n\n".join(_MORE[language].format(story + 100 * part) * 4 for part in range(5))
    path = root / "content" / str(published.year) / f"village-{story}.{language}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\n" + "\n".join(lines) + f"\n---\n{body}\n", encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of a process with its children, and its memory at most."""

    cpu: float
    megabytes: float


_WATCH = """
import json, os, sys
_, status, usage = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], file)
"""
"""Runs a command. A process's peak of memory begins with that of its parent, so the parent must be small."""


def run_command(root: Path, *words: str) -> Cost:
    """Run `tidings` once. `check` and `status` end with 1 if something is to be mended, such as a sample address."""
    command = [sys.executable, "-m", "tidings", "-C", str(root), *words]
    with tempfile.TemporaryFile("w+") as output, tempfile.NamedTemporaryFile("r") as costs:
        watch = [sys.executable, "-ISc", _WATCH, costs.name, *command]
        subprocess.run(watch, stdout=output, stderr=subprocess.STDOUT, check=True)
        code, cpu, megabytes = json.load(costs)
        if code > (words[0] in ("check", "status")):
            output.seek(0)
            raise InputError(f"tidings {' '.join(words)} failed:\n{output.read()[-2000:]}")
    return Cost(cpu, megabytes)


def _cpu_of(process: int) -> float:
    """CPU seconds of a running process, all threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _service(root: Path) -> Iterator[int]:
    """Run the service without mail; yields its process id."""
    command = [sys.executable, "-m", "tidings", "-C", str(root), "run", "--only", "ticker"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_until_idle(process: int) -> None:
    """Wait until a service used less than 0.1 s of CPU in 3 seconds: its start is over."""
    for _ in range(200):
        before = _cpu_of(process)
        time.sleep(3)
        if _cpu_of(process) - before < 0.1:
            return


def measure_service(root: Path, idle: float, saves: int) -> dict[str, Any]:
    """Return the share of a core of an idle service, and the seconds and CPU from a saved file to the feed."""
    feed = root / "public" / "feeds" / "en" / "all.atom"
    seconds, cpus = [], []
    with _service(root) as process:
        _wait_until_idle(process)
        before, began = _cpu_of(process), time.monotonic()
        time.sleep(idle)
        share = (_cpu_of(process) - before) / (time.monotonic() - began)
        for number in range(saves):
            words = f"saved {number} at {time.time_ns()}"
            cpu = _cpu_of(process)
            began = time.monotonic()
            write_story(root, number % 10, "en", words)
            while words not in feed.read_text(encoding="utf-8"):
                if time.monotonic() - began > 120:
                    raise InputError("a saved file was not in the feed after 120 seconds")
                time.sleep(0.01)
            seconds.append(time.monotonic() - began)
            _wait_until_idle(process)
            cpus.append(_cpu_of(process) - cpu)
    return {
        "idle": share,
        "seconds": statistics.median(seconds),
        "slowest": max(seconds),
        "save cpu": statistics.median(cpus),
    }


COMMANDS: Mapping[str, tuple[str, ...]] = {
    "tick": ("tick",),
    "plan": ("plan",),
    "check": ("check",),
    "status": ("status",),
    "report": ("report",),
}


def measure(root: Path, items: int, *, idle: float, saves: int) -> dict[str, Any]:
    """Measure one size: the first build (unless the newsroom is there), commands, and the service."""
    result: dict[str, Any] = {"items": items}
    marker = root / "build.json"
    if not marker.exists():
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        make_newsroom(root, items, port)
        print_progress(f"{items:,} items: first build")
        base = run_command(root, "--version")
        built = run_command(root, "build")
        # The first tick also marks all stories as used by the schedule.
        run_command(root, "tick")
        marker.write_text(json.dumps({"build": built.cpu, "build MB": built.megabytes, "base MB": base.megabytes}))
    result |= json.loads(marker.read_text())
    for name, words in COMMANDS.items():
        print_progress(f"{items:,} items: {name}")
        costs = [run_command(root, *words) for _ in range(2)]
        result[name] = min(cost.cpu for cost in costs)
        result[f"{name} MB"] = min(cost.megabytes for cost in costs)
    if saves:
        print_progress(f"{items:,} items: the service")
        result |= measure_service(root, idle, saves)
    return result


_EDITIONS = 20
_DAY = 86_400_000_000
"""In microseconds, as the store counts."""


def add_ledger(database: Path, rows: int) -> None:
    """Add subscribers, and editions that each of them has had, by plain SQL: `rows` deliveries in all."""
    add_readers(database, rows // _EDITIONS, languages=LANGUAGES, interests=("[]", '["water"]'))
    begin = int(NEWEST.timestamp()) * 1_000_000 - _EDITIONS * 7 * _DAY
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous=OFF")

        def insert(table: str, **values: object) -> int:
            names, marks = ", ".join(values), ", ".join("?" * len(values))
            done = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
            return int(done.lastrowid or 0)

        for number in range(1, _EDITIONS + 1):
            at = begin + number * 7 * _DAY
            edition = insert(
                "editions", schedule="weekly", number=100_000 + number, slot=at, cut=at, starts=at, state="done",
                holds="[]", stories="[]", owner="", history="[]", request="{}", at=at,
            )  # fmt: skip
            mailing = insert(
                "mailings", key=f"edition:{edition}", kind="edition", edition=edition, schedule="weekly", open=0,
                urgent=0, marked=1, at=at,
            )  # fmt: skip
            for language in LANGUAGES:
                rendition = insert(
                    "renditions", edition=edition, outlet="list:digest", language=language, story="", document=b"",
                    digest="",
                )  # fmt: skip
                selection = insert("selections", rendition=rendition, key="all", arrangement="{}")
                connection.execute(
                    "INSERT INTO deliveries (mailing, target, story, purpose, part, list, channel, subscriber, selection,"
                    " rendition, mark, address_hash, state, reason, attempts, doubts, crashes, owner, fence, receipt, via,"
                    " sender, returned, at, details) SELECT ?, 'list:digest:' || id, '', 'digest', 0, 'digest', '', id, ?,"
                    " ?, ?, address_hash, 'accepted', '', 1, 0, 0, '', 1, '2.0.0 Ok: queued as 4XyZ', '127.0.0.1', 'mail',"
                    " '', ?, '{}' FROM subscribers WHERE language = ?",
                    (mailing, selection, rendition, edition, at, language),
                )
    connection.close()


def measure_ledger(root: Path, rows: int) -> dict[str, Any]:
    """Measure the commands of a newsroom of 100 stories with a ledger of `rows` deliveries."""
    if not root.exists():
        print_progress(f"{rows:,} deliveries: writing them")
        make_newsroom(root, 100, 18_000)
        run_command(root, "tick")
        add_ledger(root / "tidings.db", rows)
        # So that `plan` counts who gets it.
        write_story(root, -1, LANGUAGES[0])
    result: dict[str, Any] = {"rows": rows}
    for name, words in {**COMMANDS, "explain": ("explain", reader_of(7)[0])}.items():
        print_progress(f"{rows:,} deliveries: {name}")
        result[name] = min(run_command(root, *words).cpu for _ in range(2))
    return result


def format_ledger_table(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the rows of a Markdown table: the cost of each command, and which of them grow too much."""
    heads = [f"{each['rows'] // _EDITIONS:,} subscribers, {each['rows']:,} deliveries" for each in results]
    lines = [f"| CPU s | {' | '.join(heads)} | ratio |", "|---|---:|---:|---:|"]
    small, large = results
    ratios = {name: large[name] / small[name] for name in small if name != "rows"}
    for name, ratio in ratios.items():
        lines.append(f"| `{name}` | {small[name]:.2f} | {large[name]:.2f} | {ratio:.2f} |")
    worst = max(ratios, key=ratios.__getitem__)
    verdict = f"- {format_verdict(ratios[worst] <= 3)}: `{worst}` with ten times the rows: {ratios[worst]:.2f}; wanted at most 3."
    return [*lines, "", verdict]


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent of the power of the size that fits the costs best (least squares of the logarithms)."""
    xs, ys = [math.log(size) for size in sizes], [math.log(max(cost, 1e-6)) for cost in costs]
    slope, _ = statistics.linear_regression(xs, ys)
    return slope


_ROWS = {
    "build": "first `build`, CPU s",
    "build MB": "first `build`, MB",
    "tick": "idle `tick`, CPU s",
    "plan": "`plan`, CPU s",
    "check": "`check`, CPU s",
    "status": "`status`, CPU s",
    "status MB": "`status`, MB",
    "report": "`report`, CPU s",
    "idle": "idle service, share of a core in %",
    "seconds": "from a saved file to the feed, s",
    "save cpu": "CPU s after one saved file",
}


def format_table(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the rows of a Markdown table with the fitted exponents, and which goals are met."""
    sizes = [result["items"] for result in results]
    lines = [
        "| | " + " | ".join(f"{size:,} items" for size in sizes) + " | exponent |",
        "|---|" + "---:|" * (len(sizes) + 1),
    ]
    for key, title in _ROWS.items():
        if not all(key in result for result in results):
            continue
        values = [result[key] * (100 if key == "idle" else 1) for result in results]
        exponent = f"{fit_exponent(sizes, values):.2f}" if len(sizes) > 1 else "–"
        digits = 0 if key.endswith("MB") else 2
        lines.append(f"| {title} | " + " | ".join(f"{value:,.{digits}f}" for value in values) + f" | {exponent} |")
    return [*lines, "", *_verdicts(results)]


def format_tables(result: Mapping[str, Any]) -> list[str]:
    """Return both tables."""
    ledgers = ["", *format_ledger_table(result["ledgers"])] if result["ledgers"] else []
    return [*(format_table(result["sizes"]) if result["sizes"] else []), *ledgers]


def _verdicts(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    by_size = {result["items"]: result for result in results}
    small, large = results[0], results[-1]
    for size, most in ((10_000, 1.0), (50_000, 2.0)):
        if (seconds := by_size.get(size, {}).get("seconds")) is not None:
            is_met = seconds <= most
            yield f"- {format_verdict(is_met)}: a saved file is in the feed after {seconds:.2f} s at {size:,} items; wanted at most {most:.0f} s."
    if len(results) > 1:
        ratio = large["tick"] / small["tick"]
        yield f"- {format_verdict(ratio <= 2)}: idle `tick` at {large['items']:,} items to {small['items']:,}: {ratio:.2f}; wanted at most 2."
        growth = large["build MB"] - large["base MB"]
        yield f"- {format_verdict(growth <= 150)}: memory of the first `build` at {large['items']:,} items: {growth:.0f} MB above `tidings --version`; wanted at most 150."
    if "idle" in large:
        yield f"- {format_verdict(large['idle'] < 0.01)}: idle service at {large['items']:,} items: {large['idle'] * 100:.2f}% of a core; wanted less than 1%."


def main() -> None:
    """Make the newsrooms if need be, measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--idle", type=float, default=60.0)
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--ledger", type=int, default=10_000_000, help="deliveries; 0: none")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = options.folder or Path(folder)
        results = [
            measure(base / f"items-{items}", items, idle=options.idle, saves=options.saves)
            for items in sorted(options.sizes)
        ]
        ledgers = [
            measure_ledger(base / f"ledger-{rows}", rows)
            for rows in (options.ledger // 10, options.ledger)
            if options.ledger
        ]
    result = {"sizes": results, "ledgers": ledgers}
    print(json.dumps(result) if options.json else "\n".join(format_tables(result)))


if __name__ == "__main__":
    main()
