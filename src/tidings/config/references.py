"""Find references in a newsroom's YAML without loading all of it: files, environment variables, the store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, TypeAdapter, ValidationError

from tidings.config import yaml_text
from tidings.config.file_reader import MAIN, ConfigReader, read_environment
from tidings.config.types import StoreAddress
from tidings.config.yaml_text import Node
from tidings.model.errors import InputError

_DEFAULT = "sqlite:///tidings.db"


@dataclass(frozen=True, slots=True)
class References:
    """Names of files and environment variables, never their values."""

    files: tuple[str, ...]
    """Relative to the newsroom's folder or absolute, as in the YAML."""
    environment: tuple[str, ...]


def find_references(root: Path) -> References:
    """Find every `{file: PATH}` and `{env: NAME}` of tidings.yaml and schedules/. Unreadable files are left out."""
    names: dict[str, set[str]] = {"file": set(), "env": set()}
    reading = ConfigReader(root, {})
    for path in (root / MAIN, *sorted((root / "schedules").glob("*.y*ml"))):
        node = reading.file(path)[1] if path.is_file() else None
        for kind, name in _walk(node) if node is not None else ():
            names[kind].add(name)
    return References(tuple(sorted(names["file"])), tuple(sorted(names["env"])))


def _walk(node: Node) -> Iterator[tuple[str, str]]:
    if isinstance(node, yaml_text.Sequence):
        for item in node.items:
            yield from _walk(item)
    elif isinstance(node, yaml_text.Mapping):
        for key, value in node.entries:
            if isinstance(value, yaml_text.Scalar):
                if len(node.entries) == 1 and key.text in ("file", "env"):
                    yield key.text, value.text
            else:
                yield from _walk(value)


def find_names(root: Path) -> dict[str, set[str]]:
    """Return the names of schedules, lists and channels by kind, even from files that are not valid YAML."""
    schedules = {path.stem for path in (root / "schedules").glob("*.y*ml")}
    names: dict[str, set[str]] = {"schedule": schedules, "list": set(), "channel": set()}
    key, indent = "", ""
    for line in (root / MAIN).read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if match := re.match(r"(\w+)\s*:", line):
            key, indent = match[1].removesuffix("s"), ""
        elif key in ("list", "channel") and (match := re.match(r"(\s+)([a-z0-9][a-z0-9-]*)\s*:", line)):
            indent = indent or match[1]
            if match[1] == indent:
                names[key].add(match[2])
    return names


def read_store_address(root: Path, env: Mapping[str, str] | None = None, *, salvage: bool = False) -> SecretStr:
    """Return the address of the store of the newsroom in `root`. TIDINGS_STORE overrides `store:`.

    With `salvage`, ignores mistakes elsewhere in the file. Raises InputError if it cannot be read: a guess would be
    another database.
    """
    env, _ = read_environment(root, env)
    reading = ConfigReader(root, env)
    plain, node = reading.file(root / MAIN, salvage=salvage)
    address = env.get("TIDINGS_STORE")
    if not address:
        is_lost = salvage and "store" not in (plain or {}) and _names_store(root)
        if plain is None or not isinstance(node, yaml_text.Mapping) or is_lost:
            raise InputError("\n".join(str(problem) for problem in reading.redacted()))
        address = plain.get("store") or _DEFAULT
        for key, value in node.entries:
            reference = reading.references.get(id(value)) if key.text == "store" else None
            if reference is not None and reference.value is None:
                raise InputError(
                    "\n".join(str(problem) for problem in reading.redacted() if problem.line == value.line)
                )
    try:
        checked: SecretStr = TypeAdapter(StoreAddress).validate_python(address)
    except ValidationError as error:
        message = str(error.errors()[0].get("ctx", {}).get("error", "it cannot be read"))
        raise InputError(f"{MAIN}: store: {message}") from None
    return checked


def _names_store(root: Path) -> bool:
    """Whether a line of the file begins with `store`, quoted or not."""
    text = (root / MAIN).read_text(encoding="utf-8", errors="replace")
    return re.search(r"""^["']?store\b""", text, re.MULTILINE) is not None
