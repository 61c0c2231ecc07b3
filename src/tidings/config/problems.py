"""Turn pydantic's errors into problems that a comms officer can fix: file, line, cause and remedy."""

from __future__ import annotations

import re
import types
import typing
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tidings.config import yaml_text
from tidings.config.file_reader import ConfigReader, Reference
from tidings.config.types import NestedValueError
from tidings.config.yaml_text import BULLETS, INVISIBLE, Node, describe_invisible, describe_key_without_space
from tidings.model.errors import Problem, nearest

Path = tuple[str | int, ...]

_ONE_VALUE = "write it after the colon, in the same line"
_EMPTY_LIST = "write at least one: `- ...` on a line of its own"


@dataclass(frozen=True, slots=True)
class _Fault:
    """One error of pydantic. Its path is the path in the file, without union tags and key marks."""

    path: Path
    kind: str
    message: str
    context: Mapping[str, Any]
    cause: Any
    branch: str = ""


def describe_errors(
    error: ValidationError, model: type[BaseModel], node: Node, file: str, reading: ConfigReader, prefix: Path = ()
) -> list[Problem]:
    """Return the problems of one validation in the order of the file. They never show a secret."""
    problems: list[Problem] = []
    faults = list(_faults(error, prefix))
    for fault in faults:
        if fault.kind == "too_short" and any(
            other.path[: len(fault.path)] == fault.path != other.path for other in faults
        ):
            continue  # it is too short only because its parts were refused
        if fault.kind == "missing" and _misspelt(fault, faults):
            continue
        reference = _reference(node, fault.path, reading.references)
        if reference is not None and reference.value is None:
            continue  # reported already
        place_ = find_place(node, fault.path, key=fault.kind in ("extra_forbidden", "key"))
        message, mend = _words(fault, model, fault.path[len(prefix) :], is_empty=_has(node, fault.path))
        if reference is not None and reference.value is not None and _shows(message + mend, reference.value):
            message, mend = f"{_name(fault.path)}: {reference.label} does not fit here", "see the reference"
        if reference is None and (slip := _slip(node, fault.path)) is not None:
            place_, (message, mend) = slip
        problems.append(Problem(file, *place_, message, mend))
    # Two errors of one entry may have the same typing mistake.
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))


def _slip(node: Node, path: Path) -> tuple[tuple[int, int], tuple[str, str]] | None:
    """Return the typing mistake that explains an error: its place, the message, and how to fix it.

    Such a mistake is an invisible character, a missing space, a letter of another script or a curly quote. It may be in
    the value, or in any key of `path`.
    """
    current: Node | None = node
    keys: list[yaml_text.Scalar] = []
    for part in path:
        if isinstance(current, yaml_text.Mapping) and isinstance(part, str):
            keys += [key for key, _ in current.entries if key.text == part]
            current = current.get(part) or current
        elif isinstance(current, yaml_text.Sequence) and isinstance(part, int) and part < len(current.items):
            current = current.items[part]
    if isinstance(current, yaml_text.Mapping):
        keys += [key for key, _ in current.entries]
    for key in keys:
        if hidden := INVISIBLE.search(key.text):
            return (key.line, key.column), describe_invisible(hidden[0])
        if re.match(r"-[A-Za-z_]", key.text):
            return (key.line, key.column), (f"a space is missing in '{key.text}:'", f"write `- {key.text[1:]}:`")
        words = None if key.quoted else describe_key_without_space(key.text)
        if (words := words or _foreign_letter(key.text)) is not None:
            return (key.line, key.column), words
    if not isinstance(current, yaml_text.Scalar) or current.quoted:
        return None
    place = current.line, current.column
    if (words := describe_key_without_space(current.text)) is not None:
        return place, words
    if hidden := INVISIBLE.search(current.text):
        return place, describe_invisible(hidden[0])
    if current.text.startswith(tuple(_CURLY_QUOTES)):
        bare = current.text.strip(_CURLY_QUOTES)
        return place, (f"for YAML {current.text[0]} is not a quote but part of the text", f'write `"{bare[:60]}"`')
    if (words := _foreign_letter(current.text)) is not None:
        return place, words
    if current.text[:1] in BULLETS and current.text[1:2] == " ":
        return place, (f"for YAML {current.text[0]} begins no entry of a list", "write `- ` in its place, on each line")
    if variable := re.fullmatch(r"\$\{?([A-Za-z_]\w*)\}?|%([A-Za-z_]\w*)%", current.text):
        name = variable[1] or variable[2]
        return place, (f"{current.text!r} is not replaced by the environment", f"write `{{env: {name}}}`")
    if wide := _WIDE_MARKS.search(current.text):
        name = unicodedata.name(wide[0], "").lower()
        plain = unicodedata.normalize("NFKC", wide[0]).translate(_PLAIN_MARKS)
        return place, (f"{wide[0]!r} is not the plain character (U+{ord(wide[0]):04X}, {name})", f"write {plain!r}")
    return None


