"""Translate notices to the team into the first language of the newsroom.

Notices are stored in English, as commands print them. Before one is sent, each known line is translated. The values in
it stay unchanged: names, commands, replies of a mail host. An unknown line stays English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tidings.render.i18n import load_catalogue, read_messages

_MESSAGES = read_messages(Path(__file__).with_name("notice_messages.txt"))
_LINES, REASONS, _COUNTS = _MESSAGES["lines"], _MESSAGES["reasons"], _MESSAGES["counts"]
_NAME = re.compile(r"%\((\w+)\)s")


def translate_notice(text: str, language: str) -> str:
    """Return the text of a notice, with known lines translated."""
    return "\n".join(translate_line(line, _LINES, language) for line in text.split("\n"))


def translate_hold(detail: str, language: str) -> str:
    """Translate the reason of a held edition. A prefix such as `digest (en): ` stays."""
    whole = translate_line(detail, REASONS, language)
    if whole != detail:
        return whole
    outlet, found, rest = detail.partition("): ")
    before = f"{outlet}{found}" if found and " (" in outlet else ""
    parts = (rest if before else detail).split("; ")
    return before + "; ".join(translate_line(part, REASONS, language) for part in parts)


def translate_line(
    line: str,
    messages: tuple[str, ...],
    language: str,
    *,
    domain: str = "tidings",
    inner: Mapping[str, Callable[[str, str], str]] | None = None,
) -> str:
    """Translate a line if it is one of these messages of a catalogue, else return it unchanged.

    `inner` names the values that are translated too, also in a line that stays English.
    """
    catalogue = load_catalogue(language, domain)
    translators = _INNER if inner is None else inner
    for message in messages:
        values = _find_values(message, line)
        if values is not None and ((translated := catalogue.gettext(message)) != message or language == "en"):
            known = {name: translators[name](value, language) for name, value in values.items() if name in translators}
            return translated % {**values, **known}
    return line


def _translate_counts(text: str, language: str) -> str:
    return ", ".join(translate_line(part, _COUNTS, language) for part in text.split(", "))


_INNER: Mapping[str, Callable[[str, str], str]] = {"counts": _translate_counts, "reasons": translate_hold}
"""Values that are translated too."""


def _find_values(message: str, line: str) -> dict[str, str] | None:
    """Return the values of a line for each `%(name)s` of a message, or None if the line does not match.

    A value ends at the first occurrence of the text after it. The search never backtracks, so that hostile values
    cannot slow it down.
    """
    literals = _split(message)
    name, before = "", 0
    values: dict[str, str] = {}
    for literal, following in literals:
        if not name:
            if not line.startswith(literal):
                return None
            begin = 0
        elif not following:
            begin = len(line) - len(literal)
            if begin < before or not line.endswith(literal):
                return None
        else:
            begin = line.find(literal, before)
            if begin < 0:
                return None
        if name:
            values[name] = line[before:begin]
        before, name = begin + len(literal), following
    return values if before == len(line) else None


def _split(message: str) -> Iterator[tuple[str, str]]:
    """Yield each piece of text with the name of the value after it. The last piece has none."""
    pieces = _NAME.split(message)
    yield from zip(pieces[::2], [*pieces[1::2], ""], strict=True)
