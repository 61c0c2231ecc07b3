"""Change single values of a YAML file as a person would: comments, order and all other lines stay as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tidings.config.yaml_text import mask_days_and_times

Value = str | int | bool | Sequence["Value"] | Mapping[str, "Value"]
_PLAIN = re.compile(r"[\w./@+-](?:[\w./@+ -]|:(?=\w))*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "none", "~", "y", "n"}


def set_value(text: str, path: Sequence[str | int], value: Value | None, *, after: str = "") -> str:
    """Return the text with another value at a path of keys; None removes the key.

    A new key comes last in its map, or behind the key `after`. Maps on the way that are missing are made.
    Raises ValueError if the text cannot be read or the path leads through a value that is not a map.
    """
    root = _compose(text)
    if root is None:
        return text if value is None else f"{text}{_entry([str(key) for key in path], value)}\n"
    parent, depth = _find_parent(root, path)
    if parent is None:
        raise ValueError(f"{'.'.join(map(str, path))} cannot be set: {path[0]} is not a map")
    keys = [str(key) for key in path[depth:]]
    found = _find_entry(parent, keys[0])
    if found is not None:
        return _remove(text, parent, found) if value is None else _replace(text, found, value)
    if value is None:
        return text
    return _insert(text, parent, _entry(keys, value), after if depth == 0 else "")


def read_value(text: str, path: Sequence[str | int]) -> str | list[str] | None:
    """Return the text of a scalar, the texts of a list, or None if there is no such value, or it is a map."""
    node = _find_node(text, path)
    if node is None or isinstance(node, MappingNode):
        return None
    if isinstance(node, SequenceNode):
        return [str(item.value) for item in node.value if isinstance(item, ScalarNode)]
    # The days of `weekly: [mon, thu] 09:00` were masked: the text itself says them.
    is_plain = isinstance(node, ScalarNode) and node.style is None
    return text[node.start_mark.index : node.end_mark.index] if is_plain else str(node.value)


def is_map(text: str, path: Sequence[str | int]) -> bool:
    """Whether there is a map at a path, such as a text in several languages."""
    node = _find_node(text, path)
    return isinstance(node, MappingNode)


def count_items(text: str, path: Sequence[str | int]) -> int:
    """Return the length of a list; 0 if there is none."""
    node = _find_node(text, path)
    return len(node.value) if isinstance(node, SequenceNode) else 0


def add_item(text: str, path: Sequence[str | int], value: Value) -> str:
    """Return the text with one more item at the end of a list. Raises ValueError if there is no such list."""
    node = _find_node(text, path)
    if not isinstance(node, SequenceNode) or not node.value:
        raise ValueError(f"{'.'.join(map(str, path))} is not a list")
    if node.flow_style:
        close = int(node.end_mark.index) - 1
        return f"{text[:close].rstrip()}, {to_flow(value)}{text[close:]}"
    end = _end(node)
    line = text.find("\n", end) + 1
    entry = f"{' ' * int(node.start_mark.column)}- {to_flow(value)}\n"
    return f"{text[:line]}{entry}{text[line:]}" if line else f"{text}\n{entry}"


def remove_item(text: str, path: Sequence[str | int], number: int) -> str:
    """Return the text without one item of a list. Raises ValueError for its only item."""
    node = _find_node(text, path)
    if not isinstance(node, SequenceNode) or not 0 <= number < len(node.value) or len(node.value) < 2:
        raise ValueError(f"{'.'.join(map(str, path))} must keep one item")
    item = node.value[number]
    start, end = int(item.start_mark.index), _end(item)
    if node.flow_style:
        after = re.match(r"[ \t\n]*,[ \t]*", text[end:])
        if after is not None:
            return text[:start] + text[end + after.end() :]
        return re.sub(r",[ \t]*\Z", "", text[:start].rstrip()) + text[end:]
    line = text.rfind("\n", 0, start) + 1
    return text[:line] + text[text.find("\n", end) + 1 or len(text) :]


def _find_node(text: str, path: Sequence[str | int]) -> Node | None:
    node = _compose(text)
    for key in path:
        node = _step(node, key)
    return node


def _step(node: Node | None, key: str | int) -> Node | None:
    if isinstance(key, int):
        return node.value[key] if isinstance(node, SequenceNode) and key < len(node.value) else None
    found = _find_entry(node, key) if isinstance(node, MappingNode) else None
    return None if found is None else found[1]


def to_flow(value: Value) -> str:
    """Write a value as YAML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value == value.strip() and value.lower() not in _WORDS
        line = f" weekly: {value}"
        return value if is_plain or mask_days_and_times(line) != line else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{to_flow(key)}: {to_flow(entry)}' for key, entry in value.items())}}}"
    return f"[{', '.join(map(to_flow, value))}]"


