"""What a reader's mail costs, and what an edition costs for few and for many sets of interests.

    python bench/digest.py [--rounds 7] [--json]

Each figure stands beside a peer in the same run: the same mail through Python's EmailMessage, from the same HTML and
text. Rounds are interleaved, figures are medians of processor time: trust the ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP

from tidings.model.edition import Selection
from tidings.model.item import Image, Item
from tidings.render.mail.digest import MailDocument, build_layout, render_mail_document
from tidings.render.mail.headers import MailHeaders
from tidings.render.mail.merge import MailMerge
from tidings.render.mail.personal import PersonalValues, fill_placeholders
from tidings.render.mail.views import MailEdition, MailList, MailSite
from tidings.render.templates import MailTemplates

AT = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
TEMPLATES = MailTemplates()
TOPICS = tuple(f"topic-{number}" for number in range(14))
READERS = 10_000


def items(count: int) -> list[Item]:
    """Stories in Cyrillic, two topics each."""
    chance = random.Random(7)
    return [
        Item(
            id=f"s{number}",
            story=f"s{number}",
            slug=f"s{number}",
            language="ru",
            kind=("story", "publication", "press-release", "event")[number % 4],
            title=f"Три села получили чистую воду из горного трубопровода, часть {number}",
            summary="Около 2300 человек больше не стоят в очереди у колодца: вода идёт из родника. " * 2,
            body="<p>Текст.</p>",
            url=f"https://news.example.org/ru/s{number}/",
            source="bench",
            ref=f"s{number}",
            published=AT - timedelta(hours=number),
            first_seen=AT,
            changed=AT,
            topics=tuple(chance.sample(TOPICS, 2)),
            images=(Image(f"https://news.example.org/media/{number}.jpg", "Дети у крана", width=1200, height=800),),
        )
        for number in range(count)
    ]


def document(stories: Sequence[Item]) -> MailDocument:
    """The edition, rendered and inlined."""
    return render_mail_document(
        templates=TEMPLATES,
        template="digest",
        subject="",
        site=MailSite("Степная редакция", "https://news.example.org/", "Алматы", "#0077b6", zone="Asia/Almaty"),
        list=MailList("digest", "Дайджест новостей"),
        edition=MailEdition("weekly/7", "Дайджест", 7, AT),
        language="ru",
        items=stories,
    )


def interests(stories: Sequence[Item], count: int) -> list[Selection]:
    """Selections of readers with `count` different sets of topics, 12 stories at most."""
    chance = random.Random(count)
    found: dict[tuple[str, ...], Selection] = {}
    while len(found) < count:
        wanted = set(chance.sample(TOPICS, chance.randint(1, len(TOPICS))))
        mine = [story for story in stories if wanted & set(story.topics)]
        chance.shuffle(mine)
        mine = mine[:12]
        if mine:
            found[tuple(story.id for story in mine)] = Selection("ru", mine[0], tuple(mine[1:]))
    return list(found.values())


def headers(number: int) -> MailHeaders:
    """A reader's."""
    return MailHeaders(
        sender="Степная редакция <news@example.org>",
        to_address=f"reader{number}@example.net",
        date=AT,
        message_id=f"<{number:032x}@example.org>",
        reply_to="comms@example.org",
        language="ru",
        list_id="digest.example.org",
        unsubscribe_url=way_out(number),
        unsubscribe_mailto="leave@example.org",
        feedback_id="weekly7:digest:ru:example",
    )


def way_out(number: int) -> str:
    """The length of a real one."""
    return f"https://news.example.org/unsubscribe/k1.{number:086x}"


def personal(number: int) -> PersonalValues:
    """A reader's."""
    return PersonalValues("", way_out(number), way_out(number), "https://news.example.org/archive/digest/7/ru")


