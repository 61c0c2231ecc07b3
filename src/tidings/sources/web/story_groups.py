"""Items of a website that name one another as translations: one story, and how that is called. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tidings.model.item import CachedItem
from tidings.model.text import shorten_slug, slugify
from tidings.sources.article import match_language, short_hash
from tidings.sources.web.identity import normalise_link


def group_translations(
    entries: Mapping[str, CachedItem], fallback: str | None, languages: tuple[str, ...]
) -> dict[str, str]:
    """A key for each address whose item names its translations, the same for all that name one another.

    It is made of the address in the first of the site's `languages` that there is, so it is the same whichever of them
    is seen first, and in whichever source. Once it is stored it stays, whatever this says later (`pipeline.changes`).
    `fallback` is the language of items that say none.
    """
    parent: dict[str, str] = {}
    spoken: dict[str, int] = {}

    def root(link: str) -> str:
        while parent.setdefault(link, link) != link:
            parent[link] = parent[parent[link]]
            link = parent[link]
        return link

    for entry in entries.values():
        article = entry.data["article"]
        named = [(article.get("language") or fallback or languages[0], article.get("url", ""))]
        named += article.get("translations", {}).items()
        links = [(said, normalise_link(url)) for said, url in named]
        if len(links) < 2 or not links[0][1]:
            continue
        for said, link in links:
            language = match_language(said, None, languages) if said else None
            if language is not None:
                spoken[link] = min(languages.index(language), spoken.get(link, len(languages)))
            if link:
                one, other = sorted((root(links[0][1]), root(link)))
                parent[other] = one
    chosen: dict[str, str] = {}
    for link in sorted(parent, key=lambda link: (spoken.get(link, len(languages)), link)):
        chosen.setdefault(root(link), link)
    return {link: _key(chosen[root(link)]) for link in parent}


def _key(link: str) -> str:
    """As short as the name of an item alone: the last part of the path with letters, what follows, a digest."""
    path = link.partition("?")[0].partition("/")[2]
    last = re.search(r"[^/]*[^\W\d_][^/]*(/[\W\d_]*)?$", path)
    words = re.sub(r"\.(html?|php|aspx?)$", "", last[0]) if last else path
    return f"{shorten_slug(slugify(words or link))}-{short_hash(link)}"
