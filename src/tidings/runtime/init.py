"""`tidings init`: create a newsroom from the sample that is part of Tidings, or one with the user's own settings."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import tidings
from tidings.config import types
from tidings.config.file_reader import MAIN
from tidings.config.problems import split_mend
from tidings.config.yaml_text import Mapping as YamlMapping
from tidings.config.yaml_text import Scalar, read_yaml
from tidings.model.errors import RefusedError
from tidings.model.tokens import TokenKeys
from tidings.runtime.check import SAMPLE_ADDRESS

_STARTER = Path(__file__).with_name("starter")
"""The files of a small newsroom, with fields in braces, and its words in several languages.

`first_story` is for languages for which the sample has no story. `topics` are those of the sample in the languages
that it lacks; those of the SDGs are the UN's.
"""


_YES = frozenset(["y", "yes", "o", "oui", "s", "sí", "si", "д", "да", "и", "иә", "ия", "ن", "نعم", "是", "好", "1"])
_NO = frozenset(["n", "no", "non", "н", "нет", "ж", "жоқ", "لا", "ل", "否", "不", "0"])
"""Answers to a question, in English, French, Spanish, Russian, Kazakh, Arabic and Chinese."""


def find_sample_newsroom() -> Path:
    """Return the folder with the sample: in the wheel, or at the root of a checkout."""
    package = Path(tidings.__file__).parent
    shipped = package / "_newsroom"
    return shipped if shipped.is_dir() else package.parents[1]


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """What a person chose for their newsroom."""

    title: str = "Our newsroom"
    languages: tuple[str, ...] = ("en",)
    timezone: str = "UTC"
    address: str = SAMPLE_ADDRESS
    colour: str = "#0077b6"
    with_sample: bool = True

    @staticmethod
    def read(name: str, text: str) -> str | tuple[str, ...]:
        """Return the value of a setting as `tidings.yaml` takes it. Raises RefusedError that says how to write it."""
        readers: dict[str, Any] = {"languages": types.Languages, "timezone": types.Zone, "colour": types.Colour}
        given = tuple(part.strip() for part in text.split(",") if part.strip()) if name == "languages" else text.strip()
        try:
            value: str | tuple[str, ...] = TypeAdapter(readers.get(name, types.Line)).validate_python(given)
        except ValidationError as error:
            fault, mend = split_mend(error.errors()[0].get("ctx", {}).get("error", "it cannot be read"))
            mend = mend.replace(" in quotes", "").replace('"', "")  # that is for YAML
            mend = f" {mend[:1].upper()}{mend[1:]}{'' if mend.endswith('?') else '.'}" if mend else ""
            raise RefusedError(f"{name}: {fault}.{mend}") from None
        if not value:
            raise RefusedError(f"{name}: write it; it cannot be empty.")
        return value

    @staticmethod
    def suggest(name: str, text: str) -> str:
        """Return the value that a wrong answer most likely means, or an empty text: `Madrid` is Europe/Madrid."""
        zones = types.find_likely_zones(text) if name == "timezone" else []
        return zones[0] if len(zones) == 1 else ""


def read_answer(text: str) -> bool | None:
    """Return the answer to a question that Enter affirms, in the languages of the product; None for another word."""
    word = text.strip().casefold().rstrip(".!。")
    return True if not word or word in _YES else False if word in _NO else None


def guess_timezone() -> str:
    """Return the time zone of this machine, or UTC."""
    for path in (os.environ.get("TZ", ""), os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]):
        try:
            return str(OwnSettings.read("timezone", path)).removeprefix("Etc/")
        except RefusedError:
            continue
    return "UTC"


def check_new_folder(folder: Path) -> Path:
    """Return the absolute path of a folder that is empty or does not exist."""
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is not empty. Name a folder that does not exist.")
    return folder


def init_newsroom(folder: Path, own: OwnSettings | None = None) -> Path:
    """Create a newsroom in `folder`, which must be empty or not exist. Returns its absolute path.

    Without `own` it is the whole sample.
    """
    folder = check_new_folder(folder)
    sample = find_sample_newsroom()
    folder.mkdir(parents=True, exist_ok=True)
    if own is None:
        shutil.copy(sample / MAIN, folder / MAIN)
        for part in ("content", "schedules"):
            shutil.copytree(sample / part, folder / part)
    else:
        _write_own(folder, own, sample)
    (folder / "templates").mkdir()
    shutil.copy(_STARTER / "templates.md", folder / "templates" / "README.md")
    shutil.copy(_STARTER / "gitignore", folder / ".gitignore")
    descriptor = os.open(folder / "keys.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TokenKeys.generate().to_json())
    (folder / "tidings.service").write_text(_make_unit(folder), encoding="utf-8")
    return folder


def _write_own(folder: Path, own: OwnSettings, sample: Path) -> None:
    """Write a small newsroom. Its sample stories are those in the languages that it has."""
    words = json.loads((_STARTER / "words.json").read_text(encoding="utf-8"))
    (folder / "content").mkdir()
    (folder / "schedules").mkdir()
    files = [
        path
        for path in sorted((sample / "content").glob("*.md"))
        if path.name.split(".")[-2] in own.languages and own.with_sample
    ]
    topics = ""
    if files:
        shutil.copytree(sample / "content" / "media", folder / "content" / "media")
        topics = _sample_topics(sample, own.languages, words["topics"])
        for path in files:
            shutil.copy(path, folder / "content" / path.name)
    covered = {path.name.split(".")[-2] for path in files}
    for language in own.languages if own.with_sample else ():
        if language not in covered and language in words["first_story"]:
            title, summary = words["first_story"][language]
            story = f"---\ntitle: {title}\nsummary: {summary}\n---\n{summary}\n"
            (folder / "content" / f"first-story.{language}.md").write_text(story, encoding="utf-8")
    text = (
        (_STARTER / "tidings.yaml.in")
        .read_text(encoding="utf-8")
        .format(
            title=_quoted(own.title),
            languages=", ".join(own.languages),
            timezone=own.timezone,
            address=_quoted(own.address),
            colour=_quoted(own.colour),
            topics=topics,
            list=_in_languages(words["list"], own.languages),
            sender=_quoted(f'"{own.title.replace(chr(34), chr(39))}" <news@example.org>'),
            fallback=own.languages[0],
        )
    )
    (folder / MAIN).write_text(text, encoding="utf-8")
    weekly = (_STARTER / "weekly.yaml.in").read_text(encoding="utf-8")
    weekly = weekly.format(title=_in_languages(words["digest"], own.languages))
    (folder / "schedules" / "weekly.yaml").write_text(weekly, encoding="utf-8")


def _sample_topics(sample: Path, languages: Iterable[str], more: Mapping[str, dict[str, str]]) -> str:
    """Return the topics of the sample in these languages, as YAML, with their names in further languages."""
    node, _ = read_yaml((sample / MAIN).read_text(encoding="utf-8"), MAIN)
    topics = node.get("topics") if isinstance(node, YamlMapping) else None
    lines = [
        "",
        "# The topics that readers can choose. A story names its topics by the short name on the left.",
        "topics:",
    ]
    for key, labels in topics.entries if isinstance(topics, YamlMapping) else ():
        names = (
            {name.text: text.text for name, text in labels.entries if isinstance(text, Scalar)}
            if isinstance(labels, YamlMapping)
            else {}
        )
        names |= more.get(key.text, {})
        lines.append(f"  {key.text}: {_in_languages(names, languages)}")
    return "\n".join([*lines, ""])


def _in_languages(texts: Mapping[str, str], languages: Iterable[str]) -> str:
    """Return a map of the languages that have a text, as YAML; else the English text."""
    known = {language: texts.get(language) or texts.get(language.partition("-")[0]) for language in languages}
    parts = [f"{language}: {_quoted(text)}" for language, text in known.items() if text]
    return f"{{{', '.join(parts)}}}" if parts else _quoted(texts["en"])


def _quoted(text: str) -> str:
    """Return text as a YAML string in double quotes: JSON's strings are YAML's (YAML 1.2 §1.3)."""
    return json.dumps(text, ensure_ascii=False)


def _make_unit(folder: Path) -> str:
    """Return the systemd unit (systemd.syntax(7): a path with spaces needs quotes, and % begins a specifier)."""
    beside = Path(sys.executable).with_name("tidings")
    command = str(beside) if beside.exists() else shutil.which("tidings")
    program = _quote(command or sys.executable).replace("$", "$$") + ("" if command else " -m tidings")
    user = getpass.getuser() if os.geteuid() else "tidings"
    place = _quote(str(folder))
    return (
        (_STARTER / "newsroom.service")
        .read_text(encoding="utf-8")
        .format(
            folder=place,
            place=place.replace("$", "$$"),
            shown=str(folder).replace("%", "%%"),
            program=program,
            user=user,
        )
    )


def _quote(path: str) -> str:
    text = path.replace("%", "%%")
    is_plain = all(letter.isalnum() or letter in "/._+-%@" for letter in text)
    return text if is_plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
