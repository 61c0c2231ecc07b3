"""The cost of one reader's mail, and of an edition for few and for many sets of interests.

    python -m bench.digest [--rounds 7] [--json]

Each figure has a peer in the same run: the same mail by Python's EmailMessage, from the same HTML and text. Rounds are
interleaved, and figures are medians of CPU time: trust the ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from html import escape

from bench.figures import ratio_spread, time_cpu
from tidings.model.edition import Selection
from tidings.model.item import Image, Item
from tidings.render.mail.digest import MailLayout, build_layout, render_mail_document
from tidings.render.mail.fragments import MailDocument
from tidings.render.mail.headers import MailHeaders
from tidings.render.mail.merge import MailMerge, MergedMail
from tidings.render.mail.personal import split_placeholders
from tidings.render.mail.views import MailEdition, MailList, MailSite
from tidings.render.templates import MailTemplates

AT = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
TEMPLATES = MailTemplates()
TOPICS = tuple(f"topic-{number}" for number in range(14))
UNSUBSCRIBE = "https://news.example.org/unsubscribe/"
READERS = 10_000


def make_items(count: int) -> list[Item]:
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


def render_edition(stories: Sequence[Item]) -> MailDocument:
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


def make_selections(stories: Sequence[Item], count: int) -> list[Selection]:
    """Selections of readers with `count` different sets of topics, 12 stories at most."""
    chance = random.Random(count)
    selections: dict[tuple[str, ...], Selection] = {}
    while len(selections) < count:
        wanted = set(chance.sample(TOPICS, chance.randint(1, len(TOPICS))))
        chosen = [story for story in stories if wanted & set(story.topics)]
        chance.shuffle(chosen)
        chosen = chosen[:12]
        if chosen:
            selections[tuple(story.id for story in chosen)] = Selection("ru", chosen[0], tuple(chosen[1:]))
    return list(selections.values())


def headers_of(number: int) -> MailHeaders:
    """The header fields of a reader's mail."""
    return MailHeaders(
        sender="Степная редакция <news@example.org>",
        to_address=f"reader{number}@example.net",
        date=AT,
        message_id=f"<{number:032x}@example.org>",
        reply_to="comms@example.org",
        language="ru",
        list_id="digest.example.org",
        unsubscribe_url=unsubscribe_url(number),
        unsubscribe_mailto="leave@example.org",
        feedback_id="weekly7:digest:ru:example",
    )


def unsubscribe_url(number: int) -> str:
    """As long as a real one."""
    return f"{UNSUBSCRIBE}k1.{number:086x}"


def merged_mail(mail: MergedMail, number: int) -> bytes:
    """One reader's mail, merged as for delivery."""
    token = b"k1.%086x" % number
    return b"".join(mail.render(f"reader{number}@example.net", "", b"%032x" % number, token, token))


def prepare(merge: MailMerge, layout: MailLayout) -> MergedMail:
    """The mail that the readers of a layout share."""
    return merge.prepare(
        layout, headers_of(0), named=False, unsubscribe_prefix=UNSUBSCRIBE, preferences_prefix=UNSUBSCRIBE,
        domain="example.org",
    )  # fmt: skip


def render_for_readers(stories: Sequence[Item], selections: Sequence[Selection], readers: int) -> int:
    """Render one edition from stories to every reader's bytes, grouped by selection. Returns the bytes."""
    document = render_edition(stories)
    merge = MailMerge(document)
    size = number = 0
    for place, selection in enumerate(selections):
        mail = prepare(merge, build_layout(document, selection, templates=TEMPLATES))
        for _ in range(readers * (place + 1) // len(selections) - readers * place // len(selections)):
            size += len(merged_mail(mail, number))
            number += 1
    return size


def _fill(text: str, values: dict[str, str]) -> str:
    pieces = split_placeholders(text, frozenset(values))
    return "".join(piece if isinstance(piece, str) else values.get(piece.name, "") for piece in pieces)


def render_by_email_message(document: MailDocument, selection: Selection, number: int) -> bytes:
    """The same mail by Python's own library."""
    layout = build_layout(document, selection, templates=TEMPLATES)
    url = unsubscribe_url(number)
    values = {
        "unsubscribe_url": url,
        "preferences_url": url,
        "subject": layout.subject,
        "preheader": layout.preheader,
    }
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "Степная редакция <news@example.org>"
    mail["To"] = f"reader{number}@example.net"
    mail["Subject"] = layout.subject
    mail["Message-ID"] = f"<{number:032x}@example.org>"
    mail["List-Unsubscribe"] = f"<{url}>, <mailto:leave@example.org>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail["List-Id"] = "<digest.example.org>"
    text = "".join(document.fragments[key].text for key in layout.keys)
    page = "".join(document.fragments[key].html for key in layout.keys)
    mail.set_content(_fill(text, values), cte="base64")
    escaped = {name: escape(value) for name, value in values.items()}
    mail.add_alternative(_fill(page, escaped), subtype="html", cte="base64")
    return mail.as_bytes()


def main() -> None:
    """Run the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    stories = make_items(40)
    document = render_edition(stories)
    merge = MailMerge(document)
    (selection,) = make_selections(stories, 1)
    layout = build_layout(document, selection, templates=TEMPLATES)
    mail = prepare(merge, layout)
    sets = {count: make_selections(stories, count) for count in (10, 1_000)}
    counter = iter(range(10**9))

    def splice() -> bytes:
        number = next(counter)
        return merged_mail(mail, number)

    calls = {
        "a reader's mail, spliced": (splice, 2_000),
        "a reader's mail, EmailMessage": (lambda: render_by_email_message(document, selection, next(counter)), 10),
        "the layout of one set of readers": (lambda: build_layout(document, selection, templates=TEMPLATES), 50),
        "a document of 40 stories": (lambda: render_edition(stories), 1),
        f"an edition for {READERS:,} readers, 10 sets": (lambda: render_for_readers(stories, sets[10], READERS), 1),
        f"an edition for {READERS:,} readers, 1,000 sets": (
            lambda: render_for_readers(stories, sets[1_000], READERS),
            1,
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    size = len(splice())
    for _ in range(options.rounds):
        for name, (call, times) in calls.items():
            seconds[name].append(time_cpu(call, times))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    spliced, email_message, _, _, few, many = seconds.values()
    ratios = {
        "EmailMessage / spliced": ratio_spread(email_message, spliced),
        "1,000 sets / 10 sets": ratio_spread(many, few),
    }
    if options.json:
        print(json.dumps({"bytes": size, "rounds": options.rounds, "seconds": medians, "ratios": ratios}, indent=2))
        return
    print(f"{size:,} bytes a mail, medians of {options.rounds} interleaved rounds")
    for name, median in medians.items():
        print(f"{median * 1e6:>14,.1f} µs  {name}")
    for name, (middle, low, high) in ratios.items():
        print(f"{middle:>14,.2f}     {name} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
