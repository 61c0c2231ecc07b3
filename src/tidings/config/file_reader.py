"""Read a YAML file of a newsroom as maps, lists and text, and resolve its references to secrets."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tidings.config import yaml_text
from tidings.config.yaml_text import Node, read_text, read_yaml
from tidings.model.errors import Problem

MAIN = "tidings.yaml"
SECRETS = "secrets.env"
"""Variables for `{env: NAME}`, one `NAME=value` a line, in the format of systemd (systemd.exec(5))."""
SECRET_KEYS = (
    "password", "secret", "secret_key", "server_token", "api_key", "session_token", "signing_key", "client_secret",
)  # fmt: skip
UNSET = f"missing-{secrets.token_hex(8)}"
"""Replaces the value of a reference without one. It is random, because it may replace a token."""
_MAPS_OF_NAMES = ("sources", "topics", "feeds", "lists", "channels")
_SHORTEST = 4
"""Least characters of a secret to hide: hiding a shorter one would make messages unreadable."""


@dataclass(frozen=True, slots=True)
class UnsetSecret:
    """A reference without a value, of a command that may do without it."""

    name: str
    """Of the variable or of the file."""
    path: tuple[str | int, ...]
    """Its place in tidings.yaml: `("channels", "desk", "url")`. Below `schedules` and the name in a schedule."""
    problem: str


@dataclass(frozen=True, slots=True)
class Reference:
    """`{env: NAME}` or `{file: PATH}`: its name in messages, and its value, None if it could not be read."""

    label: str
    value: str | None


def read_environment(root: Path, env: Mapping[str, str] | None = None) -> tuple[dict[str, str], list[Problem]]:
    """Return the variables of `secrets.env` and of the environment, which wins, and warnings about the file.

    The warnings never show a line, because it may contain a secret.
    """
    environment = dict(os.environ if env is None else env)
    path = root / SECRETS
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return environment, []
    except OSError as error:
        mend = "let the user of this command read it, or set its variables in the environment"
        return environment, [Problem(SECRETS, 0, 0, f"cannot be read: {error.strerror}", mend, "warning")]
    except UnicodeDecodeError:
        return environment, [Problem(SECRETS, 0, 0, "this is not UTF-8 text", "save the file as UTF-8", "warning")]
    found: dict[str, tuple[int, str]] = {}
    problems = []

    def warn(number: int, message: str, mend: str) -> None:
        problems.append(Problem(SECRETS, number, 1, message, mend, "warning"))

    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        if (match := _VARIABLE.fullmatch(line)) is None:
            has_space = re.match(r"\s*(export\s+)?\w+\s+=", line)
            warn(number, "this line is not NAME=value", "remove the space before =" if has_space else "correct it")
            continue
        name, value = match.groups()
        if name in found:
            warn(number, f"{name} is set on line {found[name][0]} too; this line counts", "remove one of them")
        if _OPEN_QUOTE.match(value):
            warn(
                number,
                f"the value of {name} begins with a quote that is not closed",
                "use the same \" or ' on both sides",
            )
        found[name] = number, _unquote(value)
    environment = {name: value for name, (_, value) in found.items()} | environment
    if os.name == "posix" and path.stat().st_mode & 0o077:
        message = "other users of this machine can read the secrets in this file"
        problems.append(Problem(SECRETS, 0, 0, message, f"chmod 600 {SECRETS}", "warning"))
    return environment, problems


_VARIABLE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=\s*(.*?)\s*")

_OPEN_QUOTE = re.compile(r"""[\u2018-\u201f\xab\xbb]|(["'])(?!.*\1$)""")
"""The beginning of a value with a typographic quote, or with a quote that is not closed."""


def _unquote(text: str) -> str:
    """Return the value of a variable: `'literal'`, `"with \\" escapes"`, or bare with escapes."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r'\\(["\\$`])', r"\1", text[1:-1])
    return re.sub(r"\\(.)", r"\1", text)


@dataclass
class ConfigReader:
    """Read the files of one load, and collect their problems and secrets.

    Without `needs_secrets`, a reference without a value is not a problem. It is added to `unset`.
    """

    root: Path
    env: Mapping[str, str]
    needs_secrets: bool = True
    changed: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of files by name, to use instead of the files on the disk."""
    unset: list[UnsetSecret] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    references: dict[int, Reference] = field(default_factory=dict)
    """The keys are `id`s of nodes, which `nodes` keeps alive."""
    passwords: list[str] = field(default_factory=list)
    """Secrets that are not references, such as a password in the address of the store."""

    def file(self, path: Path, *, salvage: bool = False) -> tuple[dict[str, Any] | None, Node | None]:
        """Return the plain content and its node, or None for both if it cannot be read. An empty key has None.

        With `salvage`, if the file cannot be read as a whole, returns the top-level blocks that can be read alone.
        """
        name = path.relative_to(self.root).as_posix()
        try:
            raw = self.changed[name] if name in self.changed else path.read_bytes()
        except OSError as error:
            self.problem(name, (0, 0), f"cannot be read: {error.strerror}", "check name and permissions")
            return None, None
        text, problems = read_text(raw, name)
        if text is None:
            self.problems.extend(problems)
            if not salvage:
                return None, None
            text = raw.decode("utf-8", "replace")
        node, problems = read_yaml(text, name, warns=True)
        self.problems.extend(problems)
        if node is None and problems and salvage:
            node = _read_blocks(text, name)
        if node is None:
            if not problems:
                self.problem(name, (1, 0), "the file is empty", "see the reference for the required keys")
            return None, None
        if not isinstance(node, yaml_text.Mapping):
            self.problem(name, (node.line, node.column), "expected `key: value` lines", "see the reference")
            return None, None
        self.nodes[name] = node
        plain = self._plain(node, name, ())
        assert isinstance(plain, dict)
        return plain, node

    def problem(self, file: str, place: tuple[int, int], message: str, mend: str, level: str = "error") -> None:
        self.problems.append(Problem(file, *place, message, mend, level))

    def secrets(self) -> tuple[str, ...]:
        """The values that messages must not show, the longest first."""
        values = {reference.value for reference in self.references.values() if reference.value}
        return tuple(
            sorted((value for value in {*values, *self.passwords} if len(value) >= _SHORTEST), key=lambda s: -len(s))
        )

    def redacted(self) -> list[Problem]:
        """The problems in the order of the files, with every secret replaced."""
        known = {reference.value: reference.label for reference in self.references.values() if reference.value}
        problems = []
        for problem in self.problems:
            message, mend = problem.message, problem.mend
            for secret in self.secrets():
                label = known.get(secret, "[secret]")
                message, mend = (text.replace(repr(secret), label).replace(secret, label) for text in (message, mend))
            problems.append(replace(problem, message=message, mend=mend))
        return sorted(problems, key=lambda problem: (problem.file != MAIN, problem.file, problem.line, problem.column))

    def _value(self, key: yaml_text.Scalar, node: Node, file: str, path: tuple[str | int, ...]) -> Any:
        if isinstance(node, yaml_text.Scalar):
            if not node.text and not node.quoted:
                return None
            if key.text in SECRET_KEYS or (key.text in ("store", "broker") and _has_password(node.text)):
                self.passwords.append(node.text)
                message = f"{key.text}: secrets belong in the environment or in a file, never in YAML"
                mend = f"write {key.text}: {{env: NAME}} or {{file: PATH}}"
                self.problem(file, (node.line, node.column), message, mend)
        return self._plain(node, file, path)

    def _plain(self, node: Node, file: str, path: tuple[str | int, ...]) -> Any:
        if isinstance(node, yaml_text.Scalar):
            return self._text(node, file)
        if isinstance(node, yaml_text.Sequence):
            return [self._plain(item, file, (*path, number)) for number, item in enumerate(node.items)]
        named = file == MAIN and len(path) == 1 and path[0] in _MAPS_OF_NAMES
        if path and len(node.entries) == 1 and node.entries[0][0].text in ("env", "file") and not named:
            key, value = node.entries[0]
            if isinstance(value, yaml_text.Scalar):
                before = len(self.problems)
                reference = self._from_env(value, file) if key.text == "env" else self._from_file(value, file)
                if not self.needs_secrets and len(self.problems) > before:
                    start = () if file == MAIN else ("schedules", Path(file).stem)
                    self.unset.append(UnsetSecret(value.text, (*start, *path), str(self.problems[before])))
                    del self.problems[before:]
                self.references[id(node)] = reference
                return reference.value or UNSET
        return {self._text(key, file): self._value(key, value, file, (*path, key.text)) for key, value in node.entries}

    def _text(self, scalar: yaml_text.Scalar, file: str) -> str:
        """Return the text without lone surrogates: YAML allows "\\ud800", but it is not a character."""
        if any("\ud800" <= letter <= "\udfff" for letter in scalar.text):
            message = "this escape is only half a character"
            self.problem(file, (scalar.line, scalar.column), message, "write the character itself")
            return "".join(letter for letter in scalar.text if not "\ud800" <= letter <= "\udfff")
        return scalar.text

    def _from_env(self, name: yaml_text.Scalar, file: str) -> Reference:
        value = self.env.get(name.text) if name.text and "\0" not in name.text else None
        if not value:
            message = f"the environment has no variable {name.text}" if value is None else f"{name.text} is empty"
            mend = f"set it before you start: export {name.text}=..., or write {name.text}=... into {SECRETS}"
            self.problem(file, (name.line, name.column), message, mend)
        return Reference(f"the value of {name.text}", value or None)

    def _from_file(self, name: yaml_text.Scalar, file: str) -> Reference:
        value = None
        try:
            value = (self.root / name.text).read_bytes().decode("utf-8-sig").rstrip("\r\n")
        except (OSError, ValueError) as error:  # no such file; no text; a NUL in its name
            reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
            message = f"{name.text!r} cannot be read{reason}"
            self.problem(
                file, (name.line, name.column), message, "write only the secret into that file; check its permissions"
            )
        if value == "":
            self.problem(file, (name.line, name.column), f"{name.text!r} is empty", "write only the secret into it")
        return Reference(f"what {name.text} holds", value or None)


def _read_blocks(text: str, file: str) -> yaml_text.Mapping:
    """Read each top-level key of a broken file on its own, and leave out keys that cannot be read."""
    lines = text.replace("\r\n", "\n").split("\n")
    starts = [number for number, line in enumerate(lines) if re.match(r"[A-Za-z]\w*\s*:", line)]
    entries: dict[str, tuple[yaml_text.Scalar, Node]] = {}
    for begin, end in pairwise([*starts, len(lines)]):
        node, problems = read_yaml("\n".join(lines[begin:end]), file, begin + 1)
        if isinstance(node, yaml_text.Mapping) and not problems:
            entries |= {entry[0].text: entry for entry in node.entries}
    return yaml_text.Mapping(tuple(entries.values()), 1, 1)


def _has_password(address: str) -> bool:
    try:
        return bool(urlsplit(address).password)
    except ValueError:
        return re.search(r"//[^/@:]*:[^/@]+@", address) is not None


def without_empty(plain: Any) -> Any:
    """Return the content without keys that have no value: they mean the same as no key."""
    if isinstance(plain, dict):
        return {key: without_empty(value) for key, value in plain.items() if value is not None}
    return [without_empty(value) for value in plain] if isinstance(plain, list) else plain
