"""Load a newsroom: return all problems at once, or a frozen Newsroom."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from tidings.config.adapters import ChannelSettings, ConfigModel, SenderSettings, SourceSettings
from tidings.config.cross_checks import cross_check
from tidings.config.file_reader import MAIN, ConfigReader, read_environment, without_empty
from tidings.config.problems import describe_errors, find_place, split_mend
from tidings.config.references import read_store_address
from tidings.config.schedule import ListDelivery, Schedule
from tidings.config.settings import Newsroom, NewsroomConfig
from tidings.config.types import Language, StoreAddress
from tidings.config.valid_part import prune
from tidings.config.yaml_text import Node
from tidings.model.errors import Problem, nearest
from tidings.model.file_names import is_copy
from tidings.model.item import Media

_SUFFIXES = (".yaml", ".yml")
_SCHEDULES = "schedules/"
_MISNAMED = re.compile(r"\.ya?ml\.(txt|md)$|\.(yalm|yamal|ylm)$", re.IGNORECASE)
_BACKUPS = ("~", ".bak", ".orig", ".old", ".swp", ".tmp", ".txt", ".md")
"""Endings of copies that editors leave beside a file, and of notes."""

Needs = Literal["everything", "yaml", "store"]
"""The part of the configuration that a command needs.

`yaml`: valid YAML without secrets, because the command sends and fetches nothing. `store`: only the store. Then the
valid part of the configuration is used.
"""


class LoadOptions(TypedDict, total=False):
    """What `load_config` may be told. It says what each option means."""

    needs: Needs
    lenient: bool
    changed: Mapping[str, bytes]
    schedules_needed: Collection[str] | None


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A newsroom, or the problems that prevent it. A newsroom may come with warnings."""

    newsroom: Newsroom | None
    problems: tuple[Problem, ...]


def load_config(
    root: Path,
    *,
    channel_settings: Mapping[str, type[ChannelSettings]],
    source_settings: Mapping[str, type[SourceSettings]],
    sender_settings: Mapping[str, type[SenderSettings]],
    env: Mapping[str, str] | None = None,
    needs: Needs = "everything",
    lenient: bool = False,
    changed: Mapping[str, bytes] | None = None,
    schedules_needed: Collection[str] | None = None,
) -> LoadResult:
    """Read tidings.yaml and schedules/*.yaml below `root`. `env` wins over `secrets.env`.

    `lenient` returns a newsroom without its wrong parts, so that `check` can check the rest. Never run such a newsroom,
    nor one that was loaded with `needs` other than `everything`. With `store`, the problems are in its `faults`.
    So are those of other schedules than `schedules_needed` (None: all are needed), which are left out.
    `changed` has contents of files by name, to use instead of the files on the disk. Raises InputError if the address
    of the store cannot be read.
    """
    if not (root / MAIN).is_file():
        mend = "go to a newsroom's folder, name it with -C, or make one with `tidings init`"
        return LoadResult(None, (Problem(MAIN, 0, 0, f"there is no newsroom in {root}", mend),))
    env, warnings = read_environment(root, env)
    salvage = needs == "store"
    loading = _Loading(
        ConfigReader(root, env, needs == "everything", changed or {}, problems=warnings), lenient or salvage
    )
    reading = loading.reading
    # A command cannot do without the address of the store: a guess would be another database.
    address = read_store_address(root, env, salvage=salvage) if needs != "everything" else None
    plain, node = reading.file(root / MAIN, salvage=salvage)
    document: NewsroomConfig | None = None
    written: dict[str, Any] = {}
    context: dict[str, Any] = {"languages": (), "timezone": "UTC"}
    if plain is not None and node is not None:
        loading.store(plain, env)
        if address is not None:
            plain["store"] = address.get_secret_value()
        if salvage and not isinstance(plain.get("site"), dict):
            plain["site"] = {}
        written = without_empty(plain)
        context = _context(written)
        if plain.get("sources") is None:
            plain["sources"] = {"newsroom": {"type": "folder", "path": "content"}}
        for key, known in (("sources", source_settings), ("channels", channel_settings)):
            plain[key] = loading.adapters(plain.get(key), node, key, known)
        plain["mail"] = loading.senders(plain.get("mail"), node, sender_settings)
        document = loading.model(NewsroomConfig, plain, node, MAIN, context)
    schedules, schedules_written = loading.schedules(context)
    if MAIN in reading.nodes:
        reading.problems.extend(cross_check(written, schedules_written, reading.nodes))
    logo = _logo(reading, document.site.logo, root) if document else None
    problems = tuple(reading.redacted())
    errors = [problem for problem in problems if problem.level == "error"]
    faults = tuple(map(str, errors))
    names = {Path(problem.file).stem for problem in errors if problem.file.startswith(_SCHEDULES)}
    left_out = set() if schedules_needed is None else names - set(schedules_needed)
    is_needed = [not error.file.startswith(_SCHEDULES) or Path(error.file).stem not in left_out for error in errors]
    if document is None or (any(is_needed) and not loading.lenient):
        return LoadResult(None, problems)
    schedules = {name: schedule for name, schedule in schedules.items() if name not in left_out}
    if loading.lenient or reading.unset:
        schedules = _with_known_outlets(schedules, document)
    newsroom = Newsroom.model_construct(
        **{name: getattr(document, name) for name in NewsroomConfig.model_fields},
        root=root,
        schedules=schedules,
        secrets=reading.secrets(),
        logo=logo,
        unset=tuple(reading.unset),
        faults=faults if salvage or left_out else (),
    )
    return LoadResult(newsroom, problems)


