"""The cost of a feed of 50 items, beside feedgen with its defaults and hand-written lxml, in the same run.

    python -m bench.feeds [--rounds 7] [--json]

The peers write the same titles, links, dates and content, but no languages, pictures, categories or repaired links.
Figures are medians of CPU time over interleaved rounds: trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from feedgen.feed import FeedGenerator
from lxml import etree

from bench.figures import ratio_spread, time_cpu
from tidings.model.item import Item
from tidings.render.feeds.json_opml import render_json
from tidings.render.feeds.rss_atom import render_atom, render_rss
from tidings.render.site_views import FeedView, SiteView

AT = datetime(2026, 11, 20, 4, tzinfo=UTC)
SITE = SiteView("Степная редакция", "https://news.example.org/", "ru", ("ru", "kk"), zone="Asia/Almaty")


def make_items(count: int = 50) -> tuple[Item, ...]:
    """Cyrillic stories with bodies of about 3 KB."""
    body = "<p>Около 2300 человек больше не стоят в очереди у колодца: вода идёт из горного родника.</p>" * 20
    return tuple(
        Item(
            id=f"urn:uuid:00000000-0000-4000-8000-{number:012}",
            story=f"s{number}",
            slug=f"s{number}",
            language="ru",
            kind="story",
            title=f"Три села получили чистую воду, часть {number}",
            summary="Около 2300 человек больше не стоят в очереди.",
            body=body,
            url=f"https://news.example.org/ru/s{number}/",
            source="bench",
            ref=f"s{number}",
            published=AT - timedelta(hours=number),
            first_seen=AT,
            changed=AT - timedelta(hours=number),
            topics=("water", "health"),
        )
        for number in range(count)
    )


def render_by_feedgen(stories: tuple[Item, ...]) -> bytes:
    """RSS by feedgen, as its manual shows it."""
    feed = FeedGenerator()
    feed.id("https://news.example.org/")
    feed.title("Степная редакция")
    feed.description("Степная редакция")
    feed.link(href="https://news.example.org/")
    for story in stories:
        entry = feed.add_entry(order="append")
        entry.id(story.id)
        entry.title(story.title)
        entry.link(href=story.url)
        entry.summary(story.summary)
        entry.content(story.body)
        entry.published(story.published)
        entry.updated(story.changed)
    return bytes(feed.rss_str())


def render_by_lxml(stories: tuple[Item, ...]) -> bytes:
    """The shortest valid RSS, by hand."""
    content = "{http://purl.org/rss/1.0/modules/content/}encoded"
    root = etree.Element("rss", version="2.0")
    channel = etree.SubElement(root, "channel")
    for name, text in (("title", "Степная редакция"), ("link", "https://news.example.org/"), ("description", "-")):
        etree.SubElement(channel, name).text = text
    for story in stories:
        item = etree.SubElement(channel, "item")
        for name, text in (
            ("guid", story.id),
            ("title", story.title),
            ("link", story.url),
            ("description", story.summary),
            (content, story.body),
            ("pubDate", format_datetime(story.published)),
        ):
            etree.SubElement(item, name).text = text
    return bytes(etree.tostring(root, encoding="utf-8", xml_declaration=True))


def measure(rounds: int) -> dict[str, list[float]]:
    """CPU seconds for one feed by name, one value for each round."""
    stories = make_items()
    view = FeedView("urn:uuid:00000000-0000-4000-8000-999999999999", "all", "Все новости", stories, AT)
    calls = {
        "RSS by Tidings": lambda: render_rss(view, SITE),
        "Atom by Tidings": lambda: render_atom(view, SITE),
        "JSON Feed by Tidings": lambda: render_json(view, SITE),
        "RSS by feedgen with its defaults": lambda: render_by_feedgen(stories),
        "RSS by lxml, the least": lambda: render_by_lxml(stories),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(time_cpu(call, 5))
    return seconds


def main() -> None:
    """Run the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds = measure(options.rounds)
    if options.json:
        print(json.dumps(seconds))
        return
    peer = seconds["RSS by feedgen with its defaults"]
    for name, values in seconds.items():
        ratio, _, _ = ratio_spread(values, peer)
        print(f"{statistics.median(values) * 1e3:8.2f} ms  {ratio:5.2f} of feedgen  {name}")


if __name__ == "__main__":
    main()
