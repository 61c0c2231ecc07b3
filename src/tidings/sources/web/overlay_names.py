"""Under which names the editor's hand on a story may stand in `content/overlay/`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tidings.sources.article import short_hash
from tidings.sources.base import SourceItem
from tidings.sources.web.identity import normalise_link


def overlay_names(
    found: Iterable[SourceItem], source: str, stored: Iterable[tuple[str, str, str, str]]
) -> dict[str, list[str]]:
    """By ref the names under which an overlay of the item may stand, the surest first. `stored`: `StoryIndex.rows`.

    First the key that the store minted, which is what people see: it stays when a translation comes and the source
    groups the two by another. Then what the source says, and what the item and its translations are called alone.
    """
    by_ref: dict[str, str] = {}
    by_page: dict[str, str] = {}
    for holder, ref, url, story in stored:
        by_page[normalise_link(url)] = story
        if holder == source:
            by_ref[ref] = story
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for one in found:
        minted, said = groups.setdefault(one.story or one.name, ([], []))
        minted += [by_ref[one.ref]] if one.ref in by_ref else []
        minted += [by_page[page] for page in one.translations if page in by_page]
        said += [one.story or one.name, name_alone(one, source)]
    every = {key: list(dict.fromkeys((*minted, *said))) for key, (minted, said) in groups.items()}
    return {one.ref: every[one.story or one.name] for one in found}


def name_alone(found: SourceItem, source: str) -> str:
    """What an item is called while nobody knows of a translation. Its name alone would make two pages one story."""
    return found.name if found.story is None else f"{found.name}-{short_hash(f'{source} {found.ref}')}"
