"""What each screen of the comms room costs in a large newsroom.

The newsroom has 50,000 subscribers, 2,000 stories and 1,000 editions; one edition for all subscribers waits for a
decision, and Friday's edition is not built yet. Each screen is asked for through the whole application, without a
network: first by a process that has just started, then again. CPU time, bytes, queries and files of the newsroom that
are opened are counted.

    python -m bench.room [--subscribers N] [--stories N] [--editions N] [--folder DIR]

With --folder, the newsroom is made there once and used again by the next run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import event

from bench.figures import format_verdict, print_progress
from bench.newsroom import SLOT, START, add_readers
from tidings.model.errors import InputError
from tidings.runtime.newsroom import Runtime, open_runtime
from tidings.runtime.team.sign_in import start_session
from tidings.runtime.tick import tick
from tidings.store.people import team
from tidings.store.people.team import Role
from tidings.store.service.clock import real_now
from tidings.web.app import newsroom_app
from tidings.web.room.routes import ROUTES
from tidings.web.room.visit import COOKIE

MOST_BYTES, MOST_SECONDS = 200_000, 1.0
"""The goal for each page."""
_MAIN = """\
site:
  title: {en: Steppe Office, ru: Степная редакция}
  url: https://news.example.org/
  languages: [en, ru]
  timezone: Asia/Almaty
  address: 10 Example Street, Almaty
topics: {water: Water, youth: Youth, health: Health}
mail: {host: 127.0.0.1, port: 25, security: none, return_path: bounces@example.org}
lists:
  digest: {name: News digest, from: Steppe Office <news@example.org>, fallback: [en]}