_WIDE_MARKS = re.compile("[\uff0c\uff1a\uff1b\uff3b\uff3d\uff5b\uff5d\u060c\u061b\u3001]")
"""Commas, colons and brackets of other scripts."""
_PLAIN_MARKS = str.maketrans("\u060c\u061b\u3001", ",;,")
_CURLY_QUOTES = "\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"


def _foreign_letter(text: str) -> tuple[str, str] | None:
    """Return the message and the remedy for a Cyrillic or Greek letter that looks Latin and is beside Latin letters."""
    for word in re.findall(r"[^\W\d_]+", text):
        foreign = re.search("[\u0370-\u052f]", word)
        if foreign is not None and re.search("[A-Za-z]", word):
            name = unicodedata.name(foreign[0], "").lower()
            return f"the letter {foreign[0]!r} in {word!r} is not Latin (U+{ord(foreign[0]):04X}, {name})", (
                "type the word again"
            )
    return None


def _faults(error: ValidationError, prefix: Path) -> Iterator[_Fault]:
    for entry in error.errors(include_url=False):
        context = entry.get("ctx", {})
        cause = context.get("error")
        kind = entry["type"]
        location = entry["loc"]
        if location and location[-1] == "[key]":
            location, kind = location[:-1], "key"
        branch = next((str(part) for part in location if str(part) in _TAGS), "")
        path = (*prefix, *(part for part in location if str(part) not in _TAGS))
        if isinstance(cause, NestedValueError):
            path, kind = (*path, *cause.path), "key" if cause.key else kind
        if isinstance(cause, ValidationError):
            yield from _faults(cause, path)
        else:
            yield _Fault(
                path,
                kind,
                entry["msg"],
                context,
                cause,
                branch,
            )


_TAGS = ("ListDelivery", "ChannelDelivery")
"""Tags of the only union, named after their models."""


def _misspelt(missing: _Fault, faults: list[_Fault]) -> bool:
    """Whether an unknown key beside a missing key is probably the same key, misspelt. One mistake is reported once."""
    name = str(missing.path[-1])
    beside = [
        str(other.path[-1])
        for other in faults
        if other.kind == "extra_forbidden" and other.path[:-1] == missing.path[:-1]
    ]
    return bool(get_close_matches(name, beside, n=1, cutoff=0.6))


def _shows(text: str, secret: str) -> bool:
    """Whether a text contains any word of a secret."""
    return repr(secret) in text or any(word in text.casefold() for word in re.findall(r"\w{3,}", secret.casefold()))


def _name(path: Path) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _has(node: Node, path: Path) -> bool:
    """Whether the file has the key at a path, with or without a value."""
    current: Node | None = node
    for part in path[:-1]:
        if isinstance(current, yaml_text.Sequence) and isinstance(part, int) and part < len(current.items):
            current = current.items[part]
        else:
            current = current.get(str(part)) if isinstance(current, yaml_text.Mapping) else None
    return isinstance(current, yaml_text.Mapping) and current.get(str(path[-1])) is not None


def _find_home(name: str, model: type[BaseModel], inner: Path) -> str | None:
    """Return the place where an unknown key is allowed: below another key, or at the top level."""
    if len(inner) > 1 and name in known_keys(model, ()):
        return f"{name!r} belongs at the beginning of a line"
    for above in (inner[:-1], ()):
        # For a key without keys of its own, use the keys of its map.
        homes = [key for key in known_keys(model, above) if name in known_keys(model, (*above, key))]
        homes = [key for key in homes if name not in known_keys(model, above) and key not in inner[:1]]
        if len(homes) == 1:
            return f"{name!r} belongs below `{homes[0]}:`, further to the right"
    return None


_EXAMPLES = {
    "approval": "write `none`, or `{by: [ADDRESS]}`",
    "daily": 'write `daily: "09:00"`',
    "deliver": "write `- list: NAME` or `- channel: NAME` in a line of its own",
    "frequencies": "write it like `frequencies: {fortnightly: {en: Every two weeks}}`",
    "monthly": "write `monthly: first mon 09:00`",
    "notify": "write `notify: {to: [ADDRESS]}`",
    "weekly": "write `weekly: fri 09:00`",
}
"""Examples of settings whose structure is often mistaken."""