_Entry = tuple[ScalarNode, Node]


def _compose(text: str) -> Node | None:
    reader = YAML(typ="safe", pure=True)
    try:
        node: Node | None = reader.compose(mask_days_and_times(text))
    except (YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"the YAML cannot be read: {' '.join(str(error).split())[:200]}") from None
    return node


def _find_parent(root: Node, path: Sequence[str | int]) -> tuple[MappingNode | None, int]:
    """Return the deepest existing map on the path, and how many keys lead to it."""
    node, depth = root, 0
    while depth < len(path) - 1:
        found = _step(node, path[depth])
        if found is None:
            break
        node, depth = found, depth + 1
    return (node if isinstance(node, MappingNode) else None), depth


def _find_entry(parent: MappingNode, key: str) -> _Entry | None:
    return next((entry for entry in parent.value if entry[0].value == key), None)


def _entry(path: Sequence[str], value: Value) -> str:
    inner: Any = value
    for key in reversed(path[1:]):
        inner = {key: inner}
    return f"{path[0]}: {to_flow(inner)}"


def _is_block(node: Node) -> bool:
    return isinstance(node, (MappingNode, SequenceNode)) and not node.flow_style


def _end(node: Node) -> int:
    """Return where the text of a node ends. A block ends with its last value, not with the comments behind it."""
    if _is_block(node) and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, MappingNode) else last)
    return int(node.end_mark.index)


def _replace(text: str, entry: _Entry, value: Value) -> str:
    key, old = entry
    end = _end(old)
    is_empty = old.start_mark.index == old.end_mark.index
    if _is_block(old) or is_empty:
        colon = text.index(":", key.end_mark.index)
        return f"{text[: colon + 1]} {to_flow(value)}{text[colon + 1 if is_empty else end :]}"
    is_lines = isinstance(old, ScalarNode) and old.style in ("|", ">")
    return f"{text[: old.start_mark.index]}{to_flow(value)}{chr(10) if is_lines else ''}{text[end:]}"


def _remove(text: str, parent: MappingNode, entry: _Entry) -> str:
    key, value = entry
    start, end = int(key.start_mark.index), max(_end(value), int(key.end_mark.index) + 1)
    if parent.flow_style:
        after = re.match(r"[ \t\n]*,[ \t]*", text[end:])
        if after is not None:
            return text[:start] + text[end + after.end() :]
        return re.sub(r",[ \t]*\Z", "", text[:start].rstrip()) + text[end:]
    line = text.rfind("\n", 0, start) + 1
    following = end if text[end - 1 : end] == "\n" else text.find("\n", end) + 1 or len(text)
    return text[:line] + text[following:]


def _insert(text: str, parent: MappingNode, entry: str, after: str) -> str:
    if parent.flow_style:
        close = int(parent.end_mark.index) - 1
        before = text[:close].rstrip()
        comma = "" if before.endswith(("{", ",")) else ","
        space = "" if before.endswith("{") else " "
        return f"{before}{comma}{space}{entry}{text[close:]}"
    previous = _find_entry(parent, after) or parent.value[-1]
    end = max(_end(previous[1]), int(previous[0].end_mark.index) + 1)
    line = end if text[end - 1 : end] == "\n" else text.find("\n", end) + 1
    head = text[:line] if line else f"{text}\n"
    tail = text[line:] if line else ""
    indent = " " * int(parent.start_mark.column)
    gap = "\n" if after and indent == "" else ""
    return f"{head}{gap}{indent}{entry}\n{tail}"
