"""From pydantic's errors to problems that a comms officer can mend: file, line, what, how."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tidings.config import yamltext
from tidings.config.yamltext import Node
from tidings.model.problem import Problem, nearest

Path = tuple[str | int, ...]

_LATER = {
    ("mail", "dkim"): "signing with DKIM",
    ("web", "metrics"): "metrics",
    ("keep",): "retention",
}


def problems_of(
    error: ValidationError, model: type[BaseModel], node: Node, file: str, prefix: Path = ()
) -> list[Problem]:
    """Every problem of one validation, in the order of the file."""
    found: list[Problem] = []
    flat = list(_flat(error, prefix))
    for path, kind, message, cause in flat:
        if kind == "too_short" and any(other[: len(path)] == path != other for other, *_ in flat):
            continue  # it is short only because its parts were refused
        line, column = place(node, path, key=kind == "extra_forbidden")
        found.append(_problem(model, path[len(prefix) :], path, kind, message, cause, file, line, column))
    return sorted(found, key=lambda problem: (problem.line, problem.column))


def _flat(error: ValidationError, prefix: Path) -> Iterator[tuple[Path, str, str, Any]]:
    for one in error.errors(include_url=False):
        cause = one.get("ctx", {}).get("error")
        if isinstance(cause, ValidationError):
            yield from _flat(cause, (*prefix, *one["loc"]))
        else:
            yield (*prefix, *one["loc"]), one["type"], one["msg"], cause


def _problem(
    model: type[BaseModel],
    inner: Path,
    path: Path,
    kind: str,
    message: str,
    cause: Any,
    file: str,
    line: int,
    column: int,
) -> Problem:
    name = str(path[-1]) if path else ""
    words = tuple(str(part) for part in path if isinstance(part, str))
    if kind == "extra_forbidden":
        if words in _LATER:
            return Problem(
                file, line, column, f"{name!r} ({_LATER[words]}) is not in this version yet", "take the key out"
            )
        return Problem(file, line, column, f"unknown key {name!r}", nearest(name, keys_at(model, inner[:-1])))
    if kind == "missing":
        return Problem(file, line, column, f"{name!r} is missing", f"add `{name}: ...` here")
    if cause is not None:
        said, _, mend = str(cause).partition("; ")
        return Problem(file, line, column, f"{name}: {said}" if name else said, mend)
    said = message[:1].lower() + message[1:]
    return Problem(file, line, column, f"{name}: {said}")


def place(node: Node, path: Path, *, key: bool = False) -> tuple[int, int]:
    """Line and column of the value at a path, or of its key; of the nearest thing above where it is missing."""
    line, column = node.line, node.column
    current: Node | None = node
    for number, part in enumerate(path):
        following: Node | None = None
        if isinstance(current, yamltext.Mapping) and isinstance(part, str):
            for name, value in current.entries:
                if name.text == part:
                    following = value
                    last = number == len(path) - 1
                    at: yamltext.Scalar | Node = (
                        name if (key and last) or not isinstance(value, yamltext.Scalar) else value
                    )
                    line, column = at.line, at.column
                    if isinstance(value, yamltext.Scalar) and not value.text:
                        line, column = name.line, name.column
        elif isinstance(current, yamltext.Sequence) and isinstance(part, int) and part < len(current.items):
            following = current.items[part]
            line, column = following.line, following.column
        if following is not None:
            current = following
        # A part that is not in the file names a branch of the schema, or what is missing: stay where we are.
    return line, column


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the schema knows at a path."""
    candidates: list[Any] = [model]
    for part in path:
        following: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                for name, field in candidate.model_fields.items():
                    if part in (name, field.alias):
                        following.extend(_inside(field.annotation))
                        following.extend(t for meta in field.metadata for t in _written(meta))
        # Numbers, names of a map and tags of a union stand for themselves.
        candidates = following or candidates
    return sorted(
        {
            field.alias or name
            for candidate in candidates
            if isinstance(candidate, type) and issubclass(candidate, BaseModel)
            for name, field in candidate.model_fields.items()
        }
    )


def _written(metadata: Any) -> list[Any]:
    """The model of what is written, where a validator reads it into something else (`cadence`)."""
    hints = getattr(getattr(metadata, "func", None), "__globals__", {})
    return [hints["CadenceText"]] if getattr(getattr(metadata, "func", None), "__name__", "") == "_cadence" else []


def _inside(annotation: Any) -> list[Any]:
    """The models in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin is Annotated:
        return _inside(get_args(annotation)[0])
    if origin in (Union, types.UnionType, tuple, list, dict, Mapping, typing.Mapping):
        return [model for part in get_args(annotation) if part is not Ellipsis for model in _inside(part)]
    return []