def _words(fault: _Fault, model: type[BaseModel], inner: Path, *, is_empty: bool) -> tuple[str, str]:
    """Return what is wrong, and how to fix it."""
    name, context = _name(fault.path), fault.context
    match fault.kind:
        case "extra_forbidden":
            if fault.branch == "ListDelivery" and name == "channel":
                return "this entry has both `list` and `channel`", "begin another entry: `- channel: ...`"
            mend = nearest(name, known_keys(model, inner[:-1], fault.branch))
            home = None if mend.startswith("Did") else _find_home(name, model, inner)
            return f"unknown key {name!r}", home or mend
        case "missing" if fault.branch:
            return "this entry has neither `list` nor `channel`", "say where it goes: `list: NAME` or `channel: NAME`"
        case "missing" if is_empty:
            return (
                f"`{name}:` has nothing after it",
                "write its value there; lines that belong to it begin further right",
            )
        case "missing":
            return f"{name!r} is missing", f"add `{name}: ...` here"
        case "key":
            return split_mend(fault.cause or fault.message)
        case "literal_error" | "enum":
            return f"{name}: must be {context['expected']}", ""
        case "greater_than_equal":
            return f"{name}: must be at least {context['ge']}", ""
        case "less_than_equal":
            return f"{name}: must be at most {context['le']}", ""
        case "string_type":
            return f"{name}: expected one value here, not a list or a map", _ONE_VALUE
        case "dict_type" | "mapping_type" | "model_type" | "model_attributes_type":
            mend = _EXAMPLES.get(name, "write `key: value` lines below it, indented")
            return f"{name}: expected a map here", mend
        case "tuple_type" | "list_type":
            mend = _EXAMPLES.get(name, "begin each line below it with `- `")
            return f"{name}: expected a {'text' if name in ('daily', 'weekly', 'monthly') else 'list'} here", mend
        case "too_short" if context.get("field_type") == "Value":
            return f"{name}: this is shorter than {context['min_length']} characters", "write a longer one"
        case "too_short":
            return f"{name}: the list is empty", _EMPTY_LIST
        case _ if fault.cause is not None:
            message, mend = split_mend(fault.cause)
            message = message.removeprefix(f"{name}: ")
            return f"{name}: {message}" if name and not message.startswith(repr(name)) else message, mend
    return f"{name}: {fault.message[:1].lower()}{fault.message[1:]}", ""


def split_mend(cause: object) -> tuple[str, str]:
    """Split `what is wrong; what to do` into its two parts. Ignores semicolons in quoted values."""
    text = str(cause)
    cut = _SHOWN.sub(lambda shown: "x" * len(shown[0]), text).find("; ")
    return (text[:cut], text[cut + 2 :]) if cut >= 0 else (text, "")


_SHOWN = re.compile(r"""(?<!\w)'[^'\n]*'(?!\w)|(?<!\w)"[^"\n]*"(?!\w)""")
"""A value in a message."""


def _reference(node: Node, path: Path, references: Mapping[int, Reference]) -> Reference | None:
    """Return the reference to a secret at a path, or None if the value is not a reference."""
    current: Node | None = node
    for part in path:
        if isinstance(current, yaml_text.Mapping):
            current = current.get(str(part))
        elif isinstance(current, yaml_text.Sequence) and isinstance(part, int) and part < len(current.items):
            current = current.items[part]
        if current is None:
            return None
        if id(current) in references:
            return references[id(current)]
    return None


def find_place(node: Node, path: Path, *, key: bool = False) -> tuple[int, int]:
    """Return line and column of the value at a path, or of its key. If it is missing, those of its nearest parent."""
    line, column = node.line, node.column
    current: Node = node
    for number, part in enumerate(path):
        if isinstance(current, yaml_text.Mapping) and isinstance(part, str):
            entry = next((entry for entry in current.entries if entry[0].text == part), None)
            if entry is None:
                break
            name, current = entry
            there = isinstance(current, yaml_text.Scalar) and (current.text or current.quoted)
            at = current if there and not (key and number == len(path) - 1) else name
            line, column = at.line, at.column
        elif isinstance(current, yaml_text.Sequence) and isinstance(part, int) and part < len(current.items):
            current = current.items[part]
            line, column = current.line, current.column
        # A single value instead of a list has no items, so keep the place of the value.
    return line, column


def known_keys(model: type[BaseModel], path: Path, branch: str = "") -> list[str]:
    """Return the keys that the schema knows at a path. `branch` names the model of a union."""
    candidates: list[Any] = [model]
    for part in path:
        following: list[Any] = []
        for candidate in candidates:
            for name, field in candidate.model_fields.items():
                if part in (name, field.alias):
                    written = getattr(candidate, "WRITTEN_AS", {}).get(name)
                    following.extend([written] if written else _inside(field.annotation))
        # Positions in a list and names in a map are not fields: the models stay the same.
        candidates = following or candidates
    if any(candidate.__name__ == branch for candidate in candidates):
        candidates = [candidate for candidate in candidates if candidate.__name__ == branch]
    return sorted(
        {
            field.alias or name
            for candidate in candidates
            for name, field in candidate.model_fields.items()
            if not field.exclude
        }
    )


def _inside(annotation: Any) -> list[Any]:
    """Return the models that a type contains."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin is Annotated:
        return _inside(get_args(annotation)[0])
    if origin in (Union, types.UnionType, tuple, list, dict, Mapping, typing.Mapping):
        return [model for part in get_args(annotation) if part is not Ellipsis for model in _inside(part)]
    return []
