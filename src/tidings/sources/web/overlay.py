"""Overlays: values that editors add to a website's story and its translations, in `content/overlay/STORY.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tidings.config.yaml_text import MAX_BYTES, Node, Scalar, Sequence, read_text, read_yaml
from tidings.config.yaml_text import Mapping as YamlMapping
from tidings.model.errors import Problem, nearest
from tidings.model.text import clean, one_line
from tidings.sources.article import OVERLAYS, short_hash
from tidings.sources.base import SourceItem
from tidings.sources.body import change_pictures
from tidings.sources.web.identity import normalise_link

_KEYS = ("lead", "not_in", "topics", "post", "alt")
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Overlay:
    """Values that replace the website's own; None means no replacement. `alt` is by a picture's address."""

    lead: bool | None = None
    not_in: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None
    post: Mapping[str, str] | None = None
    alt: Mapping[str, str] = field(default_factory=dict)

    def apply(self, item: SourceItem) -> SourceItem:
        """Return the item with the editor's values."""

        def add_alt(attributes: Mapping[str, str]) -> Mapping[str, str] | None:
            alt = self.alt.get(attributes.get("src", ""))
            return None if alt is None else {**attributes, "alt": alt}

        return replace(
            item,
            lead=item.lead if self.lead is None else self.lead,
            not_in=item.not_in if self.not_in is None else self.not_in,
            topics=item.topics if self.topics is None else self.topics,
            post=item.post if self.post is None else self.post,
            images=tuple(replace(image, alt=self.alt.get(image.src, image.alt)) for image in item.images),
            body=change_pictures(item.body, add_alt) if self.alt else item.body,
        )


class Overlays:
    """The overlays of a newsroom. A file is read again when it changes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, tuple[tuple[int, int], Overlay, tuple[Problem, ...]]] = {}

    def read(self) -> tuple[dict[str, Overlay], tuple[Problem, ...]]:
        """Return the overlays by story, and their problems. A file that cannot be read counts as absent."""
        current = {}
        for path in sorted((self._root / OVERLAYS).glob("*.y*ml")):
            try:
                stat = path.stat()
                signature = (stat.st_mtime_ns, stat.st_size)
                before = self._read.get(path.stem)
                if before is not None and before[0] == signature:
                    current[path.stem] = before
                    continue
                raw = path.read_bytes()[: MAX_BYTES + 1]
            except OSError:
                continue
            current[path.stem] = signature, *parse_overlay(raw, f"{OVERLAYS}/{path.name}")
        self._read = current
        problems = tuple(problem for _, _, problems in current.values() for problem in problems)
        return {story: overlay for story, (_, overlay, _) in current.items()}, problems


def parse_overlay(raw: bytes, ref: str) -> tuple[Overlay, tuple[Problem, ...]]:
    """Parse one file. Each mistake is a problem with its line; the rest of the file is used."""
    text, unreadable = read_text(raw, ref)
    if text is None:
        return Overlay(), tuple(unreadable)
    node, yaml_problems = read_yaml(text, ref)
    problems = list(yaml_problems)
    values: dict[str, Node] = {}
    mend = f"the keys are {', '.join(_KEYS)}"
    if isinstance(node, YamlMapping):
        for name, value in node.entries:
            if name.text in _KEYS:
                values[name.text] = value
            else:
                message = f"there is no key `{name.text}` in an overlay"
                problems.append(Problem(ref, name.line, name.column, message, nearest(name.text, _KEYS) or mend))
    elif node is not None:
        problems.append(Problem(ref, node.line, node.column, "an overlay must be a map", mend))
    lead = None
    if flag := values.get("lead"):
        lead = _FLAGS.get(flag.text.lower()) if isinstance(flag, Scalar) else None
        if lead is None:
            message = "`lead` must be true or false"
            problems.append(Problem(ref, flag.line, flag.column, message, "write lead: true"))
    overlay = Overlay(
        lead=lead,
        not_in=_read_names(values.get("not_in")),
        topics=_read_names(values.get("topics")),
        post=_read_post(values.get("post")),
        alt=_read_texts(values.get("alt")),
    )
    return overlay, tuple(problems)


def _read_names(node: Node | None) -> tuple[str, ...] | None:
    if node is None:
        return None
    nodes = node.items if isinstance(node, Sequence) else (node,)
    return tuple(one_line(entry.text) for entry in nodes if isinstance(entry, Scalar) and entry.text.strip())


def _read_texts(node: Node | None) -> dict[str, str]:
    if not isinstance(node, YamlMapping):
        return {}
    return {one_line(key.text): clean(value.text).strip() for key, value in node.entries if isinstance(value, Scalar)}


def _read_post(node: Node | None) -> dict[str, str] | None:
    """Read one text for all channels, or a map of channels."""
    if isinstance(node, Scalar):
        return {"": clean(node.text).strip()}
    return None if node is None else _read_texts(node)


def overlay_names(
    items: Iterable[SourceItem], source: str, stored: Iterable[tuple[str, str, str, str]]
) -> dict[str, list[str]]:
    """Return the possible overlay names of each item, by ref, the most certain first. `stored`: `StoryIndex.rows`.

    The first is the stored story key, which people see. It stays the same when a new translation gives both another key
    in the source. Then come the source's key, and the names of the item and of its translations.
    """
    by_ref: dict[str, str] = {}
    by_page: dict[str, str] = {}
    for holder, ref, url, story in stored:
        by_page[normalise_link(url)] = story
        if holder == source:
            by_ref[ref] = story
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for item in items:
        stored_keys, own_names = groups.setdefault(item.story or item.name, ([], []))
        stored_keys += [by_ref[item.ref]] if item.ref in by_ref else []
        stored_keys += [by_page[page] for page in item.translations if page in by_page]
        # Without a group, a name has a hash, else two pages with the same name would become one story.
        alone = item.name if item.story is None else f"{item.name}-{short_hash(f'{source} {item.ref}')}"
        own_names += [item.story or item.name, alone]
    names = {key: list(dict.fromkeys((*stored_keys, *own))) for key, (stored_keys, own) in groups.items()}
    return {item.ref: names[item.story or item.name] for item in items}
