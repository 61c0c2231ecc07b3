"""A story's file as a form: read its fields, write only what changed, and check it before it is saved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tidings.config.yaml_text import Mapping, Node, Scalar
from tidings.config.yaml_text import Sequence as YamlSequence
from tidings.model.errors import Problem
from tidings.model.text import clean, one_line, slugify
from tidings.runtime.newsroom import Runtime
from tidings.sources.base import SourceItem
from tidings.sources.folder.document import CONTACT
from tidings.sources.folder.front_matter import change_front_matter, node_text, read_front_matter
from tidings.sources.folder.source import FolderSource

_PLAIN = ("title", "summary", "kind", "published", "embargo", "expires", "starts", "ends")
"""Fields that are written as they are; the others are quoted."""
TEXTS = (*_PLAIN, "place", "correction", "withdrawn")
"""Fields that are one line of text."""
_KEY = re.compile(r"([\w-]+)[ \t]*:")
_TRUE = ("true", "yes", "on")
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_PICTURE = re.compile(r"!\[|<img\b")
_BOM = "\ufeff"


@dataclass(slots=True)
class StoryForm:
    """The fields of a story that a form shows. Everything else in its file is left alone."""

    texts: dict[str, str] = field(default_factory=dict)
    topics: tuple[str, ...] = ()
    contact: tuple[str, ...] = ()
    """Who answers the press, each in one line: Jane Doe, Press officer, jane@example.org, +7 727 000 00 00."""
    draft: bool = True
    lead: bool = False
    body: str = ""
    pictures: int = 0
    """How many pictures the file has, its own and those in the text. Only for reading."""
    own_pictures: tuple[str, ...] = ()
    """The files or addresses of its own pictures. Only for reading."""
    files: int = 0
    """How many attachments. Only for reading."""


@dataclass(frozen=True, slots=True)
class TranslationFile:
    """The file of a story in another language."""

    name: str
    language: str
    form: StoryForm
    gaps: tuple[str, ...]
    """What the opened file lacks in comparison: `correction`, `withdrawn`, `summary`, `text`, `paragraphs`, `pictures`,
    `files` or `topics`."""


def find_translations(runtime: Runtime, name: str, form: StoryForm) -> list[TranslationFile]:
    """Return the files of the same story in the other languages of the site, by the name of the file."""
    stem, _, language = name.removesuffix(".md").rpartition(".")
    languages = runtime.newsroom.site.languages
    if language not in languages:
        stem, language = name.removesuffix(".md"), ""
    found = []
    for other in languages:
        path = runtime.root / f"{stem}.{other}.md"
        if other == language or not path.is_file():
            continue
        with suppress(OSError, UnicodeDecodeError):
            translated = read_story(path.read_text(encoding="utf-8"))
            if translated is not None:
                gaps = tuple(_find_gaps(form, translated))
                found.append(TranslationFile(f"{stem}.{other}.md", other, translated, gaps))
    return found


def find_story_file(runtime: Runtime, source: FolderSource, story: str) -> StoryForm | None:
    """Return a story's file in any language of the site, by the name that it would have; None if there is none."""
    if "/" in story or story.startswith("."):
        return None
    for language in runtime.newsroom.site.languages:
        path = runtime.root / source.settings.path / f"{story}.{language}.md"
        with suppress(OSError, UnicodeDecodeError):
            return read_story(path.read_text(encoding="utf-8"))
    return None


def _find_gaps(own: StoryForm, other: StoryForm) -> Iterator[str]:
    for what in ("correction", "withdrawn", "summary"):
        if other.texts[what] and not own.texts[what]:
            yield what
    if other.body.strip() and not own.body.strip():
        yield "text"
        return
    counts = [(len(_PARAGRAPHS.split(form.body.strip())), form.pictures, form.files) for form in (own, other)]
    for what, here, there in zip(("paragraphs", "pictures", "files"), *counts, strict=True):
        # Translators join and split paragraphs: only a large difference is worth a word.
        if here < there and (what != "paragraphs" or here <= there * 0.7):
            yield what
    if set(other.topics) - set(own.topics):
        yield "topics"


