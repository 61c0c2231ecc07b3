"""Front matter: strict YAML, except for headlines, which need no quotes.

A `title` or `summary` is text to the end of the line, with its colons, quotes, @ and #SDG5. Quotes are removed only
if the whole value is one quoted YAML scalar (`'"Reuse": a start'`, but not `"Reuse" and more`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as TextMapping
from dataclasses import dataclass, field

from tidings.config.yaml_text import Mapping, Node, Scalar, Sequence, read_yaml
from tidings.model.errors import Problem
from tidings.sources.folder.moment_keys import find_meant_key
from tidings.sources.folder.other_names import BODY, find_other_name, is_used, keeps_back, list_leaves

KEYS = (
    "title", "summary", "kind", "published", "updated", "correction", "withdrawn", "embargo", "expires", "starts",
    "ends", "place", "url", "language", "story", "id", "topics", "organisations", "authors", "images", "attachments",
    "contact", "lead", "not_in", "draft", "post",
)  # fmt: skip

_KEY = re.compile(r"([A-Za-z_][\w-]*)[ \t]*:(?:[ \t]+(.*))?$")
_BLOCK = re.compile(r"[>|][+-]?[1-9]?[+-]?[ \t]*(#.*)?$")
_FENCE = re.compile(r"---[ \t]*$")
_CLOSE = re.compile(r"(---|\.\.\.)[ \t]*$")
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""")
_WORDS = ("content", "context", "contract")
"""Words that look like a misspelt key, and are not."""
_SENTENCES = ("correction", "withdrawn", "place", "post")


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """Known keys in `values`, others as text in `extra`. `places` has line and column of each known key's value."""

    values: dict[str, Node]
    extra: dict[str, str]
    body: str
    places: dict[str, tuple[int, int]] = field(default_factory=dict)


def read_front_matter(text: str, file: str) -> tuple[FrontMatter | None, list[Problem]]:
    """Read a text with line feeds and without a byte order mark. None if there is no usable front matter."""
    lines = text.split("\n")
    if not text.strip():
        return None, [Problem(file, 1, 1, "the file is empty", "write the item, or delete the file")]
    if not _FENCE.match(lines[0]):
        return None, [Problem(file, 1, 1, *_describe_beginning(lines))]
    end = next((number for number, line in enumerate(lines[1:], 1) if _CLOSE.match(line)), None)
    if end is None:
        mend = "put a line --- after the last key; or the file is still being written"
        return None, [Problem(file, len(lines), 1, "the front matter is not closed: there is no second ---", mend)]
    yaml, headlines = _extract_headlines(lines[1:end], file)
    node, problems = read_yaml("\n".join(yaml), file, first_line=2, warns=True)
    if node is None and problems:
        return None, problems
    if not isinstance(node, Mapping):
        return None, [*problems, Problem(file, 2, 1, "the front matter has no keys", "write at least title: ...")]
    front = FrontMatter({}, {}, "\n".join(lines[end + 1 :]))
    own: list[tuple[Scalar, Node]] = []
    for key, value in node.entries:
        name = "contact" if key.text == "contacts" else key.text
        if name in KEYS:
            taken = headlines.get(name, value)
            if name != "title" and isinstance(taken, Scalar) and taken.text in ("null", "~") and not taken.quoted:
                continue  # Programs write a key without a value so.
            front.values[name] = taken
            front.places[name] = (taken.line, taken.column)
        elif (moment := find_meant_key(name, node_text(value))) != "draft" and (meant := find_similar(name, KEYS)):
            message = f"there is no key `{name}`"
            mend = f"did you mean `{meant}`? A key of your own must differ from it by more than two letters"
            problems.append(Problem(file, key.line, key.column, message, mend))
        elif moment is not None:
            message = f"the key `{name}` is not known, but it looks as if it keeps the story back or takes it down"
            mend = f"write `{moment}`, or give a key of your own another name"
            problems.append(Problem(file, key.line, key.column, message, mend))
        else:
            front.extra[name] = node_text(value)
            own.append((key, value))
    return front, [*problems, *_name_other_keys(own, front, file)]


def _name_other_keys(own: list[tuple[Scalar, Node]], front: FrontMatter, file: str) -> list[Problem]:
    """Report values under another program's name that readers would miss, once for each key that was meant."""
    found: dict[str, Problem] = {}
    for key, node in own:
        for path, leaf in list_leaves(key.text, node):
            place = key if path == key.text else leaf
            if moment := keeps_back(path, leaf.text):
                message = f"the key `{path}` is not known, but it looks as if it keeps the story back or takes it down"
                mend = f"write `{moment}` as a key of its own, or give this key another name"
                found.setdefault(path, Problem(file, place.line, place.column, message, mend))
            meant = find_other_name(path, leaf.text)
            if meant is None or meant in found:
                continue
            if meant in ("images", "attachments", BODY):
                shown = front.body if meant != "images" else ""
                if is_used(leaf.text, shown + (node_text(front.values[meant]) if meant in front.values else "")):
                    continue
            elif meant in front.values:
                continue
            message = f"the key `{path}` is only for templates of your own, and readers do not see its value"
            mend = "write it below the second ---" if meant == BODY else f"write `{meant}`"
            found[meant] = Problem(file, place.line, place.column, message, f"{mend}, if it is meant so", "warning")
    return list(found.values())


