"""The index of the search: JSON files by language and year, each small enough to be loaded at once."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence

from tidings.model.item import Item
from tidings.model.text import clean, one_line
from tidings.render.i18n import format_date, kind_label, to_zone, topic_label
from tidings.render.site_views import SiteView
from tidings.render.urls import page_path

MAX_FILE = 150_000
"""Most estimated bytes of a file. The real size stays below 200 kB."""
_MAX_WORDS = 2_000
"""Most characters of a story's words, without its title and summary."""
_TAG = re.compile(r"<[^<>]*>")
_WORD = re.compile(r"\w+")


def _render_entry(item: Item, site: SiteView) -> bytes:
    """Return the index entry of an item: the shown fields, and each word of the text once."""
    title, summary = one_line(item.title), one_line(item.summary)
    labels = [
        *(topic_label(topic, site.topics) for topic in item.topics),
        *item.organisations,
        *item.authors,
        item.place,
    ]
    values = {
        "path": page_path(item.language, item.slug),
        "title": title,
        "summary": summary,
        "kind": kind_label(item.kind, site.language, 1),
        "date": to_zone(item.published, site.zone).date().isoformat(),
        "day": format_date(item.published, site.language, site.zone),
        "labels": [label for label in map(one_line, labels) if label],
        "words": _words(item.body, f"{title} {summary}"),
    }
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "replace")


def split_items(items: Sequence[Item], lengths: Mapping[str, tuple[int, int]]) -> list[list[Item]]:
    """Split items into files of at most about MAX_FILE bytes, in their order, without rendering them.

    `lengths` are the characters of summary and body by id: the items may be without their texts.
    """
    files: list[list[Item]] = []
    size = 0
    for item in items:
        length = _estimate(item, *lengths[item.id])
        if not files or size + length > MAX_FILE:
            files.append([])
            size = 0
        files[-1].append(item)
        size += length
    return files


def _estimate(item: Item, summary: int, body: int) -> int:
    """Estimate the largest size of an entry in bytes: names are short, and each word occurs once."""
    shown = item.title + "".join((*item.topics, *item.organisations, *item.authors, item.place))
    a_letter = len(item.title.encode("utf-8", "replace")) / max(1, len(item.title))
    letters = 1.2 * summary + min(body, _MAX_WORDS)
    return round(300 + 1.2 * len(shown.encode("utf-8", "replace")) + a_letter * letters)


def render_entries(items: Sequence[Item], site: SiteView) -> bytes:
    """Return one file of the index."""
    return b"[\n" + b",\n".join(_render_entry(item, site) for item in items) + b"\n]\n"


def render_index(language: str, files: Sequence[str]) -> bytes:
    """Return the file that lists the other files."""
    return (json.dumps({"language": language, "files": list(files)}, ensure_ascii=False) + "\n").encode()


def _words(body: str, known: str) -> str:
    """Return each word of a text once, in order. Text without spaces (Chinese) is not split."""
    seen = set(_WORD.findall(known.lower()))
    words: dict[str, None] = {}
    size = 0
    for word in _WORD.findall(html.unescape(_TAG.sub(" ", clean(body))).lower()):
        if word in seen or word in words or (len(word) < 2 and word.isascii()):
            continue
        size += len(word) + 1
        if size > _MAX_WORDS:
            break
        words[word] = None
    return " ".join(words)
