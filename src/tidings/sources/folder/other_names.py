"""Recognise what other programs call the keys of an item: Hugo, Jekyll, Decap, Eleventy, Astro, Obsidian, Zola, Ghost.

Such a key stays a key of the newsroom's own, which only its templates see. `check` names what readers would miss.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from tidings.config.yaml_text import Mapping, Node, Scalar, Sequence
from tidings.sources.folder.moment_keys import find_meant_key

BODY = "body"
"""Meant instead of a key: the text below the front matter."""

_PATTERNS = {
    "images": re.compile(
        r"(?:[a-z]{1,12}[-_]?)?(?:image|img|picture|photo)(?:[-_]?(?:url|src|path|file))?"
        r"|cover|hero|thumb(?:nail)?|banner|teaser",
        re.IGNORECASE,
    ),
    "summary": re.compile(
        r"(?:(?:custom|meta|og|seo)[-_]?)?(?:description|excerpt|summary)|teaser|abstract|standfirst"
        r"|sub[-_]?title|sub[-_]?head(?:ing)?|tagline|deck|dek|lede|intro(?:duction)?|chapô?|анонс|описание|аннотация|подзаголовок|résumé",
        re.IGNORECASE,
    ),
    "topics": re.compile(
        r"tags?|categor(?:y|ies)|keywords?|topics|теги?|рубрик[аи]|тем[аы]|mots[-_]clés|étiquettes?|etiquetas"
        r"|schlagw(?:ort|örter)",
        re.IGNORECASE,
    ),
    "language": re.compile(r"lang|language|locale|язык|langue|idioma|sprache|тіл|لغة", re.IGNORECASE),
    "authors": re.compile(r"author|authors|byline|creators?|writers?|автор(?:ы)?|auteurs?|autore?s?", re.IGNORECASE),
    "place": re.compile(r"location|venue|место", re.IGNORECASE),
    "url": re.compile(
        r"canonical(?:[-_]?url)?|external[-_]?(?:url|link)|redirect(?:[-_]?to|[-_]?url)?|original[-_]?url",
        re.IGNORECASE,
    ),
    "kind": re.compile(r"type", re.IGNORECASE),
    "story": re.compile(r"translation[-_]?(?:key|id|of|group)|i18n[-_]?(?:key|id)", re.IGNORECASE),
    "contact": re.compile(r"(?:press|media|pr)[-_]?contacts?", re.IGNORECASE),
    "updated": re.compile(
        r"last[-_]?mod(?:ified)?(?:[-_]?(?:at|on|date))?|(?:modified|updated|revised)(?:[-_]?(?:at|on|date))?",
        re.IGNORECASE,
    ),
    "published": re.compile(r"created(?:[-_]?(?:at|on|date))?", re.IGNORECASE),
    "starts": re.compile(r"(?:event|meeting)[-_]?(?:date|time|start|day)|start", re.IGNORECASE),
    BODY: re.compile(r"body|text|html|markdown", re.IGNORECASE),
}
_VALUES = {
    "url": re.compile(r"https?://"),
    "kind": re.compile(r"(?:event|press-release|publication|video|speech|note)$"),
    "updated": re.compile(r"\d{4}"),
    "published": re.compile(r"\d{4}"),
    "starts": re.compile(r"\d{4}"),
}
"""What the value must begin with. Without an entry here, any text."""
_PICTURE = re.compile(r"\.(?:jpe?g|png|gif|webp|avif)\b", re.IGNORECASE)
_PAGE = re.compile(r"https?://")
_FILE = re.compile(r"\.(?:pdf|docx?|xlsx?|pptx?|od[tsp]|zip|csv|mp3|m4a|ogg|wav|mp4|webm|mov)\b", re.IGNORECASE)
_PLAYER = re.compile(r"https?://(?:[\w-]+\.)*(?:youtube(?:-nocookie)?\.com|youtu\.be|vimeo\.com|soundcloud\.com)/")
_PLAYER_NAME = re.compile(r"(?:youtube|vimeo)(?:[-_]?(?:id|url))?", re.IGNORECASE)


def list_leaves(path: str, node: Node) -> Iterator[tuple[str, Scalar]]:
    """List the scalars of a value with their paths, such as `params.image`."""
    if isinstance(node, Scalar):
        yield path, node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from list_leaves(path, item)
    elif isinstance(node, Mapping):
        for key, value in node.entries:
            yield from list_leaves(f"{path}.{key.text}", value)


def keeps_back(path: str, value: str) -> str | None:
    """Return `embargo` or `draft` if a value within another key keeps the story back."""
    above, _, name = path.rpartition(".")
    meant = find_meant_key(name, value)
    is_plain = meant == "embargo" or above in ("build", "_build") or name.lower() in ("draft", "isdraft")
    return meant if above and is_plain and meant in ("embargo", "draft") else None


def find_other_name(path: str, value: str) -> str | None:
    """Return the key that a value was probably meant for, or None."""
    names, value = (path.rpartition(".")[2], path.partition(".")[0]), value.strip()
    if not value:
        return None
    is_picture = _PATTERNS["images"].fullmatch(names[0]) and _PAGE.match(value)
    if _PLAYER.match(value) or _PLAYER_NAME.fullmatch(names[0]):
        return BODY
    if is_picture or _PICTURE.search(value):
        return "images"
    if _FILE.search(value):
        return "attachments"
    for known, pattern in _PATTERNS.items():
        expected = _VALUES.get(known)
        is_named = known != "images" and any(map(pattern.fullmatch, names))
        if is_named and (expected is None or expected.match(value)):
            return known
    return None


def is_used(value: str, texts: str) -> bool:
    """Whether the file or the address of a value is also where readers see it."""
    return unquote(value.strip().strip("[]!()<>").rpartition("/")[2].partition("?")[0]) in unquote(texts)
