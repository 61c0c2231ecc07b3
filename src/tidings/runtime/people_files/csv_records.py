"""A text file of people as records, each with the number of the line on which it begins. Reads as it goes, any size.

One bad record never takes the rest with it: a quote that is never closed, a line without end, a stray byte are told of
by line, and reading goes on with the next line.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tidings.model.errors import InputError
from tidings.model.text import unescape_formula

LONGEST = 1 << 16
"""Characters of a line, and of a record of several lines."""
_MOST_LINES = 200
"""Lines of a record: a quote that is open for longer is one that was never meant."""
_BLOCK = 1 << 20
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16 (Excel's 'Unicode Text')",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"PK\x03\x04": "a workbook or a ZIP archive, no CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, no CSV",
    b"\x1f\x8b": "a compressed file; unpack it first",
}
_SAVE = (
    "Save it anew as CSV UTF-8: in Excel 'Save As > CSV UTF-8', in LibreOffice 'Text CSV' with the character set UTF-8"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `problem` says why it cannot be read; then `cells` holds its first line as it is."""

    line: int
    cells: list[str]
    problem: str = ""


def fingerprint(path: Path) -> tuple[str, int]:
    """Hex SHA-256 of a file and its size in bytes. Raises InputError for what is no UTF-8 text."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, size = 1, 0
    with opened(path) as file:
        while block := file.read(_BLOCK):
            if not size:
                _refuse_marked(path, block)
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                whole: bytes = error.object
                line += whole.count(b"\n", 0, error.start)
                looks, name = _guess(whole[error.start :])
                raise InputError(
                    f"{path}: line {line}: this is no UTF-8; it looks like {looks}. {_SAVE}; "
                    f"or run: iconv -f {name} -t utf-8 {path.name} > new.csv"
                ) from None
            digest.update(block)
            size += len(block)
            line += text.count("\n")
    if decoder.getstate()[0]:
        raise InputError(f"{path}: line {line}: the file ends in the middle of a character; it was cut. Copy it anew.")
    if not size:
        raise InputError(f"{path} is empty. Its first line names the columns.")
    return digest.hexdigest(), size


def opened(path: Path) -> BinaryIO:
    """The file, to be read as bytes. Raises InputError in words."""
    if not path.exists():
        raise InputError(f"{path} cannot be read: there is no such file.")
    if not path.is_file():
        raise InputError(f"{path} is no file. Give the CSV file itself.")
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _refuse_marked(path: Path, block: bytes) -> None:
    for mark, name in _MARKS.items():
        if block.startswith(mark):
            raise InputError(f"{path} is {name}. {_SAVE}.")
    head = block[:2_000]
    if len(head) > 3 and head.count(b"\0") > len(head) // 4:
        raise InputError(f"{path} is UTF-16 without a mark. {_SAVE}.")


def _guess(raw: bytes) -> tuple[str, str]:
    """Which encoding it may be, in words and for iconv: bytes above 127 stand alone in Latin, together in Cyrillic."""
    high = re.findall(rb"[\x80-\xff]+", raw[:100_000])
    if sum(len(run) > 1 for run in high) * 2 < len(high):
        return "Windows-1252 or Latin-1", "cp1252"
    # Small letters, of which a text has more, are E0-FF in Windows-1251 and C0-DF in KOI8-R.
    letters = [byte for byte in b"".join(high) if byte >= 0xC0]
    if sum(byte >= 0xE0 for byte in letters) * 2 > len(letters):
        return "Windows-1251 (cp1251), or another code page of one script", "cp1251"
    return "KOI8-R, or another code page of one script", "koi8-r"


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str


class Lines:
    """The lines of a file, one at a time; some may be given back. A line longer than `LONGEST` comes cut short."""

    def __init__(self, path: Path) -> None:
        self._file = opened(path)
        self._text = io.TextIOWrapper(self._file, encoding="utf-8-sig", newline="")
        self._back: deque[_Line] = deque()
        self._number = 0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def position(self) -> int:
        """Bytes read so far."""
        return self._file.tell()

    def take(self) -> _Line | None:
        """The next line with its ending; None at the end."""
        if self._back:
            return self._back.popleft()
        text = self._text.readline(LONGEST)
        if not text:
            return None
        self._number += 1
        if len(text) == LONGEST and not text.endswith(("\n", "\r")):
            while (more := self._text.readline(LONGEST)) and not more.endswith(("\n", "\r")):
                pass
        return _Line(self._number, text)

    def give_back(self, lines: list[_Line]) -> None:
        """To be taken again."""
        self._back.extendleft(reversed(lines))


def records(lines: Lines, delimiter: str) -> Iterator[Record]:
    """Every record that is not empty. A quoted value may hold line breaks (RFC 4180 §2)."""
    while (line := lines.take()) is not None:
        text = line.text.rstrip("\r\n")
        if len(line.text) >= LONGEST:
            yield Record(line.number, [text[:200]], f"it is longer than {LONGEST:,} characters")
        elif '"' in text:
            yield _quoted(lines, line, delimiter)
        elif text.strip():
            yield Record(line.number, [unescape_formula(cell.strip()) for cell in text.split(delimiter)])


def _quoted(lines: Lines, first: _Line, delimiter: str) -> Record:
    taken = [first]
    size = len(first.text)
    problem = "a quote is opened here and never closed; close it, or take it out"
    while True:
        try:
            cells = next(csv.reader([line.text for line in taken], delimiter=delimiter, strict=True))
            return Record(first.number, [unescape_formula(cell.strip()) for cell in cells])
        except csv.Error as error:
            if "unexpected end" not in str(error):
                if len(taken) == 1:
                    problem = "a quote stands in the middle of a value; double it, or take it out"
                break
        # Only a line with a quote in it can be the end.
        while (line := lines.take()) is not None:
            taken.append(line)
            size += len(line.text)
            if '"' in line.text or len(taken) > _MOST_LINES or size > LONGEST:
                break
        if line is None or len(taken) > _MOST_LINES or size > LONGEST:
            break
    lines.give_back(taken[1:])
    return Record(first.number, [first.text.rstrip("\r\n")], problem)