def _describe_beginning(lines: list[str]) -> tuple[str, str]:
    """Return the message and the mend for a file without a line --- at its beginning."""
    first = lines[0].strip()
    mend = "begin with a line ---, then title: ..., then a line ---"
    if first == "+++":
        return "the front matter is TOML, between two lines +++", f"write it as YAML: {mend}"
    if first.startswith("{"):
        return "the front matter is JSON", f"write it as YAML: {mend}"
    if re.fullmatch(r"[-–—−]{1,3}", first):
        return "the first line has long dashes, which an editor made of ---", "type three hyphens: ---"
    if not first and next((line for line in lines if line.strip()), "").startswith("---"):
        return "there are empty lines before ---", "delete them: --- must be the first line"
    return "the file does not begin with ---", mend


def change_front_matter(text: str, values: TextMapping[str, str]) -> str:
    """Return a text with other values of these keys. Comments, order and all other keys stay as they are.

    `values` are YAML on one line, except for headlines, which are plain text. An empty value removes the key.
    Raises ValueError if there is no front matter.
    """
    lines = text.split("\n")
    end = next((number for number, line in enumerate(lines[1:], 1) if _CLOSE.match(line)), None)
    if not _FENCE.match(lines[0]) or end is None:
        raise ValueError("there is no front matter between two lines ---")
    for key, value in values.items():
        is_headline = key in ("title", "summary")
        written = _write_headline(value) if is_headline else value
        start = next((n for n in range(1, end) if (found := _KEY.match(lines[n])) and found[1] == key), end)
        after = min(start + 1, end)
        while start < end and after < end and re.match(r"[ \t]+\S|-[ \t]|[ \t]*$", lines[after]):
            after += 1
        while after > start + 1 and not lines[after - 1].strip():
            after -= 1  # empty lines belong to what follows
        comment = _find_comment(lines[start]) if start < end and not is_headline else ""
        fresh = [f"{key}: {written}{comment}"] if value else []
        lines[start:after] = fresh
        end += len(fresh) - (after - start)
    return "\n".join(lines)


def _find_comment(line: str) -> str:
    """Return the comment of a line with the spaces before it: it comes after all quotes."""
    rest = line[max(line.rfind("'"), line.rfind('"')) + 1 :]
    match = re.search(r"(?<![ \t])[ \t]+#", rest)
    return rest[match.start() :] if match else ""


def _write_headline(value: str) -> str:
    """Quote a headline only where it would not be read as it is written."""
    return json.dumps(value, ensure_ascii=False) if _QUOTED.fullmatch(value) or _BLOCK.match(value) else value


def _extract_headlines(lines: list[str], file: str) -> tuple[list[str], dict[str, Scalar]]:
    """Return the lines with a placeholder for each headline, and the headlines."""
    yaml = list(lines)
    headlines: dict[str, Scalar] = {}
    for number, line in enumerate(lines):
        match = _KEY.match(line)
        if match is None or not (match[2] or "").strip():
            continue
        key, value = match[1], match[2].strip()
        if key in _SENTENCES:
            yaml[number] = _quote_sentence(key, value, line)
        if _BLOCK.match(value) or not (key in ("title", "summary") or find_similar(key, ("title", "summary"))):
            continue
        following = number + 1
        while following < len(lines) and re.match(r"[ \t]+\S", lines[following]):
            inner = _KEY.match(lines[following].strip())
            if inner is not None and inner[1] in KEYS:
                break  # an indented key: YAML reports it with its line; it is never a part of the headline
            value += " " + lines[following].strip()
            yaml[following] = ""
            following += 1
        yaml[number] = f"{key}: ''"
        headlines.setdefault(key, Scalar(_unquote(value, file), number + 2, match.start(2) + 1))
    return yaml, headlines


def _quote_sentence(key: str, value: str, line: str) -> str:
    """Quote values like `correction: Correction: 66, not 60`: the meaning is clear, but it is not valid YAML."""
    plain = re.split(r"[ \t]#", value)[0].rstrip()
    if ": " not in plain or plain[0] in "'\"[{>|":
        return line
    return f"{key}: '{plain.replace(chr(39), chr(39) * 2)}'"


def _unquote(value: str, file: str) -> str:
    if not _QUOTED.fullmatch(value):
        return value
    node, problems = read_yaml(value, file)
    return node.text if isinstance(node, Scalar) and not problems else value


def node_text(node: Node) -> str:
    """Return the text of a scalar, or a list or map as JSON."""
    return node.text if isinstance(node, Scalar) else json.dumps(_plain(node), ensure_ascii=False)


def _plain(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    return {key.text: _plain(value) for key, value in node.entries}


def find_similar(word: str, known: tuple[str, ...]) -> str | None:
    """Return a known word that differs by at most two letters and shares a letter (`ru` is not a misspelt `id`)."""
    if word.lower() in _WORDS:
        return None
    best = min(((_distance(word.lower(), other), other) for other in known if word != other), default=(9, ""))
    return best[1] if best[0] <= 2 and best[0] < min(len(word), len(best[1])) else None


def _distance(first: str, second: str) -> int:
    """Return the Levenshtein distance, or 3 at once if the lengths differ by more than two."""
    if abs(len(first) - len(second)) > 2:
        return 3
    row = list(range(len(second) + 1))
    for number, letter in enumerate(first, 1):
        before, row = row, [number]
        for column, other in enumerate(second, 1):
            row.append(min(before[column] + 1, row[-1] + 1, before[column - 1] + (letter != other)))
    return row[-1]
