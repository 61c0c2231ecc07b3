"""Read a text file of people: check its encoding, and yield its lines or CSV rows with their line numbers.

A bad row does not affect other rows: an open quote or an endless line is reported, and the next line is read.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tidings.model.errors import InputError
from tidings.model.text import unescape_formula

MAX_LENGTH = 1 << 16
"""Characters of a line, and of a row of several lines."""
_MAX_LINES = 200
"""Lines of a row. A quote that stays open for more lines is a mistake."""
_BLOCK = 1 << 20
_SIGNATURES = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16 (Excel's 'Unicode Text')",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"PK\x03\x04": "a workbook or a ZIP archive, not a CSV file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, not a CSV file",
    b"\x1f\x8b": "a compressed file. Unpack it first",
}
_HOW_TO_SAVE = (
    "Save it as UTF-8: in Excel 'Save As > CSV UTF-8', in LibreOffice 'Text CSV' with the character set UTF-8"
)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row and the number of its first line. If `problem` is set, `cells` holds the raw first line."""

    line: int
    cells: list[str]
    problem: str = ""


def check_encoding(path: Path) -> int:
    """Return the size of a file in bytes. Raises InputError if it is not UTF-8 text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, size = 1, 0
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            if not size:
                _refuse_other_formats(path, block)
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                whole: bytes = error.object
                line += whole.count(b"\n", 0, error.start)
                description, codec = _guess_encoding(whole[error.start :])
                raise InputError(
                    f"{path}: line {line}: this is not UTF-8. It looks like {description}. {_HOW_TO_SAVE}; "
                    f"or run: iconv -f {codec} -t utf-8 {path.name} > new.csv"
                ) from None
            size += len(block)
            line += text.count("\n")
    if decoder.getstate()[0]:
        raise InputError(f"{path}: line {line}: the file ends in the middle of a character. Copy it again.")
    if not size:
        raise InputError(f"{path} is empty. Its first line must name the columns.")
    return size


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading bytes. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path} cannot be read: there is no such file.")
    if not path.is_file():
        raise InputError(f"{path} is not a file. Name the CSV file itself.")
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _refuse_other_formats(path: Path, block: bytes) -> None:
    for signature, description in _SIGNATURES.items():
        if block.startswith(signature):
            raise InputError(f"{path} is {description}. {_HOW_TO_SAVE}.")
    head = block[:2_000]
    if len(head) > 3 and head.count(b"\0") > len(head) // 4:
        raise InputError(f"{path} is UTF-16 without a byte order mark. {_HOW_TO_SAVE}.")


def _guess_encoding(raw: bytes) -> tuple[str, str]:
    """Return a likely encoding for people and for iconv. High bytes are single in Latin, in groups in Cyrillic."""
    groups = re.findall(rb"[\x80-\xff]+", raw[:100_000])
    if sum(len(group) > 1 for group in groups) * 2 < len(groups):
        return "Windows-1252 or Latin-1", "cp1252"
    # Most letters of a text are small: E0-FF in Windows-1251, C0-DF in KOI8-R.
    letters = [byte for byte in b"".join(groups) if byte >= 0xC0]
    if sum(byte >= 0xE0 for byte in letters) * 2 > len(letters):
        return "Windows-1251 (cp1251), or another code page of one script", "cp1251"
    return "KOI8-R, or another code page of one script", "koi8-r"


class LineReader:
    """Iterates over the lines of a file. A line of more than `MAX_LENGTH` is cut."""

    def __init__(self, path: Path) -> None:
        self._file = open_file(path)
        self._text = io.TextIOWrapper(self._file, encoding="utf-8-sig", newline="")
        self._again: deque[tuple[int, str]] = deque()
        self._number = 0
        self.taken: list[tuple[int, str]] = []
        """Numbers and texts of the lines since the last `begin_row`."""

    def __enter__(self) -> LineReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def __iter__(self) -> LineReader:
        return self

    def __next__(self) -> str:
        if self._again:
            number, text = self._again.popleft()
        else:
            text = self._text.readline(MAX_LENGTH)
            if not text:
                raise StopIteration
            self._number += 1
            number = self._number
            if len(text) == MAX_LENGTH and not text.endswith(("\n", "\r")):
                while (more := self._text.readline(MAX_LENGTH)) and not more.endswith(("\n", "\r")):
                    pass
        self.taken.append((number, text))
        return text

    def position(self) -> int:
        """Return the number of bytes read."""
        return self._file.tell()

    def begin_row(self) -> None:
        self.taken = []

    def read_again(self, skip: int) -> None:
        """Read the lines of this row again, except the first `skip`."""
        self._again.extendleft(reversed(self.taken[skip:]))


def read_rows(lines: LineReader, delimiter: str) -> Iterator[CsvRow]:
    """Yield every row that is not empty. A quoted value may hold line breaks (RFC 4180 §2)."""
    reader = csv.reader(_limit(lines), delimiter=delimiter, strict=True)
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number, text = lines.taken[0]
            lines.read_again(skip=1)
            if len(text) == MAX_LENGTH:
                yield CsvRow(number, [text[:200]], f"the line is longer than {MAX_LENGTH:,} characters")
            else:
                yield CsvRow(number, [text.rstrip("\r\n")], _describe(error, len(lines.taken)))
            reader = csv.reader(_limit(lines), delimiter=delimiter, strict=True)
        else:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield CsvRow(lines.taken[0][0], [unescape_formula(cell.strip()) for cell in cells])


def _limit(lines: LineReader) -> Iterator[str]:
    """Yield the lines. Raises csv.Error if a row grows too long, because its opening quote was never closed."""
    for text in lines:
        size = sum(len(taken) for _, taken in lines.taken)
        if len(text) == MAX_LENGTH or len(lines.taken) > _MAX_LINES or size > MAX_LENGTH:
            raise csv.Error("too long")
        yield text


def _describe(error: csv.Error, lines: int) -> str:
    if lines == 1 and "expected after" in str(error):
        return "a quote is in the middle of a value. Double it or remove it"
    return "a quote is opened here and never closed. Close it or remove it"
