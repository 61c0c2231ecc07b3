"""Errors that carry what they are about, and say what to do."""

from __future__ import annotations


class TidingsError(Exception):
    """Something the user can mend. `str()` is what they read: one line, no traceback."""

    exit_code = 2


class InputError(TidingsError):
    """The input is at fault (exit 1)."""

    exit_code = 1


class RefusedError(TidingsError):
    """Asked for something that is refused as things stand (exit 2)."""


class StoreVersionError(RefusedError):
    """The store was written by another version of the schema."""
