"""How posts will look: what a channel says of a body, with the card that the network makes of our page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tidings.channels.base import Card, Channel, HasCard
from tidings.config.settings import Newsroom
from tidings.model.item import Item
from tidings.pipeline.deliver.thumbnails import Thumbnails
from tidings.render.pages.post_previews import CardPreview, PostPreview

_MOST = 400_000
"""Bytes of a picture beside the page."""


class PostViews:
    """Makes the views of posts; `items` are those whose pages cards may be made of."""

    def __init__(self, newsroom: Newsroom, items: Sequence[Item]) -> None:
        self._newsroom = newsroom
        self._items = {item.url: item for item in items}
        site = newsroom.site.url
        self._media: Mapping[str, Path] = {
            f"{site}media/{each.digest}/{each.name}": newsroom.root / each.path for item in items for each in item.media
        }
        self._pictures = Thumbnails(newsroom.public, site)

    def of(self, channel: Channel, body: bytes, *, name: str, language: str, story: str) -> tuple[PostPreview, bytes]:
        """A post, and the picture of its card (empty where there is none) that stands as `name`.jpg beside it."""
        text = channel.text(body)
        card = channel.card(body) if isinstance(channel, HasCard) else None
        shown, picture = None, b""
        if card is not None:
            if card.title:
                # In words it stands behind the text.
                text = text.removesuffix(f"\n\n{card.title}\n\n{card.url}")
            shown, picture = self._card(card, f"{name}.jpg")
        post = PostPreview(
            channel=channel.name,
            kind=self._newsroom.channels[channel.name].type,
            language=language,
            story=story,
            text=text,
            length=channel.length(body),
            limit=channel.capabilities.max_length,
            card=shown,
        )
        return post, picture

    def _card(self, card: Card, file: str) -> tuple[CardPreview, bytes]:
        notes = []
        title, description, image, alt = card.title, card.description, card.image, card.alt
        site = urlsplit(card.url).hostname or ""
        if card.url and not title:
            item = self._items.get(card.url)
            if item is None:
                notes.append(f"The network makes the card of {card.url}")
            else:
                notes.append("The network makes this card of our page, soon after the page is out")
                title, description = item.title, item.summary
                image, alt = (item.images[0].src, item.images[0].alt) if item.images else ("", "")
        picture = self._picture(image) if image else b""
        if picture and not alt:
            notes.append("The network shows no alt text for it" if card.title else "Its picture has no alt text")
        if image and not picture:
            notes.append("Its picture stands on another site, and is not shown here")
        return CardPreview(site, title, description, file if picture else "", alt, tuple(notes)), picture

    def _picture(self, url: str) -> bytes:
        path = self._media.get(unquote(url))
        return (self._pictures.of(path, _MOST) if path is not None else self._pictures(url, _MOST)) or b""