@dataclass(frozen=True, slots=True)
class _Loading:
    """Build models from the files that were read."""

    reading: ConfigReader
    lenient: bool

    def model(self, model: type[BaseModel], plain: Any, node: Node, file: str, context: Any, prefix: Any = ()) -> Any:
        """Return the model, or None after noting its problems."""
        try:
            return model.model_validate(plain, context=context)
        except ValidationError as error:
            problems = describe_errors(error, model, node, file, self.reading, prefix)
            self.reading.problems.extend(problems)
            only_unset = not problems and not self.reading.needs_secrets
            return prune(model, plain, error, context) if self.lenient or only_unset else None

    def store(self, plain: dict[str, Any], env: Mapping[str, str]) -> None:
        """Let TIDINGS_STORE override `store:`. Neither is ever shown, because it may contain a password."""
        address = env.get("TIDINGS_STORE")
        if address:
            try:
                TypeAdapter(StoreAddress).validate_python(address)
                plain["store"] = address
            except ValidationError as error:
                message, mend = split_mend(error.errors()[0].get("ctx", {}).get("error", ""))
                self.reading.problem(MAIN, (0, 0), f"TIDINGS_STORE in the environment: {message}", mend)
        if isinstance(plain.get("store"), str):
            try:
                password = urlsplit(plain["store"]).password
            except ValueError:
                password = None
            if password:
                self.reading.passwords += [plain["store"], password]

    def adapters(self, written: Any, node: Node, key: str, known: Mapping[str, type[ConfigModel]]) -> dict[str, Any]:
        """Return the settings of sources or channels, each in the class of its type."""
        if written is None:
            return {}
        if not isinstance(written, dict):
            self.reading.problem(
                MAIN, find_place(node, (key,)), f"{key}: expected a map of names", f"{key}: {{name: ...}}"
            )
            return {}
        models = {}
        for name, settings in written.items():
            kind = settings.get("type") if isinstance(settings, dict) else None
            if not isinstance(kind, str) or kind not in known:
                message = f"{key}.{name}: {kind!r} is not a type" if kind else f"{key}.{name} lacks `type`"
                self.reading.problem(
                    MAIN, find_place(node, (key, name, "type")), message, nearest(str(kind or ""), known)
                )
                continue
            model = self.model(known[kind], settings, node, MAIN, None, (key, name))
            if model is not None:
                models[name] = model
        return models

    def senders(self, written: Any, node: Node, known: Mapping[str, type[SenderSettings]]) -> tuple[Any, ...]:
        """Return the settings of one sender or of a list, each in the class of its type."""
        several = isinstance(written, list)
        models = []
        for number, settings in enumerate(written if several else [] if written is None else [written]):
            path: tuple[str | int, ...] = ("mail", number) if several else ("mail",)
            kind = settings.get("type", "smtp") if isinstance(settings, dict) else "smtp"
            if not isinstance(kind, str) or kind not in known:
                message, mend = f"mail: {kind!r} is not a type", nearest(str(kind), known)
                self.reading.problem(MAIN, find_place(node, (*path, "type")), message, mend)
                continue
            model = self.model(known[kind], settings, node, MAIN, None, path)
            if model is not None:
                models.append(model)
        return tuple(models)

    def schedules(self, context: Mapping[str, Any]) -> tuple[dict[str, Schedule], dict[str, Mapping[str, Any]]]:
        """Return valid schedules by name, and the YAML content of all schedules by file."""
        schedules: dict[str, Schedule] = {}
        written: dict[str, Mapping[str, Any]] = {}
        folder = self.reading.root / "schedules"
        fresh = {self.reading.root / name for name in self.reading.changed if name.startswith("schedules/")}
        paths = sorted({*(folder.iterdir() if folder.is_dir() else ()), *fresh})
        names = {path.name for path in paths}
        for path in paths:
            # Editors and macOS leave `.#weekly.yaml` and `._weekly.yaml` beside a file.
            if path.name.startswith("."):
                continue
            file = path.relative_to(self.reading.root).as_posix()
            if _MISNAMED.search(path.name):
                mend = f"rename it to {path.name.split('.')[0]}.yaml, or delete it"
                self.reading.problem(file, (0, 0), "this file is not read: its name does not end in .yaml", mend)
            if path.suffix.lower() not in _SUFFIXES:
                if not path.name.endswith(_BACKUPS) and _is_schedule(path):
                    message = "schedules are not read from here: only files NAME.yaml in schedules/ are"
                    mend = "write each as schedules/NAME.yaml, or delete it"
                    self.reading.problem(file, (0, 0), message, mend, "warning")
                continue
            if re.search(r"[^a-z0-9-]", path.stem) and is_copy(path.name, names):
                message = "its name shows that a program made it as a copy of another schedule"
                mend = "compare it with the original, keep one, and delete or rename the other"
                self.reading.problem(file, (0, 0), message, mend)
                continue
            plain, node = self.reading.file(path)
            if plain is None or node is None:
                continue
            if "name" in plain:
                place_ = find_place(node, ("name",), key=True)
                self.reading.problem(file, place_, "unknown key 'name'", "the schedule is named after its file")
            if any(other.rpartition(".")[0] == file.rpartition(".")[0] for other in written):
                self.reading.problem(file, (0, 0), f"schedules/{path.stem} exists twice", "keep one of the files")
            written[file] = without_empty(plain)
            model = self.model(Schedule, {**plain, "name": path.stem}, node, file, context)
            if model is not None:
                schedules[path.stem] = model
        return schedules, written


