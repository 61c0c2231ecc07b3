"""The editor's hand on what a website tells: `content/overlay/STORY.yaml`, laid over each translation of the story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tidings.config.yaml_text import MAX_BYTES, Node, Scalar, Sequence, read_text, read_yaml
from tidings.config.yaml_text import Mapping as Map
from tidings.model.errors import Problem, nearest
from tidings.model.text import clean, one_line
from tidings.sources.base import SourceItem
from tidings.sources.body_pictures import change_pictures

FOLDER = Path("content") / "overlay"
_KEYS = ("lead", "not_in", "topics", "post", "alt")
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Overlay:
    """What goes before the website's own word; None where the editor says nothing. `alt` is by a picture's address."""

    lead: bool | None = None
    not_in: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None
    post: Mapping[str, str] | None = None
    alt: Mapping[str, str] = field(default_factory=dict)

    def over(self, found: SourceItem) -> SourceItem:
        """The item with the editor's hand on it."""
        images = tuple(replace(one, alt=self.alt.get(one.src, one.alt)) for one in found.images)

        def described(attributes: Mapping[str, str]) -> Mapping[str, str] | None:
            alt = self.alt.get(attributes.get("src", ""))
            return None if alt is None else {**attributes, "alt": alt}

        return replace(
            found,
            lead=found.lead if self.lead is None else self.lead,
            not_in=found.not_in if self.not_in is None else self.not_in,
            topics=found.topics if self.topics is None else self.topics,
            post=found.post if self.post is None else self.post,
            images=images,
            body=change_pictures(found.body, described) if self.alt else found.body,
        )


class Overlays:
    """Those of a newsroom, read again when a file changes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, tuple[tuple[int, int], Overlay, tuple[Problem, ...]]] = {}

    def read(self) -> tuple[dict[str, Overlay], tuple[Problem, ...]]:
        """By story, and what is wrong with them; a file that cannot be read is as good as none."""
        now = {}
        for path in sorted((self._root / FOLDER).glob("*.yaml")):
            try:
                stat = path.stat()
                signature = (stat.st_mtime_ns, stat.st_size)
                before = self._read.get(path.stem)
                if before is not None and before[0] == signature:
                    now[path.stem] = before
                    continue
                raw = path.read_bytes()[: MAX_BYTES + 1]
            except OSError:
                continue
            overlay, problems = read_overlay(raw, (FOLDER / path.name).as_posix())
            now[path.stem] = signature, overlay, problems
        self._read = now
        return {story: one for story, (_, one, _) in now.items()}, tuple(p for _, _, some in now.values() for p in some)


def read_overlay(raw: bytes, ref: str) -> tuple[Overlay, tuple[Problem, ...]]:
    """One file; whatever is wrong in it is a problem at its line, and the rest holds."""
    text, problem = read_text(raw, ref)
    if text is None:
        return Overlay(), tuple(problem)
    node, problems = read_yaml(text, ref)
    wrong = list(problems)
    values: dict[str, Node] = {}
    if isinstance(node, Map):
        for name, value in node.entries:
            if name.text in _KEYS:
                values[name.text] = value
            else:
                mend = nearest(name.text, _KEYS) or f"the keys are {', '.join(_KEYS)}"
                wrong.append(Problem(ref, name.line, name.column, f"there is no key `{name.text}` in an overlay", mend))
    elif node is not None:
        wrong.append(Problem(ref, node.line, node.column, "an overlay is a map", f"the keys are {', '.join(_KEYS)}"))
    made = Overlay(
        lead=_flag(values.get("lead"), ref, wrong),
        not_in=_names(values.get("not_in")),
        topics=_names(values.get("topics")),
        post=_post(values.get("post")),
        alt=_texts(values.get("alt")),
    )
    return made, tuple(wrong)


def _flag(node: Node | None, ref: str, wrong: list[Problem]) -> bool | None:
    if node is None:
        return None
    found = _FLAGS.get(node.text.lower()) if isinstance(node, Scalar) else None
    if found is None:
        wrong.append(Problem(ref, node.line, node.column, "`lead` must be true or false", "write lead: true"))
    return found


def _names(node: Node | None) -> tuple[str, ...] | None:
    if node is None:
        return None
    nodes = node.items if isinstance(node, Sequence) else (node,)
    return tuple(one_line(one.text) for one in nodes if isinstance(one, Scalar) and one.text.strip())


def _texts(node: Node | None) -> dict[str, str]:
    if not isinstance(node, Map):
        return {}
    return {one_line(key.text): clean(value.text).strip() for key, value in node.entries if isinstance(value, Scalar)}


def _post(node: Node | None) -> dict[str, str] | None:
    """One text for every channel, or a map of them."""
    if isinstance(node, Scalar):
        return {"": clean(node.text).strip()}
    return None if node is None else _texts(node)