def describe_change(before: StoryForm | None, after: StoryForm | None) -> str:
    """Return how the log names the save of a story: the change that readers see, else `story.saved`."""
    if before is None or after is None:
        return "story.saved"
    if after.texts["withdrawn"] != before.texts["withdrawn"]:
        return "story.withdrawn" if after.texts["withdrawn"] else "story.put_back"
    if before.draft != after.draft:
        return "story.drafted" if after.draft else "story.ready"
    corrected = after.texts["correction"] and after.texts["correction"] != before.texts["correction"]
    return "story.corrected" if corrected else "story.saved"


def is_text_unchanged(before: StoryForm | None, after: StoryForm | None) -> bool:
    """Whether what readers see is the same: title, summary, text and pictures."""
    return (
        before is not None
        and after is not None
        and before.body.strip() == after.body.strip()
        and before.own_pictures == after.own_pictures
        and all(before.texts[key] == after.texts[key] for key in ("title", "summary"))
    )


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
        contact=tuple(_read_contacts(values.get("contact"))),
        draft=value("draft").lower() in _TRUE,
        lead=value("lead").lower() in _TRUE,
        body=front.body,
        pictures=_count_entries(values.get("images")) + len(_PICTURE.findall(front.body)),
        own_pictures=tuple(each.get("src", "") for each in read_entries(values.get("images"), "src")),
        files=_count_entries(values.get("attachments")),
    )


def _read_contacts(node: Node | None) -> Iterator[str]:
    """Yield each press contact as one line."""
    for values in read_entries(node, CONTACT[0]):
        if line := ", ".join(filter(None, (values.get(key) for key in CONTACT))):
            yield line


def read_entries(node: Node | None, only: str) -> Iterator[dict[str, str]]:
    """Yield the values of each entry by key. An entry that is a text alone is the value of the key `only`."""
    for each in node.items if isinstance(node, YamlSequence) else () if node is None else (node,):
        if isinstance(each, Mapping):
            yield {key.text: one_line(node_text(value)) for key, value in each.entries}
        elif text := one_line(node_text(each)):
            yield {only: text}


def _count_entries(node: Node | None) -> int:
    return 0 if node is None else len(node.items) if isinstance(node, YamlSequence) else 1


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
    if form.contact != before.contact:
        lines = [json.dumps(line, ensure_ascii=False) for line in form.contact]
        changes["contact"] = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]" if lines else ""
    for key, flag, was in (("draft", form.draft, before.draft), ("lead", form.lead, before.lead)):
        if flag != was:
            changes[key] = "true" if flag else ""
    changed = change_front_matter(plain, changes)
    body = form.body.replace("\r\n", "\n")
    if body.strip("\n") != before.body.strip("\n"):
        head = changed[: len(changed) - len(before.body)] if changed.endswith(before.body) else None
        if head is None:
            raise ValueError("the text has characters that a browser would change; edit the file on the machine")
        changed = head + body.rstrip("\n") + "\n"
    return bom + (changed.replace("\n", "\r\n") if has_crlf else changed)


def check_story(source: FolderSource, name: str, text: str) -> tuple[SourceItem | None, list[Problem]]:
    """Return the item that a text would make, and what is wrong with it. The item is None after an error."""
    return source.read_text(name, text.encode())


def find_field(text: str, problem: Problem) -> str:
    """Return the key of the front matter that a problem is about, `body` for the text, or `title` for a lack of one."""
    lines = text.removeprefix(_BOM).splitlines()[: problem.line]
    if lines.count("---") > 1:
        return "body"
    keys = [match[1] for match in map(_KEY.match, lines) if match]
    return keys[-1] if keys else "title"


def new_story(source: FolderSource, *, title: str, language: str, story: str = "", kind: str = "") -> tuple[str, str]:
    """Return the name and the text of a new draft. `story` is set for a translation."""
    name = story or slugify(title) or "story"
    lines = ["---", f"title: {one_line(title)}", *([f"kind: {kind}"] if kind else [])]
    text = "\n".join([*lines, "draft: true", "---", "", ""])
    return f"{source.settings.path.strip('/')}/{name}.{language}.md", text
