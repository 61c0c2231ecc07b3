"""Read JSON of unknown structure. A value of an unexpected type counts as empty."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tidings.child_process import ChildError, run_in_child
from tidings.model.dates import YEARS

_SECONDS: Final = 20
_MOST_VALUES: Final = 500_000
"""Most values in one answer, including names. A value takes up to 100 bytes of memory; a hundred posts have 20,000."""


def load_json(body: bytes) -> Any:
    """Parse untrusted JSON. A child process reads it first, so nothing huge is built here. Raises ValueError."""
    try:
        problem = run_in_child(find_json_problem, body, _SECONDS)
    except ChildError:
        raise ValueError("JSON that takes too much time or memory to read") from None
    if problem:
        raise ValueError(problem)
    return json.loads(body)


def find_json_problem(body: bytes) -> str:
    """Return what is wrong with JSON, or ''. Runs in a child process."""
    try:
        waiting, count = [json.loads(body)], 0
    except (ValueError, RecursionError):
        return "something that is not JSON"
    while waiting:
        value = waiting.pop()
        parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
        count += len(parts)
        if count > _MOST_VALUES:
            return f"more than {_MOST_VALUES:,} values at once"
        waiting.extend(part for part in parts if isinstance(part, dict | list))
    return ""


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, or an empty object for other values, because PHP writes an empty object as a list."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list or of a map."""
    values: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [entry for entry in values if isinstance(entry, dict)]


def parse_utc(value: Any) -> datetime | None:
    """Parse ISO 8601, as UTC if it has no offset. None unless it is a date from 1900 to 2200."""
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
    if moment.year not in YEARS:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