def _is_schedule(path: Path) -> bool:
    """Whether a file of another name, or a file in a folder, is probably a schedule."""
    try:
        files = sorted(path.iterdir())[:20] if path.is_dir() else [path]
        return any(re.search(rb"\bcadence\b", file.read_bytes()[:20_000]) for file in files if file.is_file())
    except OSError:
        return False


def _with_known_outlets(schedules: Mapping[str, Schedule], document: NewsroomConfig) -> dict[str, Schedule]:
    """Return the schedules without lists and channels that were left out because of mistakes."""

    def is_known(part: Any) -> bool:
        return part.list in document.lists if isinstance(part, ListDelivery) else part.channel in document.channels

    return {
        name: schedule.model_copy(update={"deliver": tuple(filter(is_known, schedule.deliver))})
        for name, schedule in schedules.items()
    }


def _context(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the validation context. It has no languages if one is wrong, so that the mistake is reported once."""
    site = plain["site"] if isinstance(plain.get("site"), dict) else {}
    languages = site.get("languages", ["en"])
    languages = [languages] if isinstance(languages, str) else languages
    zone = site.get("timezone", "UTC")
    try:
        known = TypeAdapter(tuple[Language, ...]).validate_python(languages)
    except ValidationError:
        known = ()
    return {"languages": known, "timezone": zone if isinstance(zone, str) else "UTC"}


def _logo(reading: ConfigReader, name: str | None, root: Path) -> Media | None:
    if name is None:
        return None
    for folder in (root, root / "content"):
        try:
            path = (folder / name).resolve()
            if path.is_file() and path.is_relative_to(root.resolve()):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
                kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
                return Media(digest, path.name, str(path), kind, path.stat().st_size)
        except OSError:
            continue
    mend = "put it there, or leave it out"
    reading.problem(MAIN, find_place(reading.nodes[MAIN], ("site", "logo")), f"logo: there is no file {name}", mend)
    return None


def store_address(newsroom: Newsroom) -> str:
    """Return the address of the database. It may hold a password."""
    return newsroom.store.get_secret_value() if isinstance(newsroom.store, SecretStr) else str(newsroom.store)
