"""Remove the mistakes from a configuration, so that `check` can look for others in the rest."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel, ValidationError

from tidings.config.file_reader import UNSET

_STAND_IN = {
    "title": "-",
    "name": "-",
    "address": "-",
    "url": "https://localhost/",
    "from": "nobody@localhost.invalid",
    "host": "localhost",
}
_UNSET = (UNSET, "https://missing.invalid/", "missing@missing.invalid", "1", f"1:{UNSET}")
"""Values to try one after the other for a secret that is not set."""
_ROUNDS = 12


def prune(model: type[BaseModel], plain: Any, error: ValidationError, context: Any) -> Any:
    """Return the model without its wrong parts, or None if nothing is left. Placeholders replace required values."""
    rest = copy.deepcopy(plain)
    for _ in range(_ROUNDS):
        for entry in error.errors(include_url=False):
            _take_out(rest, entry["loc"], missing=entry["type"] == "missing")
        try:
            return model.model_validate(rest, context=context)
        except ValidationError as again:
            error = again
    return None


def _take_out(rest: Any, path: tuple[int | str, ...], *, missing: bool) -> None:
    trail: list[tuple[Any, int | str]] = []
    current = rest
    for part in path:
        if isinstance(current, dict) and (part in current or (missing and part == path[-1])):
            trail.append((current, part))
            current = current.get(part)
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            trail.append((current, part))
            current = current[part]
    if not trail:
        return
    holder, key = trail[-1]
    value = None if missing else holder[key]
    if isinstance(value, str) and value in _UNSET[:-1]:
        holder[key] = _UNSET[_UNSET.index(value) + 1]
        return
    if missing and isinstance(holder, dict) and key in _STAND_IN:
        holder[key] = _STAND_IN[str(key)]
    elif missing and len(trail) > 1:
        _drop(*trail[-2])
    elif isinstance(holder, dict) and key in _STAND_IN and holder.get(key) != _STAND_IN[str(key)]:
        holder[key] = _STAND_IN[str(key)]
    else:
        _drop(holder, key)


def _drop(holder: Any, key: int | str) -> None:
    if isinstance(holder, dict):
        holder.pop(key, None)
    elif isinstance(holder, list) and isinstance(key, int) and key < len(holder):
        holder.pop(key)