def edition(stories: Sequence[Item], selections: Sequence[Selection], readers: int) -> int:
    """One edition from stories to every reader's bytes; deliveries come grouped by selection. Returns the bytes."""
    doc = document(stories)
    compiled = MailMerge(doc)
    size = number = 0
    for place, selection in enumerate(selections):
        arrangement = build_layout(doc, selection, templates=TEMPLATES)
        for _ in range(readers * (place + 1) // len(selections) - readers * place // len(selections)):
            size += len(compiled.message(arrangement, headers(number), personal(number)))
            number += 1
    return size


def peer(doc: MailDocument, selection: Selection, number: int) -> bytes:
    """The same mail as Python's own library makes it."""
    arrangement = build_layout(doc, selection, templates=TEMPLATES)
    given = personal(number)
    values = {
        "unsubscribe_url": given.unsubscribe_url,
        "preferences_url": given.preferences_url,
        "view_url": given.view_url,
        "subject": arrangement.subject,
        "preheader": arrangement.preheader,
    }
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "Степная редакция <news@example.org>"
    mail["To"] = f"reader{number}@example.net"
    mail["Subject"] = arrangement.subject
    mail["Message-ID"] = f"<{number:032x}@example.org>"
    mail["List-Unsubscribe"] = f"<{given.unsubscribe_url}>, <mailto:leave@example.org>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail["List-Id"] = "<digest.example.org>"
    text = "".join(doc.fragments[key].text for key in arrangement.keys)
    html = "".join(doc.fragments[key].html for key in arrangement.keys)
    mail.set_content(fill_placeholders(text, values, escape=False), cte="base64")
    mail.add_alternative(fill_placeholders(html, values, escape=True), subtype="html", cte="base64")
    return mail.as_bytes()


def timed(call: Callable[[], object], times: int) -> float:
    """Seconds of the processor for one call."""
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times


def spread(mine: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest and highest of the ratios, round by round."""
    ratios = [one / other for one, other in zip(mine, others, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def main() -> None:
    """Runs the rounds and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    stories = items(40)
    doc = document(stories)
    compiled = MailMerge(doc)
    (selection,) = interests(stories, 1)
    arrangement = build_layout(doc, selection, templates=TEMPLATES)
    sets = {count: interests(stories, count) for count in (10, 1_000)}
    counter = iter(range(10**9))

    def splice() -> bytes:
        number = next(counter)
        return compiled.message(arrangement, headers(number), personal(number))

    found: dict[str, list[float]] = {}
    size = len(splice())
    for _ in range(options.rounds):
        rounds = {
            "a reader's mail, spliced": timed(splice, 2_000),
            "a reader's mail, EmailMessage": timed(lambda: peer(doc, selection, next(counter)), 10),
            "arranging for one set of readers": timed(lambda: build_layout(doc, selection, templates=TEMPLATES), 50),
            "a document of 40 stories": timed(lambda: document(stories), 1),
            f"an edition for {READERS:,} readers, 10 sets": timed(lambda: edition(stories, sets[10], READERS), 1),
            f"an edition for {READERS:,} readers, 1,000 sets": timed(lambda: edition(stories, sets[1_000], READERS), 1),
        }
        for name, seconds in rounds.items():
            found.setdefault(name, []).append(seconds)
    medians = {name: statistics.median(values) for name, values in found.items()}
    names = list(medians)
    ratios = {
        "EmailMessage / spliced": spread(found[names[1]], found[names[0]]),
        "1,000 sets / 10 sets": spread(found[names[5]], found[names[4]]),
    }
    if options.json:
        print(json.dumps({"bytes": size, "rounds": options.rounds, "seconds": medians, "ratios": ratios}, indent=2))
        return
    print(f"{size:,} bytes a mail, medians of {options.rounds} interleaved rounds")
    for name, seconds in medians.items():
        print(f"{seconds * 1e6:>14,.1f} µs  {name}")
    for name, (middle, low, high) in ratios.items():
        print(f"{middle:>14,.2f}     {name} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
