"""Nine months of three schedules with 200 readers: ledger and catcher agree on every message."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tidings.runtime.newsroom import Runtime
from tidings.runtime.tick import tick
from tidings.store.content.items import load_items
from tidings.store.delivery import ledger
from tidings.store.people import subscribers

START = datetime(2023, 3, 10, 4, tzinfo=UTC)
END = datetime(2023, 12, 9, 4, tzinfo=UTC)
TOPICS = ("water", "youth", "health", "climate")

SCHEDULES = {
    "weekly": "cadence: {weekly: fri 09:00}\ndeliver:\n  - {list: digest, frequency: weekly}\n  - {channel: team}\n",
    "daily": 'cadence: {daily: "09:30"}\nselect: {max_items: 3, overflow: wait}\n'
    "deliver:\n  - {list: digest, frequency: daily}\n",
    "press": "cadence: {on: new, settle: 10m}\nselect: {kinds: [press-release]}\n"
    "deliver:\n  - {list: press, frequency: all, template: press, per: item}\n  - {channel: desk, per: item}\n",
}


def made_up(rng: random.Random) -> list[tuple[datetime, str, str]]:
    """Write forty stories over nine months, most in three languages, some with late translations."""
    stories = []
    for number in range(40):
        moment = START + timedelta(days=3 + number * 6.5, hours=rng.randrange(24))
        kind = rng.choice(["story", "story", "press-release", "publication"])
        topics = ", ".join(rng.sample(TOPICS, rng.randrange(3)))
        for language in ("en", "ru", "kk") if number % 7 else ("ru",):
            late = timedelta(days=rng.choice([0, 0, 0, 9])) if language == "kk" else timedelta(0)
            text = item(f"Story {number} ({language})", kind=kind, topics=f"[{topics}]")
            stories.append((moment + late, f"story-{number}.{language}.md", text))
    return stories


def real(folder: Path) -> list[tuple[datetime, str, str]]:
    """Write real items, each on its day of publication."""
    stories = []
    for path in sorted((folder / "content").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        day = re.search(r"^published: (\S+)", text, re.MULTILINE)
        assert day is not None
        stories.append((datetime.fromisoformat(day[1]).replace(tzinfo=UTC) + timedelta(hours=5), path.name, text))
    return stories


def add_readers(runtime: Runtime, rng: random.Random) -> None:
    with runtime.store.write() as connection:
        for number in range(200):
            for name in ("digest", "press")[: rng.choice([1, 1, 2])]:
                frequency = "now" if name == "press" else rng.choice(["weekly", "daily"])
                outcome = subscribers.add(
                    connection,
                    f"reader{number}@example.org",
                    name,
                    language=("en", "ru", "kk")[number % 3],
                    frequency=frequency,
                    now=START,
                    name=f"Reader {number}",
                    topics=rng.sample(TOPICS, rng.choice([0, 0, 1, 2])),
                    confirmed=True,
                )
                assert outcome == "added"


def live(folder: NewsroomFolder, arrivals: list[tuple[datetime, str, str]]) -> None:
    """Tick through the months. A second tick at the same time does nothing."""
    waiting = sorted(arrivals)
    with folder.runtime() as runtime:
        add_readers(runtime, random.Random(7))
        moments = {START + timedelta(days=n) for n in range((END - START).days)}
        moments |= {moment + timedelta(minutes=minutes) for moment, *_ in arrivals for minutes in (0, 10)}
        for now in sorted(moments):
            while waiting and waiting[0][0] <= now:
                _, name, text = waiting.pop(0)
                folder.write(f"content/{name}", text)
            runtime.set_clock(now)
            tick(runtime, now)
            before = len(folder.mails.received), len(folder.hook.received)
            again = tick(runtime, now)
            assert not again.composed
            assert (len(folder.mails.received), len(folder.hook.received)) == before


def check(folder: NewsroomFolder) -> None:
    with folder.runtime() as runtime, runtime.store.read() as connection:
        entries = list(ledger.entries(connection))
        items = {found.id: found for found in load_items(connection, include_gone=True)}
        people = list(subscribers.subscriptions(connection))
    unfinished = {entry.state for entry in entries} - {"accepted", "skipped"}
    assert not unfinished
    # The ledger and the received messages are the same.
    accepted = Counter(entry.address for entry in entries if entry.state == "accepted" and entry.list)
    assert accepted == Counter(mail.recipient for mail in folder.mails.received)
    ids = [mail.message["Message-ID"] for mail in folder.mails.received]
    assert len(ids) == len(set(ids))
    posts = [entry for entry in entries if entry.state == "accepted" and entry.channel]
    assert len(posts) == len(folder.hook.received)
    # Each story arrives exactly once.
    by_url = {found.url: found.story for found in items.values()}
    read: dict[str, Counter[str]] = {}
    for mail in folder.mails.received:
        shown = {by_url[url] for url in re.findall(r"https://\S+", mail.text) if url in by_url}
        read.setdefault(mail.recipient, Counter()).update(shown)
    for who, stories in read.items():
        assert max(stories.values()) == 1, (who, stories.most_common(2))
    languages: dict[str, set[str]] = {}
    for found in items.values():
        languages.setdefault(found.story, set()).add(found.language)
    topics = {s: {t for i in items.values() if i.story == s for t in i.topics} for s in languages}
    kinds = {found.story: found.kind for found in items.values()}
    for person in people:
        for story in languages:
            if person.list == "press" and kinds[story] != "press-release":
                continue
            if person.topics and topics[story].isdisjoint(person.topics):
                continue
            if "en" not in languages[story] and person.language not in languages[story]:
                continue
            assert read[person.address][story] == 1, (person, story)


REAL = os.environ.get("TIDINGS_REAL_NEWSROOM", "")
"""A newsroom with real content. CI sets this where it has one."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("newsroom", ["made up", *(["real"] if REAL else [])])
def test_the_ledger_and_what_arrived_agree(newsroom: str, database_url: str, tmp_path: Path) -> None:
    arrivals = real(Path(REAL)) if newsroom == "real" else made_up(random.Random(20261123))
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        for name, text in SCHEDULES.items():
            folder.write(f"schedules/{name}.yaml", text)
        live(folder, arrivals)
        check(folder)
        hooks = [
            json.loads(request.body)["data"] for request in folder.hook.received if request.path.startswith("/hook/")
        ]
        stories = [entry["items"][0]["story"] for entry in hooks]
        assert len(stories) == len(set(stories))
        shutil.rmtree(tmp_path / "newsroom" / "public")
