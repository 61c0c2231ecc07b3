"""Items and views for the tests of feeds and pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tidings.model.item import Attachment, Image, Item
from tidings.render.site_views import FeedView, SiteView, Translation

SITE_URL = "https://news.example.org/"
START = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)

SITE = SiteView(
    title="Aul & Steppe Newsroom",
    url=SITE_URL,
    language="en",
    languages=("en", "ru", "kk"),
    zone="Asia/Almaty",
    colour="#0077b6",
    address="10 Example Street, Almaty",
    topics={"youth": "Young people", "water": "Water & rivers"},
)


def item(number: int = 1, **changes: Any) -> Item:
    """Return an item whose dates follow its number; `changes` are fields."""
    moment = START + timedelta(days=number)
    language = changes.get("language", "en")
    values: dict[str, Any] = {
        "id": f"urn:uuid:00000000-0000-4000-8000-{number:012d}",
        "story": f"story-{number}",
        "slug": f"story-{number}",
        "language": language,
        "kind": "story",
        "title": f"Story number {number}",
        "summary": f"What story {number} is about.",
        "body": f"<p>The text of story {number}.</p>",
        "url": f"{SITE_URL}{language}/story-{number}/",
        "source": "newsroom",
        "ref": f"story-{number}.{language}.md",
        "published": moment,
        "first_seen": moment,
        "changed": moment,
        "out_at": moment,
    }
    return Item(**values | changes)


RICH = item(
    7,
    kind="event",
    title='AT&T, x < 5 and "quotes" 🌾',
    summary="Rivers & lakes: 3 < 5.",
    body='<h2>Why</h2><p>See <a href="https://news.example.org/en/река/">the river</a> &amp; more.</p>',
    topics=("youth", "water", "unnamed"),
    organisations=("UNICEF",),
    authors=("A. Author", "B. Writer"),
    images=(
        Image(
            SITE_URL + "media/ab/a%20b.jpg",
            "A river",
            "The river in May",
            "N. Photographer",
            1600,
            900,
            "image/jpeg",
            5,
        ),
        Image(SITE_URL + "media/cd/озеро.png", "A lake", width=800, height=600, media_type="image/png", length=6),
    ),
    attachments=(
        Attachment(SITE_URL + "media/ef/brief.pdf", "Brief", "application/pdf", 1_234_567),
        Attachment(SITE_URL + "media/ef/table.xlsx", "Table", length=45_000),
    ),
    correction="66 per cent, not 60.",
    starts=START + timedelta(days=30),
    ends=START + timedelta(days=30, hours=2),
    place="Almaty, Abay square",
)
TRANSLATIONS = (
    Translation("kk", "Өзен", SITE_URL + "kk/ozen/", "ozen"),
    Translation("ru", "Река", SITE_URL + "ru/reka/", "reka"),
)


def feed(*items: Item, **changes: Any) -> FeedView:
    """Return a feed of these items, newest first."""
    ordered = tuple(sorted(items, key=lambda each: (each.published, each.changed), reverse=True))
    values: dict[str, Any] = {
        "id": "urn:uuid:11111111-0000-4000-8000-000000000001",
        "name": "all",
        "title": "Aul & Steppe Newsroom",
        "items": ordered,
        "changed": max((each.changed for each in ordered), default=START),
        "translations": {RICH.id: TRANSLATIONS},
    }
    return FeedView(**values | changes)
