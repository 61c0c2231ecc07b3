"""Check a value against the small part of JSON Schema that `tidings schema` uses. Unnamed keys are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "boolean": (bool,), "null": (type(None),), "object": (dict,), "array": (list,)
}  # fmt: skip


def misfits(value: Any, schema: dict[str, Any], path: str = "$") -> list[str]:
    """Return the places where `value` does not fit the shape."""
    mistakes = []
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value!r} is none of {schema['enum']}"]
    wanted = schema.get("type")
    kinds = [wanted] if isinstance(wanted, str) else wanted or []
    if kinds and not any(
        isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
    ):
        return [f"{path}: {value!r} is no {kinds}"]
    if schema.get("format") == "date-time" and datetime.fromisoformat(value).tzinfo is None:
        mistakes.append(f"{path}: no zone in {value!r}")
    if isinstance(value, list) and "items" in schema:
        for number, one in enumerate(value):
            mistakes += misfits(one, schema["items"], f"{path}[{number}]")
    if isinstance(value, dict):
        known, extra = schema.get("properties", {}), schema.get("additionalProperties")
        for key, one in value.items():
            if key in known:
                mistakes += misfits(one, known[key], f"{path}.{key}")
            elif isinstance(extra, dict):
                mistakes += misfits(one, extra, f"{path}.{key}")
            else:
                mistakes.append(f"{path}.{key} is not in the schema")
        mistakes += [f"{path}.{key} is missing" for key in known if key not in value]
    return mistakes
