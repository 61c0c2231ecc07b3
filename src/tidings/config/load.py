"""Loading a newsroom: every problem at once, or a frozen Newsroom."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from tidings.config import yamltext
from tidings.config.adapters import ChannelSettings, Frozen, SourceSettings
from tidings.config.checks import cross_check
from tidings.config.problems import place, problems_of
from tidings.config.pruned import pruned
from tidings.config.schedule import Schedule
from tidings.config.settings import Document, Newsroom
from tidings.config.yamltext import Node, read_text, read_yaml
from tidings.model.item import Media
from tidings.model.problem import Problem, nearest

MAIN = "tidings.yaml"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A newsroom, or the problems that stand in its way. Warnings may come with a newsroom."""

    newsroom: Newsroom | None
    problems: tuple[Problem, ...]


@dataclass
class _Reading:
    """State of one load."""

    root: Path
    env: Mapping[str, str]
    problems: list[Problem]
    secrets: list[str]
    nodes: dict[str, Node]
    lenient: bool = False

    def file(self, path: Path) -> tuple[dict[str, Any] | None, Node | None]:
        """A file as plain maps, lists and text, references to secrets resolved; None where it cannot be read."""
        name = path.relative_to(self.root).as_posix()
        try:
            raw = path.read_bytes()
        except OSError as error:
            self.problems.append(Problem(name, 0, 0, f"cannot be read: {error.strerror}", "check name and permissions"))
            return None, None
        text, problems = read_text(raw, name)
        if text is None:
            self.problems.extend(problems)
            return None, None
        node, problems = read_yaml(text, name)
        self.problems.extend(problems)
        if node is None:
            if not problems:
                self.problems.append(Problem(name, 1, 0, "the file is empty", "write at least what the reference asks"))
            return None, None
        if not isinstance(node, yamltext.Mapping):
            self.problems.append(
                Problem(name, node.line, node.column, "expected `key: value` lines", "see the reference")
            )
            return None, None
        self.nodes[name] = node
        plain = self.plain(node, name, ())
        assert isinstance(plain, dict)
        return plain, node

    def plain(self, node: Node, file: str, path: tuple[str, ...]) -> Any:
        if isinstance(node, yamltext.Scalar):
            return node.text
        if isinstance(node, yamltext.Sequence):
            return [self.plain(item, file, path) for item in node.items]
        if len(node.entries) == 1 and node.entries[0][0].text in ("env", "file"):
            key, value = node.entries[0]
            if isinstance(value, yamltext.Scalar):
                return self._secret(key.text, value, file)
        found = {}
        for key, value in node.entries:
            if isinstance(value, yamltext.Scalar) and not value.text and not value.quoted:
                continue  # `key:` with nothing behind it is as good as left out
            found[key.text] = self.plain(value, file, (*path, key.text))
            if key.text in ("password", "secret") and isinstance(value, yamltext.Scalar):
                self.problems.append(
                    Problem(
                        file,
                        value.line,
                        value.column,
                        f"{key.text}: secrets stand in the environment or in a file, never in YAML",
                        f"write {key.text}: {{env: NAME}} or {{file: PATH}}",
                    )
                )
        return found

    def _secret(self, kind: str, value: yamltext.Scalar, file: str) -> str:
        if kind == "env":
            found = self.env.get(value.text)
            if found is None:
                mend = f"set it before you start: export {value.text}=..."
                self.problems.append(
                    Problem(file, value.line, value.column, f"the environment has no variable {value.text}", mend)
                )
        else:
            try:
                found = (self.root / value.text).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                found = None
                self.problems.append(
                    Problem(
                        file, value.line, value.column, f"{value.text} cannot be read", "check name and permissions"
                    )
                )
        if found:
            self.secrets.append(found)
        return found if found is not None else "missing"

    def model(self, model: type[BaseModel], plain: Any, node: Node, file: str, context: Any, prefix: Any = ()) -> Any:
        try:
            return model.model_validate(plain, context=context)
        except ValidationError as error:
            self.problems.extend(problems_of(error, model, node, file, prefix))
            return pruned(model, plain, error, context) if self.lenient else None


