"""From a selection to a post: what channels are asked to carry."""

from __future__ import annotations

from tidings.channels.base import Post, PostItem
from tidings.config.schedule import Schedule
from tidings.config.settings import Newsroom
from tidings.model.edition import Edition, Selection
from tidings.model.item import Item


def make_post(newsroom: Newsroom, schedule: Schedule, edition: Edition, selection: Selection, channel: str) -> Post:
    """A post of one story, or of an edition under the schedule's title, in the words meant for this channel."""
    default = newsroom.site.languages[0]
    items = tuple(
        make_post_item(item, channel) for item in (*selection.lead_items, *selection.items, *selection.titles)
    )
    one = items[0] if len(items) == 1 else None
    return Post(
        title=one.title if one else schedule.heading(selection.language, default),
        url=one.url if one else f"{newsroom.site.url}{selection.language}/",
        language=selection.language,
        items=items,
        edition=edition.name,
        site=newsroom.site.title.get(selection.language, default),
        at=edition.cutoff,
    )


def make_post_item(item: Item, channel: str, *, correction: str = "") -> PostItem:
    """One story. A picture that nobody put into words is left out; the editor's own words go before the template."""
    image = next((image for image in item.images if image.alt), None)
    return PostItem(
        id=item.id,
        story=item.story,
        language=item.language,
        kind=item.kind,
        title=item.title,
        summary=item.summary,
        url=item.url,
        published=item.published,
        topics=item.topics,
        image=image.src if image else "",
        image_alt=image.alt if image else "",
        text=item.post.get(channel) or item.post.get("", ""),
        correction=correction,
    )
