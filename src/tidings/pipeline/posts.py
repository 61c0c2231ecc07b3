"""From a selection to a post: what channels are asked to carry."""

from __future__ import annotations

from tidings.channels.base import Post, PostItem
from tidings.config.schedule import Schedule
from tidings.config.settings import Newsroom
from tidings.model.edition import Edition
from tidings.model.item import Item
from tidings.model.selection import Selection


def make_post(newsroom: Newsroom, schedule: Schedule, edition: Edition, selection: Selection) -> Post:
    """A post of one story, or of an edition under the schedule's title."""
    default = newsroom.site.languages[0]
    items = tuple(_post_item(item) for item in (*selection.leading, *selection.items, *selection.titles))
    one = items[0] if len(items) == 1 else None
    return Post(
        title=one.title if one else schedule.heading(selection.language, default),
        url=one.url if one else f"{newsroom.site.url}{selection.language}/",
        language=selection.language,
        items=items,
        edition=edition.name,
        site=newsroom.site.title.get(selection.language, default),
        at=edition.cut,
    )


def _post_item(item: Item) -> PostItem:
    image = item.images[0] if item.images else None
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
    )