def load(
    root: Path,
    *,
    channel_settings: Mapping[str, type[ChannelSettings]],
    source_settings: Mapping[str, type[SourceSettings]],
    env: Mapping[str, str] | None = None,
    lenient: bool = False,
) -> Loaded:
    """Read tidings.yaml and schedules/*.yaml below `root`.

    `lenient` gives a newsroom in spite of problems, without the parts that are wrong, so that `check` can look at what
    depends on the rest. Never to be run.
    """
    env = os.environ if env is None else env
    reading = _Reading(root, env, [], [], {}, lenient)
    if not (root / MAIN).is_file():
        mend = "go to a newsroom's folder, name it with -C, or make one with `tidings init`"
        return Loaded(None, (Problem(MAIN, 0, 0, f"there is no newsroom in {root}", mend),))
    plain, node = reading.file(root / MAIN)
    document: Document | None = None
    written: dict[str, Any] = {}
    context: dict[str, Any] = {"languages": (), "timezone": "UTC"}
    if plain is not None and node is not None:
        context = _context(plain)
        if "TIDINGS_STORE" in env:
            plain["store"] = env["TIDINGS_STORE"]
        _refuse_several_senders(reading, plain, node)
        written = dict(plain)
        plain.setdefault("sources", {"newsroom": {"type": "folder", "path": "content"}})
        for key, known in (("sources", source_settings), ("channels", channel_settings)):
            plain[key] = _adapters(reading, plain.get(key, {}), node, key, known)
        document = reading.model(Document, plain, node, MAIN, context)
    schedules, schedules_written = _schedules(reading, context)
    if MAIN in reading.nodes:
        reading.problems.extend(cross_check(written, schedules_written, reading.nodes))
    logo = _logo(reading, document.site.logo, root) if document else None
    problems = tuple(sorted(reading.problems, key=lambda one: (one.file != MAIN, one.file, one.line, one.column)))
    if document is None or (any(problem.level == "error" for problem in problems) and not lenient):
        return Loaded(None, problems)
    newsroom = Newsroom.model_construct(
        **{name: getattr(document, name) for name in Document.model_fields},
        root=root,
        schedules=schedules,
        secrets=tuple(sorted(set(reading.secrets), key=len, reverse=True)),
        logo=logo,
    )
    return Loaded(newsroom, problems)


def _context(plain: Mapping[str, Any]) -> dict[str, Any]:
    site = plain.get("site")
    languages = site.get("languages", ["en"]) if isinstance(site, dict) else ["en"]
    if isinstance(languages, str):
        languages = [languages]
    zone = site.get("timezone", "UTC") if isinstance(site, dict) else "UTC"
    texts = tuple(language for language in languages if isinstance(language, str))
    return {"languages": texts, "timezone": zone if isinstance(zone, str) else "UTC"}


def _refuse_several_senders(reading: _Reading, plain: dict[str, Any], node: Node) -> None:
    senders = plain.get("mail")
    if not isinstance(senders, list):
        return
    if len(senders) > 1:
        line, column = place(node, ("mail", 1))
        reading.problems.append(
            Problem(MAIN, line, column, "a second sender is not in this version yet", "keep one under `mail`")
        )
    plain["mail"] = senders[0] if senders else {}


def _adapters(
    reading: _Reading, written: Any, node: Node, key: str, known: Mapping[str, type[Frozen]]
) -> dict[str, Any]:
    if not isinstance(written, dict):
        line, column = place(node, (key,))
        reading.problems.append(Problem(MAIN, line, column, f"{key}: expected a map of names", f"{key}: {{name: ...}}"))
        return {}
    found = {}
    for name, settings in written.items():
        kind = settings.get("type") if isinstance(settings, dict) else None
        if not isinstance(kind, str) or kind not in known:
            line, column = place(node, (key, name, "type"))
            said = f"{key}.{name}: {kind!r} is no type" if kind else f"{key}.{name} lacks `type`"
            reading.problems.append(Problem(MAIN, line, column, said, nearest(str(kind or ""), known)))
            continue
        model = reading.model(known[kind], settings, node, MAIN, None, (key, name))
        if model is not None:
            found[name] = model
    return found


def _schedules(
    reading: _Reading, context: Mapping[str, Any]
) -> tuple[dict[str, Schedule], dict[str, Mapping[str, Any]]]:
    """Valid schedules by name, and all as they are written, by file."""
    found: dict[str, Schedule] = {}
    written: dict[str, Mapping[str, Any]] = {}
    folder = reading.root / "schedules"
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        file = path.relative_to(reading.root).as_posix()
        plain, node = reading.file(path)
        if plain is None or node is None:
            continue
        written[file] = plain
        if "name" in plain:
            line, column = place(node, ("name",), key=True)
            reading.problems.append(Problem(file, line, column, "unknown key 'name'", "the file's name is its name"))
        if path.stem in found:
            reading.problems.append(Problem(file, 0, 0, f"there is {path.stem}.yaml and .yml", "keep one of them"))
        model = reading.model(Schedule, {**plain, "name": path.stem}, node, file, context)
        if model is not None:
            found[path.stem] = model
    return found, written


def _logo(reading: _Reading, name: str | None, root: Path) -> Media | None:
    if name is None:
        return None
    for folder in (root, root / "content"):
        path = (folder / name).resolve()
        if path.is_file() and path.is_relative_to(root.resolve()):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            return Media(digest, path.name, str(path), kind, path.stat().st_size)
    line, column = place(reading.nodes[MAIN], ("site", "logo"))
    reading.problems.append(
        Problem(MAIN, line, column, f"logo: there is no file {name}", "put it there, or leave it out")
    )
    return None


def store_address(newsroom: Newsroom) -> str:
    """Address of the database, which may hold a password."""
    return newsroom.store.get_secret_value() if isinstance(newsroom.store, SecretStr) else str(newsroom.store)
