"""Text: cleaning, shortening, slugs, cells of CSV files, and text in several languages."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

# XML 1.0 §2.2 allows of C0 only tab, line feed and carriage return. One U+000B made FreshRSS refuse a whole feed.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Letters of windows-1252 that a database or an editor took for ISO 8859-1. Browsers read &#147; so (HTML §13.2.5.80).
_WINDOWS = re.compile("[\x80-\x9f]")
# OWASP, CSV Injection: a spreadsheet treats a cell that begins like this as a formula.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_BLANK = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""Invisible letters and marks (Default_Ignorable_Code_Point, UAX 44), and the empty Braille pattern."""
_JOINERS = "\u200d\ufe0e\ufe0f"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)

MAX_SLUG = 100
"""Most characters of a slug. Longer slugs are cut at a hyphen, so that URLs and file names stay within every limit."""
_SINGLE = dict(zip("абвгдезийклмнопрстуфцыэәғқңөұүһіґў", "abvgdeziiklmnoprstufceeagqnouuhigu", strict=True))
_SEVERAL = {
    "ё": "e", "ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "ю": "iu",
    "я": "ia", "є": "ie", "ї": "i",
}  # fmt: skip
_CYRILLIC = _SINGLE | _SEVERAL


@dataclass(frozen=True, slots=True)
class Localised:
    """Text that readers see: one string, or one for each language. `default` serves every other language."""

    default: str
    by_language: Mapping[str, str] = field(default_factory=dict, hash=False)

    def get(self, language: str, default_language: str = "") -> str:
        """Return the text in a language, else in the default language, else any."""
        return self.by_language.get(language) or self.by_language.get(default_language) or self.default

    def __str__(self) -> str:
        return self.default


@dataclass(frozen=True, slots=True)
class TopicLabel(Localised):
    """The name of a topic, and its hashtag in posts if the newsroom chose one."""

    hashtag: Localised | None = None


def clean(text: str) -> str:
    """Remove characters that break a feed, and make every line end a line feed. Control codes become letters."""
    text = _WINDOWS.sub(lambda match: match[0].encode("latin-1").decode("cp1252", "ignore"), text)
    return _FORBIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """Clean the text and replace every run of white space with one space."""
    return " ".join(clean(text).split())


def has_forbidden(text: str) -> bool:
    """Whether `clean` would remove characters."""
    return _FORBIDDEN.search(text) is not None


def find_hidden_character(text: str) -> str:
    """Describe the first invisible character, such as a zero width space, or return ''."""
    for character in text:
        if ord(character) > 0x7F and (
            unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp") or _BLANK.match(character)
        ):
            return _describe(character)
    return ""


def find_odd_letter(text: str) -> str:
    """Describe the first letter that looks like another one: of a second script, or in another form (`ｂ`)."""
    for character in text:
        if (plain := unicodedata.normalize("NFKC", character)) != unicodedata.normalize("NFC", character):
            return f"{_describe(character)}, written for {plain!r}"
    scripts = [(_script(character), character) for character in text if unicodedata.category(character)[0] == "L"]
    names = [script for script, _ in scripts]
    # UTS 39 §5.2: the East Asian scripts are used together, and with Latin.
    if len(set(names) - {"EAST ASIAN"}) <= 1 and ("EAST ASIAN" not in names or set(names) <= {"EAST ASIAN", "LATIN"}):
        return ""
    most = max(names, key=names.count)
    odd = next(character for script, character in scripts if script != most)
    return f"{_describe(odd)}, among {most.capitalize()} letters"


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]
    return "EAST ASIAN" if name in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO") else name


def _describe(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".strip()


def shorten(text: str, limit: int, *, keep: int = 0, strip: str = "") -> str:
    """Cut the text to at most `limit` characters, the ellipsis included.

    It is cut at a space, unless fewer than `keep` characters would be left: then between two letters. A letter keeps
    its accents, an emoji stays whole. Characters of `strip` are removed before the ellipsis.
    """
    if len(text) <= limit:
        return text
    if limit <= 0:
        return ""
    end = limit - 1
    while end and (_is_joined(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    if not text[end : end + 1].isspace():
        space = text.rfind(" ", keep, end)
        end = space if space > 0 else end
    return text[:end].rstrip().rstrip(strip or None) + "…"


def summarise(text: str, limit: int = 300) -> str:
    """Make one line of a text, of at most `limit` characters."""
    return shorten(one_line(text), limit, keep=limit // 2, strip=" ,;:.-–—")


def _is_joined(char: str) -> bool:
    """Whether a character belongs to the one before it."""
    return (
        unicodedata.category(char).startswith("M")
        or char in _JOINERS
        or ord(char) in _SKIN_TONES
        or ord(char) in _FLAG_LETTERS
    )


def slugify(text: str) -> str:
    """Make a slug of a name: lower-case ASCII letters, digits and single hyphens. Never empty, not shortened.

    Russian, Kazakh and Ukrainian are transliterated, accents dropped. If nothing is left (Arabic, Chinese), the slug
    is `item-` and eight hex digits of its SHA-256, so that equal names give equal slugs.
    """
    text = unicodedata.normalize("NFC", text).lower()
    text = "".join(_CYRILLIC.get(character, character) for character in text)
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"['’]", "", ascii_text)).strip("-")
    return slug or "item-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def shorten_slug(slug: str) -> str:
    """Cut a slug to at most `MAX_SLUG` characters, at a hyphen where there is one."""
    if len(slug) <= MAX_SLUG:
        return slug
    cut = slug[: MAX_SLUG + 1]
    return (cut.rsplit("-", 1)[0] if "-" in cut[MAX_SLUG // 2 :] else cut[:MAX_SLUG]).strip("-")


def find_unused_slug(slug: str, is_taken: Callable[[str], bool]) -> str:
    """Return `slug`, or the first of `slug-2`, `slug-3`, ... that is not taken."""
    if not is_taken(slug):
        return slug
    number = 2
    while is_taken(f"{slug}-{number}"):
        number += 1
    return f"{slug}-{number}"


def escape_formula(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would treat as a formula (= + - @, tab, carriage return).

    A cell that already begins with such apostrophes gets one more, so that `unescape_formula` is the exact inverse.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape_formula(cell: str) -> str:
    """Undo `escape_formula`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def format_csv_line(cells: Iterable[str]) -> str:
    """Format one line of a CSV file (RFC 4180) with escaped cells, ended by a line feed."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([escape_formula(cell) for cell in cells])
    return out.getvalue()
