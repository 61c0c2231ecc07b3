"""Cells of a CSV that no spreadsheet takes for a formula, and back again."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def neutral(cell: str) -> str:
    """`cell` with an apostrophe before what a spreadsheet would run: = + - @, a tab or a carriage return.

    OWASP, CSV Injection. One that has such apostrophes already gets one more, so that `plain` is its exact inverse.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def plain(cell: str) -> str:
    """What stood in a cell before `neutral`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def csv_line(cells: Iterable[str]) -> str:
    """One line of a CSV (RFC 4180), each cell neutral, ended by a line feed."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([neutral(cell) for cell in cells])
    return out.getvalue()