"""
_SCHEDULES = {
    "weekly": 'cadence: {daily: "09:00"}\nselect: {max_items: 100}\n'
    "approval: {by: [boss@example.org], ahead: 1h}\ndeliver: [{list: digest, frequency: all}]\n",
    "friday": "cadence: {weekly: fri 09:00}\nselect: {max_items: 100}\ndeliver: [{list: digest, frequency: all}]\n",
}
_BODY = "The spring was found in 1962 and forgotten twice. Now 2,300 people have water in the house. " * 12
_WAITING_STORIES = 30
_DELIVERIES = 40
"""Deliveries of each past edition. 50,000 for each of a thousand would measure the disk of this machine."""


def make_newsroom(root: Path, subscribers: int, stories: int, count: int) -> None:
    """Write the folder, compose one edition that waits, and add past editions by copies of its rows."""
    (root / "content").mkdir(parents=True)
    (root / "schedules").mkdir()
    (root / "tidings.yaml").write_text(_MAIN, encoding="utf-8")
    for name, text in _SCHEDULES.items():
        (root / "schedules" / f"{name}.yaml").write_text(text, encoding="utf-8")
    for number in range(stories):
        waits = number - (stories - _WAITING_STORIES)
        moment = START + (timedelta(minutes=waits) if waits > 0 else timedelta(hours=7 * waits))
        for language in ("en", "ru") if number % 4 == 0 else ("en",):
            (root / "content" / f"spring-{number}.{language}.md").write_text(
                f"---\ntitle: Water comes to village number {number}\nsummary: {_BODY[:200]}\n"
                f"published: {moment.isoformat()}\ntopics: [water]\n---\n{_BODY}\n",
                encoding="utf-8",
            )
    with open_runtime(root, {}) as runtime:
        runtime.set_clock(START)
        tick(runtime, START, deliver=False)
        assert runtime.store.path is not None
        add_readers(runtime.store.path, subscribers, languages=("en", "ru"), interests=("[]", '["water"]'))
        print_progress("compose the edition that waits")
        runtime.set_clock(SLOT)
        tick(runtime, SLOT, deliver=False)
        with runtime.store.write() as connection:
            for role in Role:
                team.add_member(connection, f"{role}@example.org", role, (), real_now())
        path = runtime.store.path
    print_progress(f"add {count - 1} past editions")
    _add_past(path, count - 1)


def _add_past(path: Path, count: int) -> None:
    """Copy the rows of the waiting edition, with its renditions, as editions that went out one by one before it."""
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous=OFF")
        edition = dict(connection.execute("SELECT * FROM editions").fetchone())
        mailing = dict(connection.execute("SELECT * FROM mailings WHERE edition = ?", (edition["id"],)).fetchone())
        renditions = [dict(row) for row in connection.execute("SELECT * FROM renditions WHERE edition != 0")]
        known = {row["id"] for row in renditions}
        selections = [dict(row) for row in connection.execute("SELECT * FROM selections") if row["rendition"] in known]
        sample = "SELECT * FROM deliveries WHERE mailing = ? ORDER BY id LIMIT ?"
        deliveries = [dict(row) for row in connection.execute(sample, (mailing["id"], _DELIVERIES))]

        def add(table: str, row: dict[str, Any], **changes: Any) -> int:
            values = {**row, **changes}
            values.pop("id")
            names = ", ".join(f'"{name}"' for name in values)
            marks = ", ".join("?" for _ in values)
            done = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
            assert done.lastrowid is not None
            return done.lastrowid

        day = 86_400_000_000
        # The waiting edition is the newest; the others take the numbers before it.
        connection.execute("UPDATE editions SET number = ?", (count + 1,))
        for number in range(1, count + 1):
            back = (count + 1 - number) * day
            at = {name: edition[name] - back for name in ("slot", "cut", "starts", "at")}
            copy = add("editions", edition, **at, number=number, state="done", holds="[]", owner="")
            at_mailing = {"at": mailing["at"] - back, "key": f"edition:{copy}", "edition": copy}
            other = add("mailings", mailing, **at_mailing, open=True, marked=True)
            ids = {row["id"]: add("renditions", row, edition=copy) for row in renditions}
            chosen = {row["id"]: add("selections", row, rendition=ids[row["rendition"]]) for row in selections}
            for row in deliveries:
                gone = {"state": "accepted", "receipt": "250 ok", "at": row["at"] - back, "mailing": other}
                places = {"selection": chosen.get(row["selection"]), "rendition": ids.get(row["rendition"])}
                add("deliveries", row, **gone, **places)
        connection.execute("ANALYZE")
    connection.close()


@dataclass
class ScreenCost:
    """What one request cost."""

    path: str
    status: int
    size: int
    seconds: float
    queries: int
    files: int


@dataclass
class Counts:
    """Queries and opened files of the newsroom since the last `reset`."""

    root: Path
    queries: int = 0
    files: int = 0
    is_on: bool = field(default=False)

    def reset(self) -> None:
        """Begin to count a request."""
        self.queries = self.files = 0
        self.is_on = True


@contextmanager
def counted(runtime: Runtime, root: Path) -> Iterator[Counts]:
    """Count the queries and the opened content files while a newsroom is open."""
    counts = Counts(root)
    folder = str(root / "content")

    def note_query(*_: Any) -> None:
        counts.queries += 1

    def note_file(name: str, arguments: tuple[Any, ...]) -> None:
        if counts.is_on and name == "open" and str(arguments[0]).startswith(folder):
            counts.files += 1

    event.listen(runtime.store.engine, "before_cursor_execute", note_query)
    sys.addaudithook(note_file)
    try:
        yield counts
    finally:
        counts.is_on = False
        event.remove(runtime.store.engine, "before_cursor_execute", note_query)


def screens(stories: int, editions: int) -> list[str]:
    """Return the address of every page that the permission table lists, and of some searches."""
    values = {
        "schedule": "weekly", "number": str(editions), "frame": "0", "story": f"spring-{stories // 2}", "token": "x",
        "version": "1", "language": "en",
    }  # fmt: skip
    queries = {
        "stories/edit": f"?file=content/spring-{stories // 2}.en.md",
        "settings/edit": "?file=schedules/weekly.yaml",
        "settings/schedule": "?file=schedules/weekly.yaml",
        "calendar/move": f"?schedule=weekly&slot={(SLOT + timedelta(days=2)).date()}",
    }
    schedules = {route.path: "friday" for route in ROUTES if route.path.startswith("coming/")}
    numbers = {"subscribers/{number}": str(editions), "team/{number}": "1"}
    skipped = ("join/", "sign-in", ".js", "room.css", "version", "previews/", "thumbnail", "channels/posts/")
    plain = [
        route.path.format_map(
            {
                **values,
                "number": numbers.get(route.path, values["number"]),
                "schedule": schedules.get(route.path, values["schedule"]),
            }
        )
        + queries.get(route.path, "")
        for route in ROUTES
        if route.method == "GET" and not any(part in route.path for part in skipped)
    ]
    more = [
        "stories?page=20",
        "stories?text=village",
        "subscribers?text=7&list=digest",
        "results?days=365",
        "log?kind=edition",
    ]
    return [*plain, "editions/weekly/1", *more]


async def _ask(app: Any, cookie: str, path: str, counts: Counts) -> ScreenCost:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", cookies={COOKIE: cookie}) as client:
        counts.reset()
        before = time.process_time()
        answer = await client.get(f"/room/{path}")
        seconds = time.process_time() - before
        return ScreenCost(path, answer.status_code, len(answer.content), seconds, counts.queries, counts.files)


def measure(root: Path, stories: int, editions: int) -> list[dict[str, Any]]:
    """Ask for every screen three times as an admin; returns the cheaper of the later answers, and `first`."""
    results: list[dict[str, Any]] = []
    with open_runtime(root, {}) as runtime, counted(runtime, root) as counts:
        runtime.set_clock(SLOT)
        app = newsroom_app(runtime)
        with runtime.store.write() as connection:
            member = team.find_member(connection, "admin@example.org")
            assert member is not None
            cookie = start_session(connection, member.id, "bench", real_now())
        # Imports and compiled templates are not the cost of a screen.
        asyncio.run(_ask(app, cookie, "account", counts))
        for path in screens(stories, editions):
            first = asyncio.run(_ask(app, cookie, path, counts))
            later = [asyncio.run(_ask(app, cookie, path, counts)) for _ in range(2)]
            if first.status != 200:
                raise InputError(f"/room/{path} answers with status {first.status}")
            results.append(asdict(min(later, key=lambda cost: cost.seconds)) | {"first": first.seconds})
    return results


def format_table(costs: list[dict[str, Any]]) -> list[str]:
    """Return the rows of a Markdown table, and whether the goal is met."""
    lines = [
        "| screen | kB | CPU ms, first | CPU ms, again | queries | files |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for cost in costs:
        lines.append(
            f"| `/room/{cost['path']}` | {cost['size'] / 1000:,.0f} | {cost['first'] * 1000:,.0f} "
            f"| {cost['seconds'] * 1000:,.0f} | {cost['queries']} | {cost['files']} |"
        )
    size = max(cost["size"] for cost in costs)
    slowest = max(cost["seconds"] for cost in costs)
    is_met = size <= MOST_BYTES and slowest <= MOST_SECONDS
    return [*lines, "", f"- {format_verdict(is_met)}: at most {size / 1000:.0f} kB and {slowest:.2f} s."]


def main() -> None:
    """Make the newsroom if need be, measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=50_000)
    parser.add_argument("--stories", type=int, default=2_000)
    parser.add_argument("--editions", type=int, default=1_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.folder or Path(folder) / "newsroom"
        if not root.exists():
            began = time.monotonic()
            make_newsroom(root, options.subscribers, options.stories, options.editions)
            print_progress(f"made in {time.monotonic() - began:.0f} s")
        costs = measure(root, options.stories, options.editions)
    result = {name: getattr(options, name) for name in ("subscribers", "stories", "editions")} | {"costs": costs}
    print(json.dumps(result) if options.json else "\n".join(format_table(costs)))


if __name__ == "__main__":
    main()
