"""Errors and problems that people can fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class TidingsError(Exception):
    """An error that the user can fix. `str()` is the message they read, without a traceback."""

    exit_code = 2


class InputError(TidingsError):
    """The input is wrong (exit 1)."""

    exit_code = 1


class RefusedError(TidingsError):
    """The request is refused in the current state (exit 2)."""


class StoreVersionError(RefusedError):
    """The store was written by another version of the schema."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`file` is relative to the newsroom; `line` and `column` count from 1; 0 means unknown.

    `level` is error or warning.
    """

    file: str
    line: int
    column: int
    message: str
    mend: str = ""
    level: str = "error"

    def __str__(self) -> str:
        lines = () if "://" in self.file else (self.line, self.column)  # a web address has no lines
        place = ":".join([self.file, *(str(number) for number in lines if number)])
        return f"{place}: {self.message}{'. ' if self.mend else ''}{self.mend[:1].upper()}{self.mend[1:]}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'x'?`, or the list of known names."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6) or [name for name in names if name == word.lower()]
    if not names:
        return "There are none yet"
    return f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(names)}"
