"""A story's file as a form: read its fields, write only what changed, and check it before it is saved."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tidings.config.yaml_text import Scalar
from tidings.config.yaml_text import Sequence as YamlSequence
from tidings.model.errors import Problem
from tidings.model.text import clean, one_line, slugify
from tidings.runtime.newsroom import Runtime
from tidings.sources.base import SourceItem
from tidings.sources.folder.front_matter import change_front_matter, node_text, read_front_matter
from tidings.sources.folder.source import FolderSource

TEXTS = ("title", "summary", "kind", "published", "embargo", "expires", "correction", "withdrawn")
"""Fields that are one line of text."""
_PLAIN = ("title", "summary", "kind", "published", "embargo", "expires")
"""Fields that are written as they are; the others are quoted."""
_TRUE = ("true", "yes", "on")
_BOM = "\ufeff"


@dataclass(slots=True)
class StoryForm:
    """The fields of a story that a form shows. Everything else in its file is left alone."""

    texts: dict[str, str] = field(default_factory=dict)
    topics: tuple[str, ...] = ()
    draft: bool = True
    lead: bool = False
    body: str = ""


def find_source(runtime: Runtime, name: str) -> FolderSource | None:
    """Return the folder source that a content file belongs to, or None if it is not a content file."""
    if not name.lower().endswith(".md") or any(part in ("", ".", "..") for part in name.split("/")):
        return None
    for source in runtime.sources.values():
        if isinstance(source, FolderSource) and name.startswith(f"{source.settings.path.strip('/')}/"):
            return source
    return None


def read_story(text: str) -> StoryForm | None:
    """Return the fields of a file, or None if its front matter cannot be read."""
    front, problems = read_front_matter(clean(text.removeprefix(_BOM)), "story")
    if front is None or any(problem.level == "error" for problem in problems):
        return None
    values = front.values

    def value(key: str) -> str:
        node = values.get(key)
        return "" if node is None else one_line(node_text(node))

    topics = values.get("topics")
    items = topics.items if isinstance(topics, YamlSequence) else () if topics is None else (topics,)
    return StoryForm(
        texts={key: value(key) for key in TEXTS},
        topics=tuple(one_line(node.text) for node in items if isinstance(node, Scalar)),
        draft=value("draft").lower() in _TRUE,
        lead=value("lead").lower() in _TRUE,
        body=front.body,
    )


def write_story(text: str, form: StoryForm) -> str:
    """Return the file's text with the fields of the form. A field that did not change keeps its line as it is.

    Raises ValueError if the text has no front matter.
    """
    before = read_story(text)
    if before is None:
        raise ValueError("the front matter cannot be read")
    has_crlf, bom = "\r\n" in text, _BOM if text.startswith(_BOM) else ""
    plain = text.removeprefix(_BOM).replace("\r\n", "\n")
    changes: dict[str, str] = {}
    for key in TEXTS:
        wanted = one_line(form.texts.get(key, before.texts[key]))
        if wanted != before.texts[key]:
            changes[key] = wanted if key in _PLAIN or not wanted else json.dumps(wanted, ensure_ascii=False)
    if form.topics != before.topics:
        changes["topics"] = f"[{', '.join(form.topics)}]" if form.topics else ""
    for key, flag, was in (("draft", form.draft, before.draft), ("lead", form.lead, before.lead)):
        if flag != was:
            changes[key] = "true" if flag else ""
    changed = change_front_matter(plain, changes)
    body = form.body.replace("\r\n", "\n")
    if body.strip("\n") != before.body.strip("\n"):
        head = changed[: len(changed) - len(before.body)] if changed.endswith(before.body) else None
        if head is None:
            raise ValueError("the text has characters that only an editor on the machine can keep")
        changed = head + body.rstrip("\n") + "\n"
    return bom + (changed.replace("\n", "\r\n") if has_crlf else changed)


def check_story(source: FolderSource, name: str, text: str) -> tuple[SourceItem | None, list[Problem]]:
    """Return the item that a text would make, and what is wrong with it. The item is None after an error."""
    return source.read_text(name, text.encode())


def new_story(source: FolderSource, *, title: str, language: str, story: str = "", kind: str = "") -> tuple[str, str]:
    """Return the name and the text of a new draft. `story` is set for a translation."""
    name = story or slugify(title) or "story"
    lines = ["---", f"title: {one_line(title)}", *([f"kind: {kind}"] if kind else [])]
    text = "\n".join([*lines, "draft: true", "---", "", ""])
    return f"{source.settings.path.strip('/')}/{name}.{language}.md", text
